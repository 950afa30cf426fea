"""A chart by real Helm: with default values it is the overlay, with others what the settings would have made."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.cluster.field_types import NAME_LENGTH, NAME_PATTERN
from serve_app.cluster.manifests import Manifest
from serve_app.cluster.render import overlay as kustomize
from serve_app.cluster.render.chart.chart import STATIC, render
from serve_app.cluster.render.files import write
from serve_app.cluster.render.image import with_image
from serve_app.cluster.settings import OVERLAYS, GpuPod, Settings
from tests.cluster.overlays import CONFIG, CONFIGS, LOCAL, MODEL, ROOT
from tests.cluster.render.chart.conftest import Helm

NO_ICON = [{"severity": 1, "path": "Chart.yaml", "error": "icon is recommended"}]
"""What `helm lint` says for information."""


def chart(folder: Path, overlay: str, settings: Settings | None = None, config: Path | None = None) -> Path:
    write(render(config or ROOT / CONFIGS[overlay], overlay, settings or OVERLAYS[overlay]), folder)
    return folder / "charts" / overlay


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the charts of the overlays."""
    folder = tmp_path_factory.mktemp("charts")
    for overlay in CONFIGS:
        chart(folder, overlay)
    return folder / "charts"


def of_helm(templates: dict[str, str]) -> dict[tuple[str, str], Manifest]:
    bodies = [
        body
        for name, text in templates.items()
        if name.endswith(".yaml")
        for body in yaml.load_all(text, yaml.CSafeLoader)
        if body
    ]
    volumes = [body for body in bodies if body["kind"] == "PersistentVolumeClaim"]
    for volume in volumes:
        assert volume["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    return {(body["kind"], body["metadata"]["name"]): body for body in bodies}


def of_settings(config: Path, overlay: str, settings: Settings) -> dict[tuple[str, str], Manifest]:
    """Return the overlay's objects as kustomize builds them, without the namespace."""
    bodies = kustomize.render(config, overlay, settings).objects
    objects = {(body["kind"], body["metadata"]["name"]): with_image(body, settings.image) for body in bodies}
    for body in objects.values():
        body["metadata"]["namespace"] = "llm"
    del objects["Namespace", settings.namespace]
    return objects


@pytest.mark.parametrize("overlay", CONFIGS)
def test_with_its_own_values_a_chart_is_the_overlay(charts: Path, helm: Helm, overlay: str) -> None:
    expected = of_settings(ROOT / CONFIGS[overlay], overlay, OVERLAYS[overlay])
    assert of_helm(helm("template", charts / overlay)) == expected


@pytest.mark.parametrize("overlay", CONFIGS)
def test_helm_lint_has_nothing_against_it(charts: Path, helm: Helm, overlay: str) -> None:
    assert helm("lint", charts / overlay) == NO_ICON


COMMON: dict[str, Any] = {
    "name": "mine",
    "image": "registry:5000/team/cascade@sha256:ab",
    "image_pull_secret": "registry",
    "ray_token_secret": "ray.token",
    "client_keys_secret": "clients",
    "hub_token_secret": "hub",
    "operator_namespace": "ray-system",
    "monitoring_namespace": "prometheus",
    "idle_timeout_s": 7,
    "storage": {"size": "7Ti", "storage_class": "nfs", "shared": True},
    "head": {"cpus": 3, "memory": "7Gi"},
}
VALUES: dict[str, Any] = {
    "image": {"repository": "registry:5000/team/cascade", "digest": "sha256:ab"},
    "imagePullSecrets": [{"name": "registry"}],
    "secrets": {"rayToken": "ray.token", "clientKeys": "clients", "hubToken": "hub"},
    "operatorNamespace": "ray-system",
    "monitoring": {"namespace": "prometheus"},
    "idleTimeoutSeconds": 7,
    "storage": {"size": "7Ti", "storageClass": "nfs", "accessMode": "ReadWriteMany"},
    "head": {"resources": {kind: {"cpu": "3", "memory": "7Gi"} for kind in ("requests", "limits")}},
}


@pytest.mark.parametrize(
    ("overlay", "settings", "values"),
    [
        (
            "gpu-single-node",
            {"ingress": {"host": "a.example.com", "class_name": "nginx", "tls_secret": None}, "monitoring": False},
            {
                "ingress": {"host": "a.example.com", "className": "nginx", "tlsSecret": None},
                "monitoring": {"enabled": False, "namespace": "prometheus"},
            },
        ),
        ("paper-70b", {"ingress": None}, {"ingress": {"enabled": False}}),
        *(
            (
                "cpu-demo",
                {"storage": {"size": "7Ti", "storage_class": storage_class, "shared": True}},
                {"storage": {"size": "7Ti", "storageClass": storage_class, "accessMode": "ReadWriteMany"}},
            )
            for storage_class in ("", None)
        ),
        (
            "cpu-demo",
            {"ingress": {"host": "a.example.com", "tls_secret": "cert"}, "monitoring": True},
            {
                "ingress": {"enabled": True, "host": "a.example.com", "tlsSecret": "cert"},
                "monitoring": {"enabled": True, "namespace": "prometheus"},
            },
        ),
        (
            "gpu-autoscaling",
            {
                "redis": {"address": "cache.example.com:6379", "secret": "cache", "key": "pass"},
                "gateway": {"class_name": "gke", "step_size_percent": 5, "interval_s": 6, "max_surge_percent": 7},
            },
            {
                "redis": {"host": "cache.example.com", "secret": "cache", "key": "pass"},
                "gateway": {"className": "gke", "stepSizePercent": 5, "intervalSeconds": 6, "maxSurgePercent": 7},
            },
        ),
    ],
)
def test_values_do_what_the_settings_would(
    charts: Path, helm: Helm, overlay: str, settings: dict[str, Any], values: dict[str, Any]
) -> None:
    changed = Settings.model_validate(OVERLAYS[overlay].model_dump() | COMMON | settings)
    expected = of_settings(ROOT / CONFIGS[overlay], overlay, changed)
    assert of_helm(helm("template", charts / overlay, VALUES | values, release="mine")) == expected


def test_the_size_and_place_of_a_worker_group(charts: Path, helm: Helm) -> None:
    placement = {"nodeSelector": {"pool": "l4"}, "tolerations": [{"operator": "Exists"}], "affinity": None}
    values = {"gpu-l4": {"replicas": 4, "minReplicas": 3, "maxReplicas": 1000000} | placement}
    objects = of_helm(helm("template", charts / "gpu-autoscaling", {"workerGroups": values}))
    [group] = [
        group
        for group in objects["RayService", "cascade"]["spec"]["rayClusterConfig"]["workerGroupSpecs"]
        if group["groupName"] == "gpu-l4"
    ]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (4, 3, 1000000)
    spec = group["template"]["spec"]
    assert (spec["nodeSelector"], spec["tolerations"]) == ({"pool": "l4"}, [{"operator": "Exists"}])
    assert "affinity" not in spec
    # At least two CPU pods, three of L4, none of H100: all but one, and a single one.
    least = {
        name: body["spec"]["minAvailable"] for (kind, name), body in objects.items() if kind == "PodDisruptionBudget"
    }
    assert least == {"cascade-cpu": 1, "cascade-gpu-l4": 2, "cascade-gpu-h100": 1}


def test_a_release_may_have_another_name_than_its_objects(charts: Path, helm: Helm) -> None:
    names = {name for _, name in of_helm(helm("template", charts / "cpu-demo", {"nameOverride": "other"}))}
    assert {re.sub("[0-9a-f]{8}$", "", name) for name in names} >= {"other", "other-models", "other-pull-"}
    assert all(name.startswith("other") for name in names)


@pytest.mark.parametrize("release", ["2024-cascade", "cascade.prod"])
def test_a_release_that_kuberay_would_refuse_asks_for_another_name(charts: Path, helm: Helm, release: str) -> None:
    with pytest.raises(ValueError, match=f'A RayService cannot be named "{release}" .*: set nameOverride: '):
        helm("template", charts / "cpu-demo", release=release)
    names = {name for _, name in of_helm(helm("template", charts / "cpu-demo", {"nameOverride": "a"}, release))}
    assert all(name.startswith("a") for name in names)


def test_a_long_release_does_not_end_in_dashes(charts: Path, helm: Helm) -> None:
    objects = of_helm(helm("template", charts / "cpu-demo", release="a" * 44 + "---bcd"))
    assert ("RayService", "a" * 44) in objects


def test_a_chart_checks_names_as_the_settings_do() -> None:
    helpers = (STATIC / "_helpers.tpl").read_text(encoding="utf-8")
    assert f'"^{NAME_PATTERN}$"' in helpers
    assert f"trunc {NAME_LENGTH})" in helpers


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"imgae": {"tag": "1"}}, "at '': additional properties 'imgae' not allowed"),
        ({"image": {"tag": 5}}, "at '/image/tag': got number, want string"),
        ({"image": None}, "at '': missing property 'image'"),
        ({"storage": {"size": "5GB"}}, "at '/storage/size': '5GB' does not match pattern"),
        ({"workerGroups": {"gpu": {"replicas": 1}}}, "at '/workerGroups': additional properties 'gpu' not allowed"),
        ({"workerGroups": {"cpu": {"minReplicas": -1}}}, "at '/workerGroups/cpu/minReplicas': minimum: got -1, want 0"),
        ({"operatorNamespace": "a.b"}, "at '/operatorNamespace': 'a.b' does not match pattern"),
        ({"ingress": {"host": "https://a.example.com"}}, "at '/ingress/host': 'https://a.example.com' does not match"),
        ({"secrets": {"rayToken": "A Secret"}}, "at '/secrets/rayToken': 'A Secret' does not match pattern"),
    ],
)
def test_the_schema_refuses(charts: Path, helm: Helm, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        helm("template", charts / "cpu-demo", values)


def test_braces_and_signs_in_the_config_and_the_settings_arrive(tmp_path: Path, helm: Helm) -> None:
    """Also in what the Job's name is computed from, by us and by Helm."""
    config = tmp_path / "config.yaml"
    config.write_text(
        LOCAL.replace("WEIGHTS", "hf://a/b/c.gguf")
        .replace("OPTIONS", "")
        .replace("- import_path", "- name: '{{ .Values }} \u00e9'\n    import_path"),
        encoding="utf-8",
    )
    settings = Settings(pull_env={"A": "<a> & {{ b }} \u00e9 %s", "HF_ENDPOINT": "https://h.example.com:8443/?a=1&b"})
    expected = of_settings(config, "cpu-demo", settings)
    assert of_helm(helm("template", chart(tmp_path, "cpu-demo", settings, config))) == expected


def test_the_notes_name_what_a_release_needs(charts: Path, helm: Helm) -> None:
    values = {"secrets": {"rayToken": "my-token"}, "ingress": {"host": "a.example.com"}}
    notes = helm("template", charts / "paper-70b", values)["semantic-cascade/templates/NOTES.txt"]
    assert "my-token: auth_token" in notes
    assert "cascade-redis: password, the password of Redis" in notes
    assert "cascade-api-keys" not in notes  # no model reads a key
    assert "helm -n llm get manifest cascade | cascade k8s wait -" in notes
    assert "cascade ask --url https://a.example.com " in notes


@pytest.mark.parametrize("overlay", CONFIGS)
def test_every_value_has_a_use_and_every_use_a_value(charts: Path, overlay: str) -> None:
    text = "".join(path.read_text() for path in (charts / overlay / "templates").glob("[!N]*"))
    used = set(re.findall(r"\.Values\.([\w.]+)", text))
    used |= {".".join(re.findall('"(.*?)"', names)) for names in re.findall(r"\(index \.Values ([^)]*)\)", text)}
    defaults = yaml.safe_load((charts / overlay / "values.yaml").read_text())
    schema = json.loads((charts / overlay / "values.schema.json").read_text())
    assert used == leaves(schema) - {"global"}
    for path in used:
        value: Any = defaults
        for name in path.split("."):
            value = value[name]


def leaves(schema: dict[str, Any], path: str = "") -> set[str]:
    if "properties" not in schema:
        return {path}
    return {
        leaf
        for name, inner in schema["properties"].items()
        for leaf in leaves(inner, f"{path}.{name}" if path else name)
    }


def test_without_models_on_a_volume_there_is_no_value_for_one(tmp_path: Path, helm: Helm) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.replace("MODEL", MODEL.replace("KEY", "api_key_env: A")))
    folder = chart(tmp_path, "cpu-demo", Settings(gpu_worker=GpuPod()), config)
    values = yaml.safe_load((folder / "values.yaml").read_text())
    assert "storage" not in values
    assert values["secrets"] == {
        "rayToken": "cascade-ray-token",
        "clientKeys": "cascade-client-keys",
        "apiKeys": "cascade-api-keys",
    }
    assert of_helm(helm("template", folder)) == of_settings(config, "cpu-demo", Settings())
