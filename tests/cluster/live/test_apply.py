"""`cascade k8s apply` against a stub of the API server, over HTTP."""

import socket
from pathlib import Path
from shutil import which

import pytest
import yaml

from tests.cluster.api_stub import ApiStub, Step, disconnect, login_page, overloaded, refusing
from tests.cluster.kubectl import (
    CLAIM,
    CONFIG,
    JOB,
    NAMESPACE,
    PROMPT,
    SECRET,
    Body,
    User,
    object_,
    ray_service,
    service_status,
)
from tests.patience import PATIENCE_S

ALL = (ray_service(), JOB, CLAIM, CONFIG, SECRET)
ORDER = ["secrets/keys", "configmaps/settings", "persistentvolumeclaims/models", "jobs/fetch", "rayservices/cascade"]


def test_everything_is_tried_before_anything_is_changed_and_applied_in_order(user: User, stub: ApiStub) -> None:
    ran = user.run("apply", user.write(*ALL))
    assert ran.code == 0, ran.err
    assert ran.lines == [
        "Secret/keys created",
        "ConfigMap/settings created",
        "PersistentVolumeClaim/models created",
        "Job/fetch created",
        "RayService/cascade created",
    ]
    assert stub.changes() == ORDER
    patches = stub.of("PATCH")
    assert ["dryRun" in request.query for request in patches] == [True] * 5 + [False] * 5
    assert {request.query["fieldManager"] for request in patches} == {"semantic-cascade"}
    assert {request.query["force"] for request in patches} == {"false"}
    again = user.run("apply", user.write(*ALL))
    assert again.lines == [line.replace("created", "unchanged") for line in ran.lines]


def test_every_refusal_of_the_dry_run_is_told_and_nothing_is_changed(user: User, stub: ApiStub) -> None:
    bad = ray_service()
    bad["spec"]["serveConfigV3"] = "applications: []"
    stub.fail("PATCH", "/configmaps/", refusing(403, "Forbidden", "exceeded quota: small, requested: configmaps=1."))
    ran = user.run("apply", user.write(bad, CONFIG, CLAIM))
    assert ran.code == 1
    assert ran.err.splitlines() == [
        "cascade: The dry run was refused. Nothing was changed.",
        "  ConfigMap/settings: exceeded quota: small, requested: configmaps=1.",
        "  RayService/cascade: the cluster answers patch with HTTP 400: strict decoding error: "
        'unknown field "spec.serveConfigV3".',
    ]
    assert stub.changes() == []


def test_a_conflict_names_the_owner_and_force_takes_the_field_over(user: User, stub: ApiStub) -> None:
    stub.put("v1", "ConfigMap", "settings", data={"level": "debug"})
    path = "/api/v1/namespaces/demo/configmaps/settings"
    stub.owners[path] = {".data.level": "kubectl-edit"}
    manifests = user.write(CONFIG)
    ran = user.run("apply", manifests)
    assert ran.code == 1
    assert ran.err.splitlines()[1] == (
        "  ConfigMap/settings: .data.level is owned by 'kubectl-edit'. --force-conflicts takes them over."
    )
    assert stub.objects[path]["data"] == {"level": "debug"}
    forced = user.run("apply", manifests, "--force-conflicts")
    assert forced.lines == [
        "warning: ConfigMap/settings: pods that read it into their environment keep the old values until they are "
        "restarted.",
        "ConfigMap/settings changed",
    ]
    assert stub.objects[path]["data"] == {"level": "info"}
    assert stub.owners[path][".data.level"] == "semantic-cascade"


def test_a_namespace_that_is_not_there_is_made_first(user: User, stub: ApiStub) -> None:
    ran = user.run("apply", user.write(CONFIG, NAMESPACE), "--namespace", "fresh")
    assert ran.lines == ["Namespace/fresh created", "ConfigMap/settings created"]
    assert "/api/v1/namespaces/fresh/configmaps/settings" in stub.objects


def test_a_namespace_that_nobody_makes_is_said_before_anything_else(user: User, stub: ApiStub) -> None:
    ran = user.run("apply", user.write(CONFIG), "-n", "nowhere")
    assert ran.code == 1
    assert ran.err.startswith("cascade: Namespace 'nowhere' does not exist, and none of the manifests defines it.")
    assert stub.of("PATCH") == []


@pytest.mark.parametrize("bodies", [(CONFIG, NAMESPACE), (CONFIG,)])
def test_a_namespace_that_is_being_deleted_is_said(user: User, stub: ApiStub, bodies: tuple[Body, ...]) -> None:
    stub.put("v1", "Namespace", "fresh", None, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    stub.lingering = {"Namespace": 9}
    ran = user.run("apply", user.write(*bodies), "--namespace", "fresh")
    assert (ran.code, ran.err) == (
        1,
        "cascade: Namespace 'fresh' is being deleted. Wait until it is gone, then apply again.\n",
    )
    assert stub.of("PATCH") == []


def test_an_account_that_may_not_read_its_namespace_may_apply(user: User, stub: ApiStub) -> None:
    stub.fail("GET", "/api/v1/namespaces/demo", refusing(403, "Forbidden", "namespaces is forbidden"))
    assert user.run("apply", user.write(CONFIG)).out == "ConfigMap/settings created\n"


def test_a_fixed_field_says_what_to_do(user: User) -> None:
    user.run("apply", user.write(JOB))
    changed = JOB | {"spec": {"template": {"spec": {"image": "cascade:2"}}}}
    ran = user.run("apply", user.write(changed))
    assert ran.code == 1
    assert ran.err.splitlines()[1] == (
        "  Job/fetch: spec.template: field is immutable. A Job's template cannot change once it is created. "
        "Delete the Job (kubectl delete job fetch), then apply again."
    )


def test_a_webhook_that_refuses_is_named(user: User, stub: ApiStub) -> None:
    words = 'admission webhook "policy.example.com" denied the request: no owner label'
    stub.fail("PATCH", "/rayservices/", refusing(403, "Forbidden", words))
    ran = user.run("apply", user.write(ray_service()))
    assert "  RayService/cascade: the admission webhook policy.example.com refuses it: no owner label." in ran.err


def test_a_secret_stays_one_whatever_is_refused(user: User, stub: ApiStub) -> None:
    words = "Secret in version v1 cannot be handled: illegal base64 data: hunter2 hf_abcdefghijkl"
    stub.fail("PATCH", "/secrets/", refusing(400, "BadRequest", words))
    ran = user.run("apply", user.write(SECRET))
    assert ran.code == 1
    assert "Secret/keys: refused with HTTP 400 (a Secret's values are hidden)." in ran.err
    assert "hunter2" not in ran.out + ran.err


def test_what_may_not_be_done_names_verb_and_resource(user: User, stub: ApiStub) -> None:
    words = 'configmaps "settings" is forbidden: User "me" cannot patch resource "configmaps"'
    stub.fail("PATCH", "/configmaps/", refusing(403, "Forbidden", words))
    ran = user.run("apply", user.write(CONFIG))
    assert (
        "  You may not patch ConfigMap/settings in namespace demo as context 'lab': configmaps \"settings\" is "
        'forbidden: User "me" cannot patch resource "configmaps".'
    ) in ran.err.splitlines()


def test_a_server_that_stumbles_is_asked_again(user: User, stub: ApiStub) -> None:
    stub.fail("PATCH", "/configmaps/", overloaded, times=2)
    stub.fail("GET", "/configmaps/", disconnect)
    ran = user.run("apply", user.write(CONFIG))
    assert (ran.code, ran.out) == (0, "ConfigMap/settings created\n")


def test_a_failure_in_the_middle_says_what_was_applied(user: User, stub: ApiStub) -> None:
    stub.fail("APPLY", "/persistentvolumeclaims/", refusing(403, "Forbidden", "exceeded quota: disks, requested: 1."))
    ran = user.run("apply", user.write(CONFIG, CLAIM))
    assert (ran.code, ran.out) == (1, "ConfigMap/settings created\n")
    assert ran.err == (
        "cascade: PersistentVolumeClaim/models: exceeded quota: disks, requested: 1. Applied before that: "
        "ConfigMap/settings. The same command may be run again.\n"
    )


def test_apply_waits_when_asked_to(user: User, stub: ApiStub) -> None:
    stub.script["RayService"] = [Step(service_status("DEPLOYING", ready="False")), Step(service_status())]
    ran = user.run("apply", user.write(ray_service()), "--wait", *PROMPT)
    assert (ran.code, ran.lines[0], ran.lines[-1]) == (0, "RayService/cascade created", "All of it is ready.")
    assert any(
        "waiting for Ready (NonZeroServeEndpoints), application cascade (DEPLOYING)" in line for line in ran.lines
    )


def test_kuberay_that_is_not_installed_is_said(user: User) -> None:
    other_object = object_("ray.io/v9", "RayService", "cascade", spec={})
    ran = user.run("apply", user.write(other_object))
    assert ran.err == (
        "cascade: The cluster does not know RayService (ray.io/v9). Install the KubeRay operator, with its custom "
        "resources, first.\n"
    )


def test_a_cluster_without_the_prometheus_operator_says_what_to_do(user: User, stub: ApiStub) -> None:
    stub.fail("GET", "/apis/monitoring.coreos.com/v1", refusing(404, "NotFound", "the server could not find it"))
    ran = user.run("apply", user.write(CONFIG, object_("monitoring.coreos.com/v1", "PodMonitor", "x", spec={})))
    assert ran.err == (
        "cascade: The cluster does not know PodMonitor (monitoring.coreos.com/v1). Install the Prometheus operator "
        "first, or render with monitoring: false.\n"
    )
    assert stub.of("PATCH") == []


def test_credentials_that_the_cluster_does_not_take(user: User) -> None:
    ran = user.run("apply", user.write(CONFIG), "--context", "stale")
    assert ran.err == (
        "cascade: The cluster does not accept the credentials of context 'stale': log in again, or name another "
        "--context.\n"
    )


def test_a_server_without_tls_where_tls_is_expected(user: User) -> None:
    url = user.stub.url.replace("http://", "https://")
    user.kubeconfig.write_text(user.kubeconfig.read_text().replace(user.stub.url, url))
    ran = user.run("apply", user.write(CONFIG))
    assert ran.err == (
        f"cascade: The API server of context 'lab' at {url} cannot be reached: its certificate is not trusted, or the "
        "connection is not secure.\n"
    )


def test_something_else_answers(user: User, stub: ApiStub) -> None:
    stub.fail("GET", "/api/v1", login_page)
    ran = user.run("apply", user.write(CONFIG))
    assert ran.err == f"cascade: {stub.url} is not a Kubernetes API server: it does not answer in JSON.\n"


def test_nobody_answers(user: User) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        user.kubeconfig.write_text(user.kubeconfig.read_text().replace(user.stub.url, url))
        ran = user.run("apply", user.write(CONFIG))
    assert ran.err == (
        f"cascade: The API server of context 'lab' at {url} cannot be reached: the connection is refused.\n"
    )


def test_the_program_in_a_process_of_its_own(user: User) -> None:
    with user.start("apply", "-") as program:
        out, err = program.communicate(yaml.safe_dump(CONFIG), timeout=PATIENCE_S)
    assert (program.returncode, out, err) == (0, "ConfigMap/settings created\n", "")


@pytest.mark.skipif(
    not (which("kubectl") or which("kustomize")), reason="the overlays' patches need kubectl or kustomize"
)
def test_an_overlay_of_ours_from_the_first_apply_to_the_end(user: User, stub: ApiStub) -> None:
    overlay = Path(__file__).parents[3] / "k8s" / "overlays" / "gpu-autoscaling"
    ran = user.run("apply", overlay)
    assert ran.code == 0, ran.err
    assert ran.lines[0] == "Namespace/cascade created"
    assert {line.split()[-1] for line in ran.lines} == {"created"}
    kinds = [line.split("/")[0] for line in ran.lines]
    assert kinds.index("PersistentVolumeClaim") < kinds.index("Job") < kinds.index("RayService")
    assert user.run("diff", overlay).out == "Nothing would change.\n"
    assert user.run("delete", overlay, "--yes").code == 0
    assert [body["kind"] for body in stub.objects.values() if body["metadata"].get("namespace") == "cascade"] == [
        "PersistentVolumeClaim"
    ]
