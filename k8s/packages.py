"""Whether pip could make the image, without Docker: uv resolves its packages for its Python and its C library.

    .venv/bin/python -m k8s.packages [--write] [--fetch VARIANT ...]        (make image-check, make image-lock)

What each variant of the image needs has to be what its lock has, in wheels that the index still has, and so has
BLEURT's environment. pip itself then fetches a variant's wheels by their hashes. `--write` pins what is missing or no
longer fits; the other pins stay.
"""

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from k8s import locks
from k8s.locks import BLEURT, Lock, Pin
from serve_app.signals.bleurt import PACKAGES

PROJECT = locks.HERE.parent / "pyproject.toml"
VARIANTS = {
    "cpu": ("llama-cpp", "openai", "redis", "sbert", "seq2seq", "tracing"),
    "gpu": ("openai", "redis", "sbert", "seq2seq", "tracing", "vllm"),
}
"""Extras of pyproject.toml that are in each image. The GPU image has the torch that vLLM names."""
TORCH_CPU = Pin("2.13.0", frozenset({"6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"}))
"""The CPU build's wheel for Python 3.11, as PyTorch's own index shows it; PyPI's torch for Linux has CUDA in it. A new
version has a new hash."""
TORCH = TORCH_CPU.version
NO_PIN = Pin("", frozenset())
CUDA = re.compile(r"(cuda|nvidia)-|triton$")
"""What PyPI's torch needs, and the build for CPU does not."""
UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
[PYTHON] = re.findall(r"^FROM python:(\d+\.\d+\.\d+)", (locks.HERE / "Dockerfile").read_text(), re.MULTILINE)
# Debian bookworm's C library; wheels alone, since pip has no compiler there.
PLATFORM = ["--python-platform", "x86_64-manylinux_2_36", "--python-version", PYTHON, "--only-binary", ":all:"]


def main() -> None:
    """Check or write; end with a sentence and code 1 if something does not resolve."""
    parser = argparse.ArgumentParser(description="Whether the image's packages resolve to their locks.")
    parser.add_argument("--write", action="store_true", help="pin what is missing or no longer fits")
    parser.add_argument("--fetch", nargs="*", choices=list(locks.HEADS), default=["cpu", BLEURT], help="locks for pip")
    options = parser.parse_args()
    if UV is None:
        sys.exit("This needs uv, which pip installs (pip install uv), and an index of packages.")
    if options.write:
        write()
    for name in VARIANTS:
        check(name, variant(name, locks.read(name)), locks.read(name))
    check(BLEURT, bleurt(locks.read(BLEURT)), locks.read(BLEURT))
    for name in options.fetch:
        fetch(name)


def write() -> None:
    """Pin all variants together: one version of each package for all of them."""
    extras = [extra for names in VARIANTS.values() for extra in names]
    pins = updated([f"torch=={TORCH}"], extras, locks.read("cpu") | locks.read("gpu"))
    for name in VARIANTS:
        locks.write(name, variant(name, pins))
    pins = updated(PACKAGES, [], pins | locks.read(BLEURT))
    locks.write(BLEURT, bleurt(pins))


def variant(name: str, pins: Lock) -> Lock:
    """Return all packages of a variant, in versions of `pins`."""
    if "vllm" in VARIANTS[name]:
        return resolve([], VARIANTS[name], pins)
    resolved = resolve([f"torch=={TORCH}"], VARIANTS[name], pins)
    return {package: pin for package, pin in resolved.items() if not CUDA.match(package)} | {"torch": TORCH_CPU}


def bleurt(pins: Lock) -> Lock:
    """Return what BLEURT's environment has in other versions than the images, or in addition, in versions of `pins`."""
    image = locks.read("gpu") | locks.read("cpu")
    resolved = resolve(PACKAGES, [], image | pins)
    return {package: pin for package, pin in resolved.items() if image.get(package, NO_PIN).version != pin.version}


def check(name: str, resolved: Lock, lock: Lock) -> None:
    """Print the number of packages; end unless the lock has these packages, in wheels that the index has."""
    expected, pinned = ({locks.line(*item) for item in pins.items()} for pins in (resolved, lock))
    if expected != pinned:
        differences = ", ".join(sorted(expected ^ pinned))
        sys.exit(f"{name}: the lock and what is needed differ by {differences}. Pin anew with make image-lock.")
    if other := sorted(
        package for package, pin in lock.items() if not pin.hashes or pin.hashes - resolved[package].hashes
    ):
        sys.exit(f"{name}: the index has other files than those locked of {', '.join(other)}.")
    sys.stdout.write(f"{name}: {len(lock)} packages, all pinned.\n")


def fetch(name: str) -> None:
    """Let pip fetch a lock's wheels by their hashes and install nothing, if it runs in the image's Python."""
    if sys.version_info[:2] != tuple(map(int, PYTHON.split(".")[:2])) or sysconfig.get_platform() != "linux-x86_64":
        sys.stdout.write(f"{name}: not fetched, which needs Python {PYTHON} on Linux x86_64.\n")
        return
    # The CPU build of torch is in PyTorch's own index, which not everybody can reach.
    lock = {package: pin for package, pin in locks.read(name).items() if pin != TORCH_CPU}
    with TemporaryDirectory() as folder:
        path = Path(folder, "requirements.txt")
        path.write_text(locks.text(lock), encoding="utf-8")
        options = [
            "--dry-run",
            "--ignore-installed",
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--quiet",
        ]
        run([sys.executable, "-m", "pip", "install", *options, "-r", str(path)])
    sys.stdout.write(f"{name}: pip has fetched {len(lock)} packages by their hashes.\n")


def resolve(requirements: Iterable[str], extras: Iterable[str], pins: Lock) -> Lock:
    """Return all packages that are needed, in versions of `pins`, with the hashes of the wheels that fit."""
    with TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("\n".join(locks.line(*item) for item in pins.items()))
        options = ["--format", "pylock.toml", "--constraints", str(constraints)]
        packages = tomllib.loads(compiled(requirements, extras, options))["packages"]
    return {
        package["name"]: Pin(package["version"], frozenset(wheel["hashes"]["sha256"] for wheel in package["wheels"]))
        for package in packages
    }


def updated(requirements: Iterable[str], extras: Iterable[str], pins: Lock) -> Lock:
    """Return all packages that are needed, without hashes, in other versions than those of `pins` only if needed."""
    with TemporaryDirectory() as folder:
        output = Path(folder, "pins.txt")  # uv keeps the versions of an existing output file if they fit
        output.write_text("\n".join(locks.line(*item) for item in pins.items()))
        compiled(requirements, extras, ["--output-file", str(output)])
        return locks.parsed(output.read_text())


def compiled(requirements: Iterable[str], extras: Iterable[str], options: list[str]) -> str:
    """Return what uv resolves for the image: the project with these extras, if there are any, and requirements."""
    project = [str(PROJECT), *(word for extra in dict.fromkeys(extras) for word in ("--extra", extra))]
    inputs = [*(project if len(project) > 1 else []), "-"]
    quiet = ["--quiet", "--no-config", "--no-header", "--no-annotate"]
    return run([UV or "uv", "pip", "compile", *inputs, *quiet, *PLATFORM, *options], "\n".join(requirements))


def run(command: list[str], text: str = "") -> str:
    """Return what a command prints; end with its errors if it fails."""
    process = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if process.returncode:
        sys.exit(process.stderr.strip())
    return process.stdout


if __name__ == "__main__":
    main()
