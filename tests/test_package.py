"""The wheel works outside of the repository, with everything that the commands read."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from serve_app import __version__
from serve_app.config.serve_file import SHIPPED

ROOT = Path(__file__).parents[1]
IGNORED = {".py", ".pyc", ".md"}
"""Endings of files of serve_app that are no package data: code, and pages about it."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the wheel, built from a copy so that `build/` and metadata stay out of the repository."""
    source, wheels, site = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "site"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "serve_app", source / "serve_app", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(wheels), str(source)]
    result = subprocess.run(build, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    [wheel] = wheels.glob("*.whl")
    assert wheel.name == f"semantic_cascade-{__version__}-py3-none-any.whl"
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def cascade(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command of the wheel in a folder without a clone."""
    script = "import serve_app, sys; assert serve_app.__file__.startswith(sys.argv.pop(1)); "
    command = [sys.executable, "-c", script + "from serve_app.cli.main import main; main()", str(site), *arguments]
    environment = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=site, env=environment)


def test_the_versions_agree() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_all_package_data_is_in_the_wheel(installed: Path) -> None:
    data = {path.relative_to(ROOT) for path in (ROOT / "serve_app").rglob("*") if path.is_file()}
    data = {path for path in data if path.suffix not in IGNORED}
    assert data
    assert {path for path in data if not (installed / path).is_file()} == set()


def test_a_user_without_a_clone_has_a_config(installed: Path, tmp_path: Path) -> None:
    printed = cascade(installed, "config")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout == SHIPPED["quickstart"].read_text(encoding="utf-8")
    path = tmp_path / "my.yaml"
    path.write_text(printed.stdout, encoding="utf-8")
    for command in ("check", "plan"):
        result = cascade(installed, command, str(path))
        assert (result.returncode, result.stderr) == (0, "")


def test_serve_knows_the_shipped_config(installed: Path) -> None:
    result = cascade(installed, "serve", "--help")
    assert "without it, the quickstart" in " ".join(result.stdout.replace("│", "").split())


def test_the_shipped_config_is_the_one_in_configs() -> None:
    assert (ROOT / "configs" / "quickstart.yaml").samefile(SHIPPED["quickstart"])
