"""The commands of k8s/README.md, beside those of ours that go on from them."""

from copy import deepcopy

import httpx
import pytest

from serve_app.cluster.live.client import FIELD_MANAGER
from tests.cluster.api_stub import TOKEN, ApiStub
from tests.cluster.kubectl import User
from tests.cluster.overlays import ROOT, rendered

README = (ROOT / "k8s" / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """Return the commands of the indented blocks, each on one line."""
    lines = README.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.startswith("    ")]


def test_what_kubectl_puts_up_belongs_to_the_manager_of_our_apply() -> None:
    apply_commands = [command for command in commands() if "kubectl apply" in command]
    assert apply_commands
    for command in apply_commands:
        assert f"kubectl apply --server-side --field-manager={FIELD_MANAGER} " in command


def put_up(stub: ApiStub, body: dict, manager: str) -> None:
    """Return a ConfigMap as `kubectl apply` leaves it: its fields are owned by the manager."""
    httpx.patch(
        f"{stub.url}/api/v1/namespaces/demo/configmaps/{body['metadata']['name']}",
        params={"fieldManager": manager, "fieldValidation": "Strict", "force": "false"},
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/apply-patch+yaml"},
        json=body,
        trust_env=False,
    ).raise_for_status()


@pytest.mark.parametrize("manager", ["kubectl-client-side-apply", FIELD_MANAGER])
def test_a_threshold_changes_after_kubectl_has_put_up_the_models(user: User, stub: ApiStub, manager: str) -> None:
    """By kubectl's own manager the second apply would be refused: the reason for the README's options."""
    config = deepcopy(next(body for body in rendered("cpu-demo").objects if body["kind"] == "ConfigMap"))
    config["metadata"]["namespace"] = "demo"
    put_up(stub, config, manager)
    assert user.run("apply", user.write(config)).out == "ConfigMap/cascade-config unchanged\n"
    before = config["data"]["serve.yaml"]
    config["data"]["serve.yaml"] = before.replace("threshold: 0.7017", "threshold: 0.8")
    assert config["data"]["serve.yaml"] != before
    ran = user.run("apply", user.write(config))
    if manager == FIELD_MANAGER:
        assert (ran.code, ran.lines[-1]) == (0, "ConfigMap/cascade-config changed")
    else:
        assert ran.code == 1
        assert ".data.serve.yaml is owned by 'kubectl-client-side-apply'. --force-conflicts" in ran.err
