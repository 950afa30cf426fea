"""`make help` lists every target."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)", text, re.MULTILINE)
    documented = re.findall(r"^([\w-]+):.* ## (.*)", text, re.MULTILINE)
    assert sorted(phony.split()) == sorted(target for target, _ in documented)
    result = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    groups = [line for line in result.stdout.splitlines() if line and not line.startswith(" ")]
    assert groups == ["Use it", "Measure it", "Develop it"]
    # One column: the longest name fits.
    listed = [line for line in result.stdout.splitlines() if line.startswith(" ")]
    assert listed == [f"  make {target:16} {summary}" for target, summary in documented]
    assert max(len(target) for target, _ in documented) <= 16
