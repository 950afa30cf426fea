"""`cascade k8s` as a user runs it, against a stub, with a kubeconfig of its own; and manifests and states to play."""

import os
import signal
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from kubernetes.config import kube_config
from typer.testing import CliRunner

from serve_app.cli.commands import app
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
        """Run the command in this process: an interpreter of its own would take longer than most commands."""
        env = self._environment(environment)
        without_kube = {key: None for key in os.environ if key.startswith("KUBE")}
        # The client reads KUBECONFIG when it is imported.
        files = patch.object(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", env["KUBECONFIG"])
        with chdir(self.files), files:
            ran = CliRunner().invoke(app, ["k8s", *map(str, words)], input=stdin, env=without_kube | env)
        if ran.exception and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        return Ran(ran.exit_code, ran.stdout, ran.stderr)

    def start(self, *words: str | Path, **environment: str) -> "subprocess.Popen[str]":
        """Start the command in a process of its own."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("KUBE")}
        return subprocess.Popen(
            [sys.executable, "-m", "serve_app.cli", "k8s", *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.files,
            env=env | self._environment(environment),
            # Where the tests run in the background, Ctrl-C is ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        # A proxy for the outside world must not come between us and ourselves.
        return {"KUBECONFIG": str(self.kubeconfig), "HTTP_PROXY": "http://127.0.0.1:9", "COLUMNS": "200"} | more


@dataclass
class Ran:
    code: int
    out: str
    err: str

    def __post_init__(self) -> None:
        assert TOKEN not in self.out + self.err
        assert "Traceback" not in self.err

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
    """Return a RayService with one group of workers, `gpus` each."""
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


def service_status(
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
    """Return a RayService's status as KubeRay writes it."""
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
    """Return a pod of a RayCluster."""
    container = {"name": "ray", "resources": {"limits": {"nvidia.com/gpu": str(gpus), "cpu": "8"}}}
    return {
        "metadata": {"name": name, "labels": {"ray.io/cluster": cluster}},
        "spec": {"containers": [container]},
        "status": {"phase": "Pending"} | status,
    }


def waiting(reason: str, message: str = "", restarts: int = 0, last: Body | None = None) -> Body:
    """Return the status of a container that waits."""
    entry: Body = {
        "name": "ray",
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason, "message": message}},
    }
    return entry | ({"lastState": {"terminated": last}} if last else {})
