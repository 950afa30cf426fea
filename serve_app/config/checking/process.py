"""The process that checks an untrusted config: YAML on standard input, a JSON object on standard output.

It is a process of its own so that no text, however made, holds up or ends the server: its time is limited, and it
refuses to open files, start programs and connect to anything once it has read the text.
"""

import json
import sys
from pathlib import Path

from serve_app.config.checking.report import report
from serve_app.config.ray_rules import load, loads
from serve_app.config.serve_file import SHIPPED
from serve_app.confinement.limits import confine, end_with_reader, limit
from serve_app.core.record_json import JsonObject
from serve_app.errors import ConfigError

NAME = Path("config.yaml")
"""Name of the text in messages."""
CPU_S = 20
MOST_LINES = 200
MOST_CHARACTERS = 1000


def checked(text: str) -> JsonObject:
    """Return whether a config is `valid`, the `lines` that `cascade check` prints about it, and its `warnings`."""
    try:
        result = report(str(NAME), loads(text, NAME))
    except ConfigError as error:
        return {"valid": False, "lines": _shortened(str(error).split("\n")), "warnings": []}
    return {"valid": True, "lines": _shortened(result.lines), "warnings": _shortened(result.warnings)}


def _shortened(lines: list[str]) -> list[str]:
    more = len(lines) - MOST_LINES
    short = [line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 1]}…" for line in lines[:MOST_LINES]]
    return [*short, f"… and {more} more."] if more > 0 else short


def main() -> None:
    """Check the text on standard input."""
    limit(CPU_S)
    end_with_reader()
    load(SHIPPED["quickstart"])  # imports what a check needs
    text = sys.stdin.buffer.read().decode()
    confine()
    print(json.dumps(checked(text)), flush=True)


if __name__ == "__main__":
    main()
