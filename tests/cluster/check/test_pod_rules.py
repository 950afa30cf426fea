"""Pods that the API server would refuse, once the operator or a controller makes them, are found before."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from serve_app.cluster.check.faults import faults
from serve_app.cluster.check.pod_rules import pod_faults
from serve_app.cluster.manifests import Manifest
from tests.cluster.kubectl import object_
from tests.cluster.overlays import groups, objects, service


def container(spec: Manifest) -> Manifest:
    return spec["containers"][0]


BREAKS: list[tuple[Callable[[Manifest], Any], str]] = [
    (
        lambda s: container(s)["env"].append({"name": "CASCADE_HOME"}),
        "containers[0].env: duplicate name 'CASCADE_HOME'.",
    ),
    (
        lambda s: container(s)["volumeMounts"].append({"name": "scratch", "mountPath": "/x"}),
        "containers[0].volumeMounts[4].name: there is no volume 'scratch'.",
    ),
    (
        lambda s: container(s)["volumeMounts"].append({"name": "models", "mountPath": "/models"}),
        "containers[0].volumeMounts: duplicate mountPath '/models'.",
    ),
    (lambda s: s["volumes"].append({"name": "models"}), "volumes: duplicate name 'models'."),
    (lambda s: s["volumes"].append({"name": "a.b"}), "volumes[5].name: 'a.b' must be up to 63 small letters"),
    (
        lambda s: s["volumes"].append({"name": "x", "emptyDir": {}, "configMap": {"name": "a"}}),
        "volumes[5]: 'x' must have one source; got configMap, emptyDir.",
    ),
    (lambda s: container(s).update(name="Ray"), "containers[0].name: 'Ray' must be up to 63 small letters"),
    (lambda s: s["containers"].append({"name": "models"}), "containers: duplicate name 'models'."),
    (
        lambda s: container(s)["ports"].append({"name": "serve", "containerPort": 1}),
        "containers[0].ports: duplicate name 'serve'.",
    ),
    (
        lambda s: container(s)["ports"].append({"containerPort": 8000}),
        "containers[0].ports: duplicate containerPort 8000.",
    ),
    (
        lambda s: container(s)["ports"].append({"name": "sixteen-letters-", "containerPort": 1}),
        "containers[0].ports[2].name: 'sixteen-letters-' must be up to 15",
    ),
    (
        lambda s: container(s)["resources"]["requests"].update(cpu="4001m"),
        "containers[0].resources.requests.cpu: 4001m is more than its limit, 4.",
    ),
    (
        lambda s: container(s)["resources"]["requests"].update({"nvidia.com/gpu": "1"}),
        "containers[0].resources.limits.nvidia.com/gpu: required, as much as is requested.",
    ),
    (
        lambda s: (
            container(s)["resources"]["requests"].update({"nvidia.com/gpu": 1}),
            container(s)["resources"]["limits"].update({"nvidia.com/gpu": 2}),
        ),
        "containers[0].resources.requests.nvidia.com/gpu: 1 must equal its limit, 2.",
    ),
    (
        lambda s: container(s)["readinessProbe"].update(exec={"command": ["true"]}),
        "containers[0].readinessProbe: must have one of exec, grpc, httpGet, tcpSocket.",
    ),
    (
        lambda s: s["initContainers"][0]["resources"]["requests"].update(memory="2Gi"),
        "initContainers[0].resources.requests.memory: 2Gi is more than its limit, 1Gi.",
    ),
]


@pytest.mark.parametrize(("break_", "sentence"), BREAKS, ids=[sentence for _, sentence in BREAKS])
def test_a_broken_rule_is_the_one_fault(break_: Callable[[Manifest], Any], sentence: str) -> None:
    template = deepcopy(groups("cpu-demo")["cpu"]["template"])
    break_(template["spec"])
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    [fault] = pod_faults(pod)
    assert fault.startswith(f"spec.{sentence}")


def test_the_pods_of_a_ray_service_are_named_by_their_group() -> None:
    body = deepcopy(service("cpu-demo"))
    template = body["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]
    template["metadata"]["labels"]["zone"] = "a b"
    container(template["spec"])["env"].append({"name": "CASCADE_HOME", "value": "/"})
    assert [fault.partition(": ")[2].split(" ")[0] for fault in faults([body])] == [
        "cpu.template.metadata.labels:",
        "cpu.template.spec.containers[0].env:",
    ]


@pytest.mark.parametrize("policy", [None, "Always"])
def test_a_job_ends(policy: str | None) -> None:
    [job] = deepcopy(objects("cpu-demo", "Job"))
    job["spec"]["template"]["spec"]["restartPolicy"] = policy
    assert pod_faults(job) == ["spec.template.spec.restartPolicy: a Job needs one of Never, OnFailure."]


def test_a_cron_job_has_its_pod_one_level_deeper() -> None:
    spec = {"containers": [{"name": "a"}, {"name": "a"}], "restartPolicy": "Never"}
    job = {"jobTemplate": {"spec": {"template": {"spec": spec}}}}
    assert pod_faults(object_("batch/v1", "CronJob", "x", spec=job)) == [
        "spec.jobTemplate.spec.template.spec.containers: duplicate name 'a'."
    ]


def test_a_stateful_set_makes_its_volumes() -> None:
    mount = {"name": "data", "mountPath": "/data"}
    pod = {"spec": {"containers": [{"name": "a", "volumeMounts": [mount]}]}}
    spec = {"template": pod, "volumeClaimTemplates": [{"metadata": {"name": "data"}}]}
    assert pod_faults(object_("apps/v1", "StatefulSet", "x", spec=spec)) == []


def test_a_null_is_an_absent_field() -> None:
    pod = object_("v1", "Pod", "x")
    volume = {"name": "v", "emptyDir": {}, "configMap": None}
    probe = {"httpGet": None, "exec": {"command": ["true"]}}
    pod["spec"] = {
        "containers": [{"name": "c", "image": "i", "livenessProbe": None, "readinessProbe": probe}],
        "volumes": [volume],
    }
    assert list(pod_faults(pod)) == []
