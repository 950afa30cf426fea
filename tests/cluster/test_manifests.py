"""Manifests from files, folders, kustomizations and stdin, and what is none."""

from pathlib import Path

import pytest
import yaml

from serve_app.cluster.manifests import read
from tests.cluster.api_stub import ApiStub
from tests.cluster.kubectl import CLAIM, CONFIG, User


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "all.yaml is not YAML, line 1."),
        ("a: 2026-02-30", "all.yaml has a number, a date or a tag that cannot be read."),
        ("a: !!int x", "all.yaml has a number, a date or a tag that cannot be read."),
        pytest.param("[" * 3000, "all.yaml is nested too deeply.", id="deep"),
        ("data:\n  a: x\n  a: y\n", "all.yaml has a duplicate key 'a', line 3."),
        ("- a\n", "all.yaml, document 1: a manifest must be a mapping, got a list."),
        ("kind: Job\napiVersion: batch/v1\n", "all.yaml, document 1: metadata.name is required and must be text."),
        ("", "all.yaml has no manifests."),
        ("kind: List\napiVersion: v1\nitems: null\n", "all.yaml has no manifests."),
        (
            "kind: List\napiVersion: v1\nitems: 3\n",
            "all.yaml, document 1: the items of a List must be a list, got a number.",
        ),
        (
            "kind: Job\napiVersion: batch/v1\nmetadata: null\n",
            "all.yaml, document 1: metadata.name is required and must be text.",
        ),
        (
            "kind: Job\napiVersion: batch/v1\nmetadata: {name: a, namespace: [b]}\n",
            "all.yaml, document 1: metadata.namespace must be text.",
        ),
    ],
)
@pytest.mark.parametrize("command", ["check", "apply", "diff", "wait", "delete"])
def test_what_is_no_manifest(user: User, command: str, text: str, expected: str) -> None:
    (user.files / "all.yaml").write_text(text)
    ran = user.run(command, "all.yaml")
    assert (ran.code, ran.err) == (2, f"cascade: {expected}\n")


@pytest.mark.parametrize(
    ("kustomization", "expected"),
    [
        (
            "namespace: other\nresources: [all.yaml]\n",
            "overlay/all.yaml, document 1: metadata.name is required and must be text.",
        ),
        ("resources: 5\n", "overlay/kustomization.yaml: resources must be a list, got a number."),
    ],
)
def test_what_is_no_kustomization(user: User, kustomization: str, expected: str) -> None:
    (user.files / "overlay").mkdir()
    (user.files / "overlay" / "all.yaml").write_text("kind: Job\napiVersion: batch/v1\nmetadata: null\n")
    (user.files / "overlay" / "kustomization.yaml").write_text(kustomization)
    ran = user.run("apply", "overlay")
    assert (ran.code, ran.err) == (2, f"cascade: {expected}\n")


def test_a_kustomization_of_files_and_folders(user: User, stub: ApiStub) -> None:
    base = user.files / "base"
    base.mkdir()
    (base / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (base / "kustomization.yaml").write_text("resources: [config.yaml]\n")
    overlay = user.files / "overlay"
    overlay.mkdir()
    (overlay / "claim.yaml").write_text(yaml.safe_dump(CLAIM))
    (overlay / "kustomization.yaml").write_text("resources: [../base, claim.yaml]\nnamespace: other\n")
    stub.put("v1", "Namespace", "other", None)
    assert user.run("apply", "overlay").code == 0
    assert "/api/v1/namespaces/other/configmaps/settings" in stub.objects
    assert "/api/v1/namespaces/other/persistentvolumeclaims/models" in stub.objects


def test_a_folder_whose_overlays_have_the_manifests_names_them(user: User) -> None:
    for name in ("overlays/gke", "overlays/cpu-demo", "base"):
        (user.files / "dep loy" / name).mkdir(parents=True)
    ran = user.run("check", "dep loy")
    overlays = "dep loy/overlays/cpu-demo, dep loy/overlays/gke"
    assert (ran.code, ran.err) == (2, f"cascade: dep loy has no manifests. Its overlays have: {overlays}.\n")


def test_more_than_that_is_left_to_kustomize(user: User, tmp_path: Path, stub: ApiStub) -> None:
    folder = user.files / "my patched"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text("resources: []\npatches: []\n")
    ran = user.run("apply", "my patched", PATH="/nowhere")
    assert ran.code == 2
    assert "patched has a kustomization with patches, which needs kustomize or kubectl on the PATH." in ran.err
    assert "run kustomize build 'my patched' > all.yaml, and" in ran.err
    program = tmp_path / "kustomize"
    program.write_text(f"#!/bin/sh\necho '{yaml.safe_dump(CONFIG)}'\n")
    program.chmod(0o755)
    assert user.run("apply", "my patched", PATH=f"{tmp_path}:/bin").out == "ConfigMap/settings created\n"


def test_manifests_from_stdin(user: User) -> None:
    assert user.run("apply", "-", stdin=yaml.safe_dump(CONFIG)).out == "ConfigMap/settings created\n"


def test_keys_that_a_merge_brings_are_no_duplicates(tmp_path: Path) -> None:
    """PyYAML writes merged keys into the mapping that has `<<`, which another one may merge in turn."""
    labels = "labels: &labels {<<: &common {app: a, tier: b}, tier: c}"
    path = tmp_path / "all.yaml"
    path.write_text(f"kind: X\napiVersion: v1\nmetadata: {{name: a, {labels}}}\nmatch: {{<<: *labels}}\n")
    [body] = read(path)
    assert body["match"] == body["metadata"]["labels"] == {"app": "a", "tier": "c"}
