"""From config to manifests: what is in them, and that the files come to the same objects."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from serve_app.cli.commands import app
from serve_app.cluster.manifests import Manifest
from serve_app.cluster.render.chart import chart
from serve_app.cluster.render.overlay import patch_of, render
from serve_app.cluster.settings import OVERLAYS, Settings
from tests.cluster.overlays import CONFIG, CONFIGS, MODEL, ROOT, groups, rendered, rendered_text, service
from tests.patience import PATIENCE_S


def merged(target: Any, patch: Any) -> Any:
    """Merge as RFC 7386 prescribes."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@pytest.mark.parametrize(
    ("overlay", "kinds"),
    [
        ("cpu-demo", []),
        ("gpu-single-node", ["Ingress", "PodMonitor"]),
        # Redis, the Gateway's proxies; the operator makes the Gateway
        ("gpu-autoscaling", ["NetworkPolicy", "NetworkPolicy", "PodMonitor"]),
        ("paper-70b", ["Ingress", "NetworkPolicy", "PodMonitor"]),
    ],
)
def test_objects_of_an_overlay(overlay: str, kinds: list[str]) -> None:
    common = ["ConfigMap", "Job", "Namespace", "NetworkPolicy", "NetworkPolicy", "NetworkPolicy"]
    common += ["PersistentVolumeClaim", "RayService", *["PodDisruptionBudget"] * len(groups(overlay))]
    assert sorted(body["kind"] for body in rendered(overlay).objects) == sorted(common + kinds)


@pytest.mark.parametrize("overlay", CONFIGS)
def test_committed_files_come_to_the_objects(overlay: str) -> None:
    """Through kustomize itself, with the image put in and the namespace set."""
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl, whose kustomize puts base and overlay together")
    command = ["kubectl", "kustomize", str(ROOT / "k8s" / "overlays" / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    image = OVERLAYS[overlay].image
    built_objects = {(body["kind"], body["metadata"]["name"]): body for body in yaml.safe_load_all(built.stdout)}
    expected = {}
    for body in yaml.safe_load_all(yaml.safe_dump_all(rendered(overlay).objects)):
        if body["kind"] != "Namespace":
            body["metadata"]["namespace"] = "cascade"
        expected[body["kind"], body["metadata"]["name"]] = with_image(body, image)
    assert built_objects == expected


def with_image(value: Any, image: str) -> Any:
    if isinstance(value, list):
        return [with_image(inner, image) for inner in value]
    if not isinstance(value, dict):
        return value
    return {key: image if key == "image" else with_image(inner, image) for key, inner in value.items()}


@pytest.mark.parametrize("overlay", CONFIGS)
def test_base_and_patch_make_the_service(overlay: str) -> None:
    files = rendered(overlay).files
    base = yaml.safe_load(files["base/rayservice.yaml"])
    patch = yaml.safe_load(files[f"overlays/{overlay}/rayservice.yaml"])
    assert merged(base, patch) == service(overlay)


def test_the_base_is_the_same_for_every_overlay() -> None:
    bases = [{n: t for n, t in rendered(o).files.items() if n.startswith("base/")} for o in CONFIGS]
    assert bases[0] == bases[1] == bases[2] == bases[3]
    assert sorted(bases[0]) == [f"base/{name}.yaml" for name in ("kustomization", "namespace", "network", "rayservice")]


leaves = st.integers(0, 3) | st.booleans() | st.lists(st.integers(0, 3), max_size=2)
trees = st.recursive(
    st.dictionaries(st.sampled_from("abc"), leaves, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | leaves, max_size=3),
    max_leaves=8,
)


@given(trees, trees)
def test_patch_makes_after_of_before(before: Manifest, after: Manifest) -> None:
    named = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "n"}}
    assert merged(named | {"spec": before}, patch_of(named | {"spec": before}, named | {"spec": after})) == named | {
        "spec": after
    }


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("semantic-cascade:0.1.0", {"newName": "semantic-cascade", "newTag": "0.1.0"}),
        ("registry:5000/team/cascade:7", {"newName": "registry:5000/team/cascade", "newTag": "7"}),
        ("registry:5000/team/cascade", {"newName": "registry:5000/team/cascade"}),
        ("r.io/c@sha256:ab", {"newName": "r.io/c", "digest": "sha256:ab"}),
    ],
)
def test_image_in_the_words_of_kustomize(tmp_path: Path, image: str, expected: dict[str, str]) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "keyless: true"))
    files = rendered_text(tmp_path, text, Settings(image=image)).files
    kustomization = yaml.safe_load(files["overlays/cpu-demo/kustomization.yaml"])
    assert kustomization["images"] == [{"name": "semantic-cascade"} | expected]


def cascade(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["k8s", "render", *arguments])


def test_the_command_writes_checks_and_notices_what_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # the config's path stands in the files
    arguments = [CONFIGS["cpu-demo"], "--overlay", "cpu-demo", "-o", str(tmp_path)]
    (tmp_path / "overlays" / "cpu-demo").mkdir(parents=True)
    old = tmp_path / "overlays" / "cpu-demo" / "old.yaml"
    old.write_text("# Written by `cascade k8s render x.yaml --overlay cpu-demo`: change the config.\na: 1\n")
    wrote = cascade(*arguments)
    assert wrote.exit_code == 0
    assert wrote.stderr == ""
    assert wrote.stdout.startswith(f"Removed, as it is not rendered any more: {old}\n")
    assert "cpu: 1 of 4 CPUs, 8 GiB, for qwen-0.5b, smollm2-135m, qwen-1.5b, Scorer, StateStore, Router" in wrote.stdout
    written = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.yaml")}
    expected = render(ROOT / CONFIGS["cpu-demo"], "cpu-demo", OVERLAYS["cpu-demo"]).files
    assert written == {name: text.replace(f"{ROOT}/", "") for name, text in expected.items()}
    assert cascade(*arguments, "--check").exit_code == 0
    (tmp_path / "base" / "network.yaml").write_text("a: 1\n")
    stale = cascade(*arguments, "--check")
    assert stale.exit_code == 2
    assert stale.stderr == f"cascade: Stale files, run `cascade k8s render`: {tmp_path}/base/network.yaml.\n"


def test_commands_for_files_with_odd_names_can_be_pasted(tmp_path: Path) -> None:
    config, output = tmp_path / "my serve.yaml", tmp_path / "dep loy"
    config.write_bytes((ROOT / CONFIGS["cpu-demo"]).read_bytes())
    arguments = [str(config), "--overlay", "cpu-demo", "-o", str(output)]
    assert cascade(*arguments).stdout.endswith(f"Next: cascade k8s diff '{output}/overlays/cpu-demo'\n")
    overlay, chart_folder = output / "overlays" / "cpu-demo", output / "charts" / "cpu-demo"
    assert f"render '{config}' --overlay" in (overlay / "kustomization.yaml").read_text()
    assert cascade(*arguments, "--format", "helm").exit_code == 0
    assert all(
        f"render '{config}' --overlay" in (chart_folder / name).read_text() for name in ("values.yaml", "README.md")
    )


@pytest.mark.parametrize("form", ["kustomize", "helm"])
def test_a_users_own_file_stays_and_is_not_stale(tmp_path: Path, form: str) -> None:
    arguments = [str(ROOT / CONFIGS["cpu-demo"]), "--overlay", "cpu-demo", "--format", form, "-o", str(tmp_path)]
    names = {
        "kustomize": ["base/mine.yaml", "overlays/cpu-demo/my-secret.yaml"],
        "helm": ["charts/cpu-demo/templates/mine.yaml"],
    }
    for name in names[form]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a: 1\n")
    for _ in range(2):
        assert cascade(*arguments).exit_code == 0
    assert cascade(*arguments, "--check").exit_code == 0
    assert [(tmp_path / name).read_text() for name in names[form]] == ["a: 1\n"] * len(names[form])


NAMES = [("kustomize", name) for name in rendered("cpu-demo").files]
NAMES += [("helm", name) for name in chart.render(ROOT / CONFIGS["cpu-demo"], "cpu-demo", OVERLAYS["cpu-demo"]).files]


@pytest.mark.parametrize(("form", "name"), NAMES)
def test_a_users_own_file_is_not_overwritten(tmp_path: Path, form: str, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("mine: 1\n")
    config = str(ROOT / CONFIGS["cpu-demo"])
    refused = cascade(config, "--overlay", "cpu-demo", "--format", form, "-o", str(tmp_path))
    assert refused.exit_code == 2
    sentence = f"Not written by `cascade k8s render`: {tmp_path / name}. Move it, or choose another --output."
    assert refused.stderr == f"cascade: {sentence}\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
