"""A real Kubernetes API server with its etcd, on this machine alone, if `make k8s-server` has built them."""

import base64
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import yaml

from tests.cluster.overlays import ROOT
from tests.patience import PATIENCE_S

BINARIES = ROOT / ".k8s-server"
TOKEN = "a-t0ken-of-this-test"


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a kubeconfig for the server. It runs no controllers, so nothing follows from an object's creation."""
    if not (BINARIES / "kube-apiserver").exists():
        pytest.skip("needs a Kubernetes API server in .k8s-server: make k8s-server")
    folder = tmp_path_factory.mktemp("server")
    etcd, peers, port = _free_ports(3)
    (folder / "tokens.csv").write_text(f'{TOKEN},admin,1,"system:masters"\n')
    subprocess.run(["openssl", "genrsa", "-out", folder / "key.pem", "2048"], check=True, capture_output=True)
    etcd_options = {
        "data-dir": folder / "etcd",
        "listen-client-urls": f"http://127.0.0.1:{etcd}",
        "advertise-client-urls": f"http://127.0.0.1:{etcd}",
        "listen-peer-urls": f"http://127.0.0.1:{peers}",
    }
    server_options = {
        "etcd-servers": f"http://127.0.0.1:{etcd}",
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "secure-port": port,
        "insecure-port": 0,
        "cert-dir": folder / "certificates",
        "token-auth-file": folder / "tokens.csv",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": folder / "key.pem",
        "service-account-signing-key-file": folder / "key.pem",
        "disable-admission-plugins": "ServiceAccount",  # no controller makes them
    }
    with ExitStack() as stack:
        for name, options in (("etcd", etcd_options), ("kube-apiserver", server_options)):
            command = [BINARIES / name, *(f"--{key}={value}" for key, value in options.items())]
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log, cwd=folder))
            stack.callback(os.kill, process.pid, signal.SIGKILL)
        certificate = folder / "certificates" / "apiserver.crt"
        _wait_until_ready(f"https://127.0.0.1:{port}", certificate)
        yield _kubeconfig(folder, f"https://127.0.0.1:{port}", certificate)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def _wait_until_ready(url: str, certificate: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    headers = {"Authorization": f"Bearer {TOKEN}"}
    while time.monotonic() < deadline:
        # The server writes its certificate before it listens.
        if certificate.exists():
            context = ssl.create_default_context(cafile=certificate)
            with suppress(httpx.HTTPError):
                if httpx.get(f"{url}/readyz", verify=context, headers=headers, trust_env=False).is_success:
                    return
        time.sleep(0.2)
    pytest.fail(f"the API server was not ready after {PATIENCE_S} s")


def _kubeconfig(folder: Path, url: str, certificate: Path) -> Path:
    authority = base64.b64encode(certificate.read_bytes()).decode()
    entries = {
        "clusters": [{"name": "real", "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": "me", "user": {"token": TOKEN}}],
        "contexts": [{"name": "real", "context": {"cluster": "real", "user": "me"}}],
        "current-context": "real",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config"} | entries))
    return path
