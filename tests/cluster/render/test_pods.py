"""What pods may do, where they run, and what is mounted."""

from pathlib import Path

import pytest

from serve_app.cluster.settings import Settings
from serve_app.errors import ConfigError
from tests.cluster.overlays import CONFIG, CONFIGS, LOCAL, MODEL, ROOT, objects, pod_specs, rendered_text, service


@pytest.mark.parametrize("overlay", CONFIGS)
def test_every_pod_is_restricted(overlay: str) -> None:
    """Kubernetes' `restricted` rules, which the namespace enforces, and no root that can be written to."""
    for name, spec in pod_specs(overlay).items():
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }, name
            assert container["resources"]["limits"]["memory"], name
        assert {next(iter(v.keys() - {"name"})) for v in spec.get("volumes", [])} <= {
            "configMap",
            "emptyDir",
            "persistentVolumeClaim",
            "secret",
        }
    [namespace] = objects(overlay, "Namespace")
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.mark.parametrize("overlay", CONFIGS)
def test_every_container_may_write_to_temporary_files_and_its_home(overlay: str) -> None:
    """Ray's session is under /tmp; vLLM, Triton and the hub's client have caches at home."""
    expected = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "home", "mountPath": "/home/cascade"}]
    for name, spec in pod_specs(overlay).items():
        assert spec["volumes"][:2] == [{"name": "tmp", "emptyDir": {}}, {"name": "home", "emptyDir": {}}], name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["volumeMounts"][:2] == expected, name
    options = service(overlay)["spec"]["rayClusterConfig"]["autoscalerOptions"]
    assert options["securityContext"]["readOnlyRootFilesystem"]
    assert options["volumeMounts"] == expected


def test_the_home_is_that_of_the_images_user() -> None:
    dockerfile = (ROOT / "k8s" / "Dockerfile").read_text()
    assert "useradd --uid 1000 --gid 1000 --create-home --shell /bin/bash cascade" in dockerfile
    assert "WORKDIR /home/cascade" in dockerfile


@pytest.mark.parametrize("overlay", CONFIGS)
def test_only_the_head_has_a_service_account_token(overlay: str) -> None:
    tokens = {name: spec.get("automountServiceAccountToken", True) for name, spec in pod_specs(overlay).items()}
    assert [name for name, mounted in tokens.items() if mounted] == ["head"]


@pytest.mark.parametrize("overlay", CONFIGS)
def test_only_the_job_writes_models_and_has_the_hub_token(overlay: str) -> None:
    for name, spec in pod_specs(overlay).items():
        containers = [*spec["containers"], *spec.get("initContainers", [])]
        mounts = [m for c in containers for m in c.get("volumeMounts", []) if m["name"] == "models"]
        variables = {variable["name"] for c in containers for variable in c["env"]}
        job = name.startswith("cascade-pull-")
        assert all(bool(mount.get("readOnly")) is not job for mount in mounts), name
        assert ("HF_TOKEN" in variables) is job, name
        assert bool(mounts) is (name != "head")


def test_keys_in_files_come_from_a_mounted_secret(tmp_path: Path) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "api_key_file: /etc/cascade/keys/example"))
    [ray] = [b for b in rendered_text(tmp_path, text).objects if b["kind"] == "RayService"]
    spec = ray["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]
    assert spec["volumes"][2:] == [
        {"name": "keys", "secret": {"secretName": "cascade-api-keys", "defaultMode": 0o440}},
        {"name": "client-keys", "secret": {"secretName": "cascade-client-keys", "defaultMode": 0o440}},
    ]
    assert spec["containers"][0]["volumeMounts"][2:] == [
        {"name": "keys", "mountPath": "/etc/cascade/keys", "readOnly": True},
        {"name": "client-keys", "mountPath": "/etc/cascade/client-keys", "readOnly": True},
    ]


@pytest.mark.parametrize("overlay", CONFIGS)
def test_only_workers_have_the_keys_of_clients(overlay: str) -> None:
    """Of their hashes, at least: routers run on workers. A mount of a single file would never change."""
    for name, spec in pod_specs(overlay).items():
        mounts = [m for c in spec["containers"] for m in c.get("volumeMounts", []) if m["name"] == "client-keys"]
        is_worker = name != "head" and not name.startswith("cascade-pull-")
        path = {"name": "client-keys", "mountPath": "/etc/cascade/client-keys", "readOnly": True}
        assert mounts == ([path] if is_worker else []), name


def test_other_accelerators_by_the_settings(tmp_path: Path) -> None:
    text = LOCAL.replace("WEIGHTS", "/models/m.gguf").replace("OPTIONS", "num_gpus: 1, accelerator_type: Z9")
    manifests = rendered_text(tmp_path, text, Settings(gpu_products={"Z9": ["ACME-Z9"]})).objects
    assert "ACME-Z9" in str(manifests)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Settings(secret_env=["HF_HUB_OFFLINE"]), "secret_env: HF_HUB_OFFLINE is set already"),
        (Settings(pull_secret_env={"HF_TOKEN": 443}), "pull_secret_env: HF_TOKEN is set already"),
        (Settings(pull_env={"CASCADE_HOME": "/x"}), "pull_env, pull_secret_env: CASCADE_HOME is set already"),
        (Settings(pull_env={"A": "b"}, pull_secret_env={"A": 443}), "pull_env, pull_secret_env: A is set already"),
    ],
)
def test_no_variable_is_set_twice(tmp_path: Path, settings: Settings, sentence: str) -> None:
    """The API server refuses a server-side apply of such a pod."""
    text = LOCAL.replace("WEIGHTS", "hf://a/b/c.gguf").replace("OPTIONS", "")
    with pytest.raises(ConfigError, match=sentence):
        rendered_text(tmp_path, text, settings)
