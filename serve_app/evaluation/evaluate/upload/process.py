"""The process that evaluates untrusted records: JSON Lines on standard input, server-sent events on the output.

Events are JSON objects: `step` with the current step, and at last `report` with what
`cascade evaluate --report` writes to report.json and `notes` on what was left out, or a `problem` in a sentence.
The process is limited, and opens and connects to nothing (see `confinement.limits`).
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from serve_app.confinement.limits import confine, end_with_reader, limit
from serve_app.confinement.memory import fair_share
from serve_app.core.record_json import JsonObject
from serve_app.errors import CascadeError, WeightsError
from serve_app.evaluation.analysis.json_values import plain
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.similarities import LEXICAL
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.evaluate.upload.restriction import restricted
from serve_app.evaluation.records.file import Records
from serve_app.files.json_lines import objects_of
from serve_app.files.text import Line, lines_of
from serve_app.signals import DEFAULT_SIGNALS, build_signal

NAME = "records"
"""What the sentences call the file: `records:12` is its twelfth line."""
CPU_S = 120
MOST_MEMORY_BYTES = 2 * 1024**3
LEAST_MEMORY_BYTES = 300 * 1024**2
"""Python and its libraries alone map 160 MB."""
STEP_LINES = 1000
FORBIDDEN = (
    "These records need a file, another program or the network, such as for a metric of the config's own, which is "
    "not allowed here: run `cascade evaluate` with the file instead."
)
TOO_LARGE = "These records need more memory than this server can spare: run `cascade evaluate` with the file instead."
Tell = Callable[[JsonObject], None]


def evaluated(file: BinaryIO, tell: Tell) -> JsonObject:
    """Return the `report` of a records file with `notes`, or the `problem` with it. `tell` gets each `step`."""
    try:
        records = Records.read(objects_of(_counted(lines_of(file, NAME, growing=True), tell)), NAME)
        restriction = restricted(records)
        tell({"step": "comparing", "examples": len(records.examples), "models": len(records.models)})
        dataset = load_dataset(restriction.records, restriction.options)
        tell({"step": "resampling", "examples": len(dataset.examples)})
        # Facts of a header are reported as they are, and may hold numbers that JSON has not.
        return {"report": plain(evaluate(dataset).to_json()), "notes": restriction.notes}
    except (PermissionError, WeightsError):
        return {"problem": FORBIDDEN}
    except CascadeError as error:
        return {"problem": str(error)}
    except MemoryError:
        return {"problem": TOO_LARGE}


def _counted(lines: Iterable[Line], tell: Tell) -> Iterator[Line]:
    for number, line in enumerate(lines):
        if number % STEP_LINES == 0:
            tell({"step": "reading", "lines": number})
        yield line


def _tell(body: JsonObject) -> None:
    print(f"data: {json.dumps(body, allow_nan=False)}\n", flush=True)


def main() -> None:
    """Evaluate what is on standard input."""
    memory = fair_share(MOST_MEMORY_BYTES)
    if memory < LEAST_MEMORY_BYTES:
        _tell({"problem": TOO_LARGE})
        return
    limit(CPU_S, memory)
    end_with_reader()
    file = sys.stdin.buffer
    for name in LEXICAL:  # imports what opens files of its own, before that is refused
        build_signal(DEFAULT_SIGNALS[name]).similarities([["a", "b"]])
    confine()
    _tell(evaluated(file, _tell))


if __name__ == "__main__":
    main()
