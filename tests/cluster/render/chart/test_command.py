"""`cascade k8s render --format helm`, and the files that it leaves alone."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from serve_app.cli.commands import app
from tests.cluster.overlays import CONFIGS, ROOT


def cascade(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["k8s", "render", *arguments])


def test_the_command_writes_a_chart_and_leaves_a_users_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    arguments = [CONFIGS["cpu-demo"], "--overlay", "cpu-demo", "--format", "helm", "-o", str(tmp_path)]
    folder = tmp_path / "charts" / "cpu-demo"
    (folder / "templates").mkdir(parents=True)
    (folder / "templates" / "old.yaml").write_text("{{- /* Written by `cascade k8s render x`. */ -}}\na: 1\n")
    (folder / "my-values.yaml").write_text("nameOverride: mine\n")
    wrote = cascade(*arguments)
    assert wrote.exit_code == 0
    assert f"Written: {folder}. Next: {folder}/README.md\n" in wrote.stdout
    assert (folder / "my-values.yaml").exists()
    assert not (folder / "templates" / "old.yaml").exists()
    assert cascade(*arguments, "--check").exit_code == 0
    (folder / "values.yaml").write_text("a: 1\n")
    stale = cascade(*arguments, "--check")
    assert stale.exit_code == 2
    assert stale.stderr == f"cascade: Stale files, run `cascade k8s render`: {folder}/values.yaml.\n"
