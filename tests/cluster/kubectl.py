"""`cascade k8s` as a user runs it, against a stub, with a kubeconfig of its own; and manifests and states to play."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.api_stub import TOKEN, ApiStub

Body = dict[str, Any]
PROMPT = ["--poll-s", "0.05", "--settle-s", "0", "--timeout-s", "60"]
"""Options of `wait` that lose no time."""


@dataclass
class User:
    """`files` is the folder that commands run in."""

    stub: ApiStub
    files: Path

    def __post_init__(self) -> None:
        entries = {
            "clusters": [{"name": "stub", "cluster": {"server": self.stub.url}}],
            "users": [
                {"name": "me", "user": {"token": TOKEN}},
                {"name": "expired", "user": {"token": "an-0ld-token"}},
            ],
            "contexts": [
                {"name": "lab", "context": {"cluster": "stub", "user": "me", "namespace": "demo"}},
                {"name": "stale", "context": {"cluster": "stub", "user": "expired"}},
            ],
            "current-context": "lab",
        }
        self.kubeconfig.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config"} | entries))

    @property
    def kubeconfig(self) -> Path:
        return self.files / "kubeconfig"

    def write(self, *objects: Body, name: str = "all.yaml") -> Path:
        path = self.files / name
        path.write_text(yaml.safe_dump_all(objects))
        return path

    def run(self, *words: str | Path, stdin: str = "", **environment: str) -> "Ran":
        env = {key: value for key, value in os.environ.items() if not key.startswith("KUBE")}
        # A proxy for the outside world must not come between us and ourselves.
        env |= {"KUBECONFIG": str(self.kubeconfig), "HTTP_PROXY": "http://127.0.0.1:9", "COLUMNS": "200"} | environment
        ran = subprocess.run(
            [sys.executable, "-m", "serve_app.cli", "k8s", *map(str, words)],
            capture_output=True,
            text=True,
            input=stdin,
            cwd=self.files,
            env=env,
            timeout=300,
            check=False,
        )
        assert TOKEN not in ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        return Ran(ran.returncode, ran.stdout, ran.stderr)


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def object_(api_version: str, kind: str, name: str, **body: Any) -> Body:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}} | body


NAMESPACE = object_("v1", "Namespace", "fresh")
CONFIG = object_("v1", "ConfigMap", "settings", data={"level": "info"})
SECRET = object_("v1", "Secret", "keys", data={"api": "aHVudGVyMg=="})
CLAIM = object_("v1", "PersistentVolumeClaim", "models", spec={"storageClassName": "fast"})
JOB = object_("batch/v1", "Job", "fetch", spec={"template": {"spec": {"image": "cascade:1"}}})


def ray_service(gpus: int = 4, strategy: str | None = None, image: str = "ray:1", **group: Any) -> Body:
    """A RayService with one group of workers, `gpus` each."""
    pod = {"containers": [{"name": "ray", "image": image, "resources": {"limits": {"nvidia.com/gpu": gpus}}}]}
    workers = {"groupName": "a100", "replicas": 2, "maxReplicas": 4, "template": {"spec": pod}} | group
    head = {"template": {"spec": {"containers": [{"name": "head", "image": image}]}}}
    spec: Body = {
        "serveConfigV2": "applications:\n- name: cascade\n  route_prefix: /\n",
        "rayClusterConfig": {
            "enableInTreeAutoscaling": True,
            "headGroupSpec": head,
            "workerGroupSpecs": [workers],
        },
    }
    if strategy:
        spec["upgradeStrategy"] = {"type": strategy}
    return object_("ray.io/v1", "RayService", "cascade", spec=spec)


def told(
    application: str | None = "RUNNING",
    ready: str = "True",
    reason: str = "NonZeroServeEndpoints",
    message: str = "",
    observed: Any = "$generation",
    active: str = "cascade-a",
    pending: str = "",
    endpoints: int = 2,
    deployments: Body | None = None,
) -> Body:
    """A RayService's status as KubeRay writes it."""
    entry = {"status": application, "message": message, "serveDeploymentStatuses": deployments or {}}
    applications = {"applicationStatuses": {"cascade": entry}} if application else {}
    service: Body = {"observedGeneration": observed, "numServeEndpoints": endpoints}
    if active:
        service["activeServiceStatus"] = {"rayClusterName": active} | ({} if pending else applications)
        if pending:
            service["activeServiceStatus"]["applicationStatuses"] = {"cascade": {"status": "RUNNING"}}
    if pending:
        service["pendingServiceStatus"] = {"rayClusterName": pending} | applications
    upgrading = {"type": "UpgradeInProgress", "status": str(bool(active and pending)), "reason": "any"}
    condition = {"type": "Ready", "status": ready, "reason": reason, "message": message}
    return service | {"conditions": [condition | {"observedGeneration": observed}, upgrading]}


def worker(name: str = "worker-1", cluster: str = "cascade-a", gpus: int = 4, **status: Any) -> Body:
    """A pod of a RayCluster."""
    container = {"name": "ray", "resources": {"limits": {"nvidia.com/gpu": str(gpus), "cpu": "8"}}}
    return {
        "metadata": {"name": name, "labels": {"ray.io/cluster": cluster}},
        "spec": {"containers": [container]},
        "status": {"phase": "Pending"} | status,
    }


def waiting(reason: str, message: str = "", restarts: int = 0, last: Body | None = None) -> Body:
    """The status of a container that waits."""
    entry: Body = {
        "name": "ray",
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason, "message": message}},
    }
    return entry | ({"lastState": {"terminated": last}} if last else {})
