"""`cascade k8s status`: one look, for people and for machines."""

import json

from tests.cluster.api_stub import ApiStub, Step
from tests.cluster.kubectl import CLAIM, CONFIG, User, ray_service, service_status, waiting, worker


def prepare(user: User, stub: ApiStub) -> None:
    deployments = {"qwen": {"status": "UPDATING", "message": "Waiting for 4 GPUs"}, "Router": {"status": "HEALTHY"}}
    status = service_status("DEPLOYING", pending="cascade-b", deployments=deployments)
    status["pendingServiceStatus"]["rayClusterStatus"] = {
        "state": "ready",
        "readyWorkerReplicas": 1,
        "desiredWorkerReplicas": 2,
        "desiredGPU": "8",
    }
    stub.put("ray.io/v1", "RayService", "cascade", spec=ray_service()["spec"])
    stub.put("v1", "PersistentVolumeClaim", "models", spec=CLAIM["spec"], status={"phase": "Bound"})
    stuck = worker("w", "cascade-b", containerStatuses=[waiting("ImagePullBackOff", "no such image")])
    stub.script["RayService"] = [Step(status, pods=[stuck])]


def test_tables_for_people(user: User, stub: ApiStub) -> None:
    prepare(user, stub)
    ran = user.run("status", user.write(ray_service(), CLAIM, CONFIG))
    assert ran.code == 0, ran.err
    assert [" ".join(line.split()) for line in ran.lines if line] == [
        "object namespace state what",
        "ConfigMap/settings demo absent it is absent: apply it first.",
        "PersistentVolumeClaim/models demo ready",
        "RayService/cascade demo failing Pod/w, container ray: ImagePullBackOff: no such image.",
        "active cluster cascade-a: no state yet, 0 of 0 workers, 2 endpoints",
        "application deployment status message",
        "cascade RUNNING",
        "pending cluster cascade-b: ready, 1 of 2 workers, 8 GPUs",
        "application deployment status message",
        "cascade DEPLOYING",
        "qwen UPDATING Waiting for 4 GPUs",
        "Router HEALTHY",
    ]


def test_json_for_machines(user: User, stub: ApiStub) -> None:
    prepare(user, stub)
    ran = user.run("status", user.write(ray_service(), CONFIG), "--json")
    body = json.loads(ran.out)
    assert (body["context"], body["ready"], body["not_seen"]) == ("lab", False, [])
    config, service = body["objects"]
    assert config == {
        "kind": "ConfigMap",
        "name": "settings",
        "namespace": "demo",
        "exists": False,
        "ready": False,
        "missing": [],
        "failure": "it is absent: apply it first.",
    }
    assert service["failure"] == "Pod/w, container ray: ImagePullBackOff: no such image."
    assert service["missing"] == [
        "the upgrade's end (cascade-a serves, cascade-b comes)",
        "application cascade (DEPLOYING: qwen UPDATING)",
    ]
    assert service["clusters"]["pending"]["applications"]["cascade"]["deployments"] == {
        "qwen": {"status": "UPDATING", "message": "Waiting for 4 GPUs"},
        "Router": {"status": "HEALTHY", "message": ""},
    }


def test_all_ready(user: User, stub: ApiStub) -> None:
    stub.put("ray.io/v1", "RayService", "cascade", spec=ray_service()["spec"])
    stub.script["RayService"] = [Step(service_status())]
    body = json.loads(user.run("status", user.write(ray_service()), "--json").out)
    assert body["ready"] is True
    assert body["objects"][0]["endpoints"] == 2
