"""The process that evaluates records: what it says comes back, and it is ended if it takes too long."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.deployments.showing.evaluation import RecordsEvaluator
from tests.evaluation.synthetic import records
from tests.page.serving import built, configured
from tests.patience import PATIENCE_S

PROBLEM = "These records could not be evaluated: {}. Run `cascade evaluate` with the file instead."


def evaluator(program: str, time_limit_s: float = 60) -> RecordsEvaluator:
    return RecordsEvaluator((sys.executable, "-S", "-c", program), time_limit_s)


async def parts(*content: bytes) -> AsyncIterator[bytes]:
    for part in content:
        yield part


async def events_of(by: RecordsEvaluator, *content: bytes) -> list[Any]:
    """Return the events about records, after checking that the end mark is the last."""
    evaluation = await by.begin(parts(*content))
    text = b"".join([part async for part in evaluation.events()]).decode()
    await evaluation.close()
    assert not by.busy
    *events, end, tail = text.split("\n\n")
    assert (end, tail) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


async def test_an_operator_gets_a_report_of_records(tmp_path: Path) -> None:
    app = built(configured())[0].__serve_build_asgi_app__()
    content = records(tmp_path / "r.jsonl", 20).read_bytes()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        response = await http.post("/page/evaluate", content=content, headers={"content-type": "application/jsonl"})
    *_, last, end, _ = response.text.split("\n\n")
    assert (response.status_code, end) == (200, "data: [DONE]")
    body = json.loads(last.removeprefix("data: "))
    assert (body["notes"], body["report"]["groups"][0]["name"]) == ([], "Synthetic")


async def test_everything_that_is_sent_arrives() -> None:
    echo = "import sys; print('data: %d\\n' % len(sys.stdin.read()))"
    assert await events_of(evaluator(echo), b"a" * 300_000, b"b" * 300_000) == [600_000]


@pytest.mark.parametrize(
    ("program", "limit_s", "reason"),
    [
        ("while True: pass", 0.2, "it takes longer than 0.2 s"),
        ("import os; os.kill(os.getpid(), 9)", 30, "it takes more time or memory than is allowed"),
        ("raise MemoryError", 30, "it failed"),
    ],
)
async def test_an_evaluation_that_fails_is_a_sentence(program: str, limit_s: float, reason: str) -> None:
    large = b"x" * 1_000_000  # more than a pipe holds
    assert await events_of(evaluator(program, limit_s), large) == [{"problem": PROBLEM.format(reason)}]


async def test_who_reads_nothing_on_holds_up_no_other_records() -> None:
    by = evaluator("import sys; sys.stdout.write('data: ' + 1_000_000 * 'x')", 600)  # more than a pipe holds
    evaluation = await by.begin(parts())
    events = evaluation.events()
    first = await anext(events)
    assert by.busy
    evaluation._end_late()  # by hand: on a busy machine its start may take longer than a short limit
    async with asyncio.timeout(PATIENCE_S):
        while by.busy:  # noqa: ASYNC110
            await asyncio.sleep(0)
    content = first + b"".join([part async for part in events])
    await evaluation.close()
    cut_off, problem, end, _ = content.decode().split("\n\n")
    assert cut_off.strip("x") == "data: "
    assert json.loads(problem.removeprefix("data: ")) == {"problem": PROBLEM.format("it takes longer than 600 s")}
    assert end == "data: [DONE]"


async def test_half_an_event_is_apart_from_why_there_is_no_more() -> None:
    by = evaluator("import os; os.write(1, b'data: {'); os.kill(os.getpid(), 9)")
    evaluation = await by.begin(parts())
    half, problem, _, _ = b"".join([part async for part in evaluation.events()]).decode().split("\n\n")
    await evaluation.close()
    reason = "it takes more time or memory than is allowed"
    assert (half, json.loads(problem.removeprefix("data: "))) == ("data: {", {"problem": PROBLEM.format(reason)})


async def test_an_event_whose_end_comes_late_is_one_event(tmp_path: Path) -> None:
    read = tmp_path / "read"
    wait = f"import os, time\nwhile not os.path.exists({str(read)!r}): time.sleep(0.01)"
    by = evaluator(f"print('data: 1', flush=True)\n{wait}\nprint()")
    evaluation = await by.begin(parts())
    events = evaluation.events()
    first = await anext(events)
    read.touch()
    remainder = [part async for part in events]
    await evaluation.close()
    assert (first, remainder) == (b"data: 1\n", [b"\n", b"data: [DONE]\n\n"])


async def test_who_stops_sending_ends_the_process() -> None:
    by = evaluator("import sys; sys.stdin.read()")
    taken, never = asyncio.Event(), asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        yield b"x"
        taken.set()
        await never.wait()

    sending = asyncio.create_task(by.begin(waiting()))
    await asyncio.wait_for(taken.wait(), PATIENCE_S)
    assert by.busy
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert not by.busy
