"""The image's Dockerfile against what it is made from, and whether its packages resolve."""

import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from k8s import locks, packages
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


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    *_, ignored = (ROOT / "k8s" / "Dockerfile.dockerignore").read_text().partition("\n*\n")
    allowed = re.findall(r"^!(.+)$", ignored, re.MULTILINE)
    for source in copied(DOCKERFILE):
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) or source.startswith(f"{pattern}/") for pattern in allowed), source


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_and_image_have_the_same_ray(overlay: str) -> None:
    image = "gpu" if OVERLAYS[overlay].image.endswith("-gpu") else "cpu"
    assert locks.read(image)["ray"].version == OVERLAYS[overlay].ray_version


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlays_image_has_its_engines(overlay: str) -> None:
    extras = packages.VARIANTS["gpu" if OVERLAYS[overlay].image.endswith("-gpu") else "cpu"]
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


def test_what_pip_installs_for_the_image_has_hashes() -> None:
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    image, bleurt, project = [line for line in lines if re.search("pip install|bleurt_environment", line)]
    assert "--require-hashes" in image
    assert "PIP_REQUIRE_HASHES=1 PIP_CONSTRAINT=requirements-bleurt.txt" in bleurt
    assert "--no-deps /wheels/" in project


@pytest.mark.parametrize("name", locks.HEADS)
def test_every_pin_of_a_lock_has_hashes(name: str) -> None:
    requirements = [line for line in locks.lock_file(name).read_text().splitlines() if "==" in line]
    lock = locks.read(name)
    assert len(lock) == len(requirements) > 0
    assert all(pin.hashes and all(len(digest) == 64 for digest in pin.hashes) for pin in lock.values())
    assert locks.parsed(locks.text(lock)) == lock


def test_both_images_have_the_same_versions_and_each_its_own_torch() -> None:
    cpu, gpu = locks.read("cpu"), locks.read("gpu")
    both = cpu.keys() & gpu.keys()
    assert {name for name in both if cpu[name].version != gpu[name].version} == set()
    assert cpu["torch"] == packages.TORCH_CPU
    assert not cpu["torch"].hashes & gpu["torch"].hashes


@pytest.mark.parametrize(
    ("lock", "error"),
    [
        ({"a": locks.Pin("1", frozenset("x"))}, None),
        ({"a": locks.Pin("2", frozenset("x"))}, "differ by a==1, a==2"),
        ({"a": locks.Pin("1", frozenset("x")), "b": locks.Pin("1", frozenset("y"))}, "differ by b==1"),
        ({}, "differ by a==1"),
        ({"a": locks.Pin("1", frozenset("z"))}, "the index has other files than those locked of a"),
        ({"a": locks.Pin("1", frozenset())}, "the index has other files than those locked of a"),
    ],
)
def test_a_lock_that_does_not_fit_is_refused(lock: locks.Lock, error: str | None) -> None:
    needed = {"a": locks.Pin("1", frozenset("xy"))}
    if error is None:
        packages.check("cpu", needed, lock)
        return
    with pytest.raises(SystemExit, match=error):
        packages.check("cpu", needed, lock)


@pytest.mark.slow
def test_every_variant_of_the_image_resolves_to_pinned_wheels() -> None:
    if packages.UV is None:
        pytest.skip("needs uv")
    # `pip index` asks as uv does; without an answer there is no index.
    index = [sys.executable, "-m", "pip", "index", "versions", "attrs"]
    if subprocess.run(index, capture_output=True, check=False).returncode:
        pytest.skip("needs an index of packages")
    command = [sys.executable, "-m", "k8s.packages"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.sub(r"\d+", "N", ran.stdout).count("N packages, all pinned.\n") == 3
    assert len(re.findall("pip has fetched|not fetched", ran.stdout)) == 2
