"""Generated files of records: read, or refused with a sentence; never another error, never slow, no memory kept."""

import gzip
import json
import os
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from serve_app.core.types.answer import Failure, Generation, TokenLogprob
from serve_app.core.types.prompt import ToolCall
from serve_app.engines.replay.recorded import read_records
from serve_app.errors import DataError, EngineError
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.lines import answer_body, example_body
from tests.evaluation.collecting import question
from tests.evaluation.records.headers import header
from tests.fuzz.measures import refused, tally
from tests.fuzz.mutations import changed_anywhere, damaged
from tests.fuzz.values import anything, text

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("CASCADE_TEST_RECORDS", "4000"))
SURE = (TokenLogprob("Par", -0.25), TokenLogprob("is", -0.5))
LINES: list[dict[str, Any]] = [
    header().body(),
    example_body(question(1)),
    answer_body("q1", "a", Generation("Paris", "stop", 5, 2, logprobs=SURE, latency_s=0.5), {"f1": 1.0}),
    answer_body("q1", "t", Generation("", "tool_calls", 5, 1, tool_calls=(ToolCall("c", "f", "{}"),), reasoning="x")),
    example_body(question(2)),
    answer_body("q2", "a", Failure("timeout", "slow")),
]
NAMES = sorted({name for line in LINES for name in line} | {"scores", "estimated", "inputs", "thinking", "sha256"})


def file_of(number: int) -> bytes:
    """Return the lines above with a few changes, as text that may be damaged and may be compressed."""
    random = Random(number)
    lines: list[Any] = list(LINES)
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        at = random.randrange(len(lines))
        lines[at] = changed_anywhere(lines[at], random, lambda: (random.choice(NAMES), anything(random)))
    if random.random() < 0.1:
        random.shuffle(lines)
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    if random.random() < 0.2:
        body = damaged(body, random)
    if random.random() < 0.1:
        body = gzip.compress(body, 1)
        body = damaged(body, random) if random.random() < 0.5 else body
    return body + text(random).encode("utf-8", "surrogatepass") if random.random() < 0.1 else body


def test_every_file_is_read_or_refused_with_a_sentence(tmp_path: Path) -> None:
    def check(number: int) -> str:
        path = tmp_path / ("records.jsonl.gz" if number % 10 == 0 else "records.jsonl")
        path.write_bytes(file_of(number))
        with suppress(EngineError):  # a replay model that plays them
            read_records(path, "a")
        try:
            records = Records.load(path)
            config = records.config
        except DataError as error:
            return refused(error)
        assert len(config.cascades) > 0
        assert set(records.complete()) <= set(range(len(records.examples)))
        for name in records.score_names:
            assert len(records.scores(name, records.models[0])) == len(records.examples)
        try:
            messages = [records.messages(row) for row in range(len(records.examples))]
        except DataError as error:
            return refused(error)
        assert all(messages)
        return "read"

    ways = tally(COUNT, check)
    assert ways["read"] > COUNT / 10
    assert ways["refused"] > COUNT / 4
