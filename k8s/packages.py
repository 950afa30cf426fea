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
    """Check or write; end with a sentence and code 1 if something does not resolve."""
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
    bleurt_pins = instead(pinned(PINS), pinned(BLEURT_PINS))
    check("BLEURT's environment", resolve(python, PACKAGES, "", bleurt_pins), bleurt_pins)


def write(python: str, torch: str, variants: list[str]) -> None:
    """Pin all variants together: one version of each package for all of them."""
    pins = resolve(python, [torch], ",".join(variants), pinned(PINS), keep=False)
    save(PINS, pins)
    bleurt = resolve(python, PACKAGES, "", instead(pins, pinned(BLEURT_PINS)), keep=False)
    save(BLEURT_PINS, [line for line in bleurt if line not in pins])


def resolve(python: str, requirements: Iterable[str], extras: str, pins: list[str], *, keep: bool = True) -> list[str]:
    """Return all packages as `name==version`, in versions of `pins`; without `keep`, others if those do not fit."""
    extra_options = [word for extra in dict.fromkeys(filter(None, extras.split(","))) for word in ("--extra", extra)]
    with TemporaryDirectory() as folder:
        pins_file = Path(folder, "pins.txt")  # uv keeps the versions of an existing output file if they fit
        pins_file.write_text("\n".join(pins))
        process = subprocess.run(
            [
                UV or "uv",
                "pip",
                "compile",
                *([str(PROJECT), *extra_options] if extra_options else []),
                "-",
                "--python-version",
                python,
            ]
            + ["--quiet", "--no-config", "--no-header", "--no-annotate", *PLATFORM]
            + (["--constraints", str(pins_file)] if keep else ["--output-file", str(pins_file)]),
            input="\n".join(requirements),
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            sys.exit(f"{extras or 'BLEURT'}: {process.stderr.strip()}")
        return lines(process.stdout if keep else pins_file.read_text())


def check(label: str, resolved: list[str], pins: list[str]) -> None:
    """Print the number of packages; end if one of them has no pin."""
    if loose := [line for line in resolved if line not in pins]:
        sys.exit(f"{label}: not pinned: {', '.join(loose)}. Pin them with make image-lock.")
    sys.stdout.write(f"{label}: {len(resolved)} packages, all pinned.\n")


def instead(pins: list[str], own: list[str]) -> list[str]:
    """Return `pins`, with those of `own` in place of the same packages'."""
    names = {line.split("==")[0] for line in own}
    return [line for line in pins if line.split("==")[0] not in names] + own


def pinned(path: Path) -> list[str]:
    """Return the pins of a file; empty if it does not exist yet."""
    return lines(path.read_text()) if path.exists() else []


def lines(text: str) -> list[str]:
    """Return the lines without comments and blank lines."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def save(path: Path, pins: list[str]) -> None:
    """Write the file with its head."""
    path.write_text("\n".join([HEADS[path], *pins, ""]))


if __name__ == "__main__":
    main()
