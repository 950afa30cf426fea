"""The image's Dockerfile against what it is made from, and whether its packages resolve."""

import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from k8s import packages
from serve_app.cluster.settings import OVERLAYS
from serve_app.config import AppConfig
from serve_app.config.ray_rules import load
from tests.cluster.overlays import CONFIGS, ROOT

DOCKERFILE = (ROOT / "k8s" / "Dockerfile").read_text()
EXTRA = {"vllm": "vllm", "seq2seq": "seq2seq", "llama_cpp": "llama-cpp", "openai_api": "openai"}
"""What an engine needs installed."""


def copied(stage: str) -> list[str]:
    """Return the files that a stage copies from the project, or that all stages do."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", stage, re.MULTILINE)
    return [source for line in lines for source in line.split()]


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "k8s" / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    *_, ignored = (ROOT / "k8s" / "Dockerfile.dockerignore").read_text().partition("\n*\n")
    allowed = re.findall(r"^!(.+)$", ignored, re.MULTILINE)
    for source in copied(DOCKERFILE):
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) or source.startswith(f"{pattern}/") for pattern in allowed), source


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_and_image_have_the_same_ray(overlay: str) -> None:
    assert pins("constraints.txt")["ray"] == OVERLAYS[overlay].ray_version


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlays_image_has_its_engines(overlay: str) -> None:
    cpu, gpu = sorted(re.findall(r"\bEXTRAS=([\w,-]+)", DOCKERFILE), key=lambda extras: "vllm" in extras)
    extras = (gpu if OVERLAYS[overlay].image.endswith("-gpu") else cpu).split(",")
    args: AppConfig = load(ROOT / CONFIGS[overlay]).application.args
    assert {EXTRA[model.engine] for model in args.models.values()} <= set(extras)


def test_the_stage_of_bleurt_has_the_modules_that_it_runs(tmp_path: Path) -> None:
    stage = DOCKERFILE.partition(" AS bleurt\n")[2].partition("\nFROM ")[0]
    for source in copied(stage):
        into = tmp_path / source
        into.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, into)
    # An editable install would find what the stage lacks.
    code = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path = [path for path in sys.path if path != sys.argv[1]]
import serve_app.signals.bleurt_environment as it
print(it.__file__)
"""
    command = [sys.executable, "-c", code, str(ROOT)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout.startswith(str(tmp_path)), ran.stderr


@pytest.mark.slow
def test_every_variant_of_the_image_resolves_to_pinned_wheels() -> None:
    if packages.UV is None:
        pytest.skip("needs uv")
    # `pip index` asks as uv does; without an answer there is no index.
    index = [sys.executable, "-m", "pip", "index", "versions", "attrs"]
    if subprocess.run(index, capture_output=True, check=False).returncode:
        pytest.skip("needs an index of packages")
    command = [sys.executable, packages.__file__]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.sub(r"\d+", "N", ran.stdout).count("N packages, all pinned.\n") == 3
