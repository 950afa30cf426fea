"""Whether pip could make the image, without Docker: uv resolves its packages for its Python and its C library.

    .venv/bin/python k8s/packages.py [--write]        (make image-check, make image-lock)

Every variant that the Dockerfile names has to come out in pinned versions alone, and so has BLEURT's environment.
`--write` pins what is missing or no longer fits; the other pins stay.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from serve_app.signals.bleurt import PACKAGES

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"
PINS = HERE / "constraints.txt"
BLEURT_PINS = HERE / "constraints-bleurt.txt"
HEADS = {
    PINS: "# Every package of every variant of the image, for Linux on x86_64. Made anew by make image-lock.",
    BLEURT_PINS: "# What BLEURT's environment has instead of the image's. Made anew by make image-lock.",
}
UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
# Debian bookworm's C library; wheels alone, since pip has no compiler there.
PLATFORM = ["--python-platform", "x86_64-manylinux_2_36", "--only-binary", ":all:"]


def main() -> None:
    """Check or write; ends with a sentence and code 1 where something does not resolve."""
    parser = argparse.ArgumentParser(description="Whether the image's packages resolve to pinned versions.")
    parser.add_argument("--write", action="store_true", help="pin what is missing or no longer fits")
    writing = parser.parse_args().write
    if UV is None:
        sys.exit("This needs uv, which pip installs (pip install uv), and an index of packages.")
    text = (HERE / "Dockerfile").read_text()
    variants = re.findall(r"\bEXTRAS=([\w,-]+)", text)
    [torch] = re.findall(r"^ARG TORCH=(\S+)", text, re.MULTILINE)
    [python] = re.findall(r"^FROM python:(\d+\.\d+\.\d+)", text, re.MULTILINE)
    if writing:
        write(python, torch, variants)
    for extras in variants:
        # The GPU image takes the torch that vLLM names; the CPU image's index is not asked, its versions are PyPI's.
        own = [] if "vllm" in extras else [torch]
        check(extras, resolve(python, own, extras, pinned(PINS)), pinned(PINS))
    both = instead(pinned(PINS), pinned(BLEURT_PINS))
    check("BLEURT's environment", resolve(python, PACKAGES, "", both), both)


def write(python: str, torch: str, variants: list[str]) -> None:
    """Pin all variants together: one version of each package, whichever of them has it."""
    pins = resolve(python, [torch], ",".join(variants), pinned(PINS), keep=False)
    save(PINS, pins)
    bleurt = resolve(python, PACKAGES, "", instead(pins, pinned(BLEURT_PINS)), keep=False)
    save(BLEURT_PINS, [line for line in bleurt if line not in pins])


def resolve(python: str, requirements: Iterable[str], extras: str, pins: list[str], *, keep: bool = True) -> list[str]:
    """All packages as `name==version`, in versions of `pins`; without `keep`, others where those do not fit."""
    wanted = [word for extra in dict.fromkeys(filter(None, extras.split(","))) for word in ("--extra", extra)]
    with TemporaryDirectory() as folder:
        known = Path(folder, "pins.txt")  # what is in the output file already, uv keeps where it can
        known.write_text("\n".join(pins))
        done = subprocess.run(
            [
                UV or "uv",
                "pip",
                "compile",
                *([str(PROJECT), *wanted] if wanted else []),
                "-",
                "--python-version",
                python,
            ]
            + ["--quiet", "--no-config", "--no-header", "--no-annotate", *PLATFORM]
            + (["--constraints", str(known)] if keep else ["--output-file", str(known)]),
            input="\n".join(requirements),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{extras or 'BLEURT'}: {done.stderr.strip()}")
        return lines(done.stdout if keep else known.read_text())


def check(what: str, resolved: list[str], pins: list[str]) -> None:
    """Say how many packages it has; end where one of them has no pin."""
    if loose := [line for line in resolved if line not in pins]:
        sys.exit(f"{what}: not pinned: {', '.join(loose)}. Pin them with make image-lock.")
    sys.stdout.write(f"{what}: {len(resolved)} packages, all pinned.\n")


def instead(pins: list[str], own: list[str]) -> list[str]:
    """`pins`, with those of `own` in place of the same packages'."""
    names = {line.split("==")[0] for line in own}
    return [line for line in pins if line.split("==")[0] not in names] + own


def pinned(path: Path) -> list[str]:
    """Return the pins of a file; none if it does not exist yet."""
    return lines(path.read_text()) if path.exists() else []


def lines(text: str) -> list[str]:
    """Without comments and blank lines."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def save(path: Path, pins: list[str]) -> None:
    """Write the file with its head."""
    path.write_text("\n".join([HEADS[path], *pins, ""]))


if __name__ == "__main__":
    main()
