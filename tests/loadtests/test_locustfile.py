"""Locust as its users run it, against a real HTTP server of the API over scripted models."""

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from itertools import cycle, islice
from pathlib import Path

import pytest

from loadtests.load.log import read_log
from loadtests.load.mix import Mix
from loadtests.load.options import PROMPTS
from loadtests.load.trace import Arrival, write_trace
from serve_app.core.types.answer import Failure
from serve_app.files.prompts import read_prompts
from tests.api.serving import HANG, listening, listening_app
from tests.deployments.access.doors import Door

from .serving import LoadedService

LOADTESTS = PROMPTS.parent
ARRIVALS = 24


@pytest.fixture
def service() -> LoadedService:
    return LoadedService()


@pytest.fixture
async def url(service: LoadedService) -> AsyncIterator[str]:
    async with listening(service) as url:
        yield url


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Write a trace of ten arrivals a second."""
    write_trace(tmp_path / "trace.csv", [Arrival(number / 10) for number in range(ARRIVALS)])
    return tmp_path / "trace.csv"


async def python(*arguments: object, cwd: Path) -> tuple[int | None, str]:
    """Run Python and return its exit code and output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *map(str, arguments),
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def load(url: str, *arguments: object, cwd: Path) -> tuple[int | None, str]:
    locustfile = LOADTESTS / "locustfile.py"
    return await python(
        "-m", "locust", "-f", locustfile, "--headless", "--only-summary", "--host", url, *arguments, cwd=cwd
    )


def gates(path: Path, **bounds: float) -> Path:
    path.write_text(json.dumps(bounds))
    return path


async def test_cascade_and_target_on_the_same_arrivals(url, trace, tmp_path):
    lenient = gates(tmp_path / "lenient.yaml", max_error_rate=0, max_p95_ttft_s=60, max_deferral_rate=0.9)
    impossible = gates(tmp_path / "impossible.yaml", max_error_rate=0, max_p95_latency_s=0)
    replay = ("--shape", "replay", "--trace", trace)

    (code, output), (failed, failures) = await asyncio.gather(
        load(url, *replay, "--log", "cascade.jsonl", "--slo", lenient, cwd=tmp_path),
        load(url, *replay, "--log", "target.jsonl", "--slo", impossible, "--models", "t", cwd=tmp_path),
    )
    assert code == 0, output
    assert f"requests   {ARRIVALS} in " in output
    assert "ok    max_error_rate      0 (must be <= 0)" in output
    assert failed == 1, failures
    assert re.search(r"FAIL  max_p95_latency_s +\d", failures)

    cascade, target = read_log(tmp_path / "cascade.jsonl"), read_log(tmp_path / "target.jsonl")
    prompts = read_prompts(PROMPTS)[:ARRIVALS]
    streams = [Mix(prompts, {"t": 1}, 0.5, 64, 1).ask(number).stream for number in range(ARRIVALS)]
    assert [result.deferred for result in cascade.results] == [len(prompt) % 2 == 1 for prompt in prompts]
    assert [result.stream for result in cascade.results] == [result.stream for result in target.results] == streams
    assert {result.answered_by for result in target.results} == {"t"}
    assert {(result.deferred, result.flops) for result in target.results} == {(None, 2e9 * 13)}
    for result in [*cascade.results, *target.results]:
        assert result.failure is None
        assert (result.first_token_s is not None) == result.stream
        assert result.late_s is not None
    # What the target streams word by word is measured word by word; a member's one word has no time per token.
    assert {result.token_s is not None for result in cascade.results if result.stream and result.deferred} == {True}
    assert {result.token_s is not None for result in cascade.results if not result.deferred} == {False}
    assert cascade.samples[0]["replicas"] == {"a": 1, "b": 1, "t": 2}
    assert cascade.about["trace"].startswith("trace.csv@")

    code, output = await python(LOADTESTS / "report.py", "cascade.jsonl", "target.jsonl", cwd=tmp_path)
    assert code == 0, output
    assert f"| requests answered | {ARRIVALS} | {ARRIVALS} | 1.00 |" in output
    page = (tmp_path / "cascade.html").read_text()
    titles = ["Latency", "Time to first token", "Throughput", "Deferral", "Cost", "Replicas and users"]
    assert [title for title in titles if f"<h2>{title}</h2>" not in page] == []
    assert "<h2>Errors</h2>" not in page
    assert "<script src" not in page


async def test_two_processes_share_a_trace(url, trace, tmp_path):
    arguments = ("--shape", "replay", "--trace", trace, "--models", "default:2,t:1")
    code, output = await load(url, *arguments, "--processes", 2, "--locust-tables", cwd=tmp_path)
    assert code == 0, output
    results = read_log(tmp_path / "load.jsonl").results
    assert len(results) == ARRIVALS
    # Locust counted the same requests in its workers, and none of our additional rows among them.
    rows = re.findall(r"^(\w*) +(\S.*?) +(\d+) +\d+\(", output, re.MULTILINE)
    counts = Counter({(method, name): int(count) for method, name, count in rows})
    assert counts["", "Aggregated"] == ARRIVALS
    assert counts["TTFT", "default"] == sum(r.stream for r in results if r.model == "default") > 0
    assert counts["DEFERRED", "default"] == sum(r.model == "default" for r in results) > 0
    assert counts["POST", "t plain"] == sum(r.model == "t" and not r.stream for r in results) > 0


async def test_users_who_come_in_steps(url, tmp_path):
    code, output = await load(url, "--shape", "step", "-u", 3, "-t", 4, "--think-time", 0.2, cwd=tmp_path)
    assert code == 0, output
    run = read_log(tmp_path / "load.jsonl")
    assert (run.about["users"], run.about["duration_s"]) == (3, 4)
    assert {result.failure for result in run.results} == {None}


async def test_failures_are_counted_by_kind(service, url, trace, tmp_path):
    service.models["a"].text = Failure("timeout", "took too long")
    service.models["t"].delay_s = HANG
    arguments = ("--shape", "replay", "--trace", trace, "--models", "a,t", "--request-timeout", 5)
    slo = gates(tmp_path / "slo.yaml", max_error_rate=0.5)
    code, output = await load(url, *arguments, "--slo", slo, cwd=tmp_path)
    assert code == 1, output
    assert "FAIL  max_error_rate      1 (must be <= 0.5)" in output
    asks = [Mix(read_prompts(PROMPTS), {"a": 1, "t": 1}, 0.5, 64, 1).ask(number) for number in range(ARRIVALS)]
    expected = ["HTTP 504 timeout" if ask.model == "a" else "timeout" for ask in asks]
    assert Counter(result.failure for result in read_log(tmp_path / "load.jsonl").results) == Counter(expected)


CHUNK = b'data: {"choices": [{"delta": {"content": "Par"}}]}\n\n'
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM += b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK)
PLAIN = b"HTTP/1.1 %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
HALF = b'{"error": {"code": "\\ud83d"}}'
BROKEN = {
    True: {"connection broken": STREAM, "stream ended early": STREAM + b"0\r\n\r\n"},
    False: {
        "not JSON": PLAIN % (b"200 OK", 5, b"Paris"),
        "HTTP 502": PLAIN % (b"502 Bad Gateway", 6, b"<html>"),
        "HTTP 500 \ufffd": PLAIN % (b"500 Error", len(HALF), HALF),
    },
}
"""By whether the request streams: kind of failure -> all that the server says before it closes the connection."""


async def test_answers_that_break_off(trace, tmp_path):
    turns = {stream: cycle(answers.values()) for stream, answers in BROKEN.items()}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if request.startswith(b"GET"):
            models = b'{"data": [{"id": "default"}]}'
            writer.write(PLAIN % (b"200 OK", len(models), models))
        else:
            body = await reader.readuntil(b"}]") + await reader.readuntil(b"}")
            writer.write(next(turns[b'"stream": true' in body]))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        code, output = await load(url, "--shape", "replay", "--trace", trace, "--trace-speed", 8, cwd=tmp_path)
    assert code == 0, output
    results = read_log(tmp_path / "load.jsonl").results
    for stream, answers in BROKEN.items():
        stream_results = [result for result in results if result.stream is stream]
        assert Counter(r.failure for r in stream_results) == Counter(islice(cycle(answers), len(stream_results)))
        assert {result.first_token_s is not None for result in stream_results} == {stream}
    assert len(results) == ARRIVALS


async def test_a_server_that_is_not_ready(service, url, tmp_path):
    service.ready = False
    code, output = await load(url, cwd=tmp_path)
    assert (code, f"{url} is not ready yet, it waits for: cascades.default.tiers[0]." in output) == (1, True), output
    assert not (tmp_path / "load.jsonl").exists()


async def test_models_that_are_not_served(url, tmp_path):
    code, output = await load(url, "--models", "default,gpt-9", cwd=tmp_path)
    assert (code, "does not serve gpt-9. Available: default, a, b, t, encoder." in output) == (1, True), output


async def test_a_server_with_keys(trace, tmp_path, monkeypatch):
    door = Door(tmp_path)
    door.key("me")
    options = ("--shape", "replay", "--trace", trace, "--log", tmp_path / "load.jsonl")
    async with listening_app(door.app()) as url:
        monkeypatch.setenv("CASCADE_API_KEY", "sk-cascade-wrong")
        code, output = await load(url, *options, cwd=tmp_path)
        refused = f"{url} refused the request (HTTP 401): the API key in CASCADE_API_KEY is wrong or no longer valid."
        assert (code, refused in output) == (1, True), output
        monkeypatch.setenv("CASCADE_API_KEY", "two words")
        code, output = await load(url, *options, cwd=tmp_path)
        assert (code, "CASCADE_API_KEY must be visible ASCII characters without spaces" in output) == (1, True), output
        monkeypatch.setenv("CASCADE_API_KEY", door.secrets["me"])
        code, output = await load(url, *options, cwd=tmp_path)
    assert code == 0, output
    assert [result.failure for result in read_log(tmp_path / "load.jsonl").results] == [None] * ARRIVALS


async def test_no_server(tmp_path):
    code, output = await load("http://127.0.0.1:9", cwd=tmp_path)
    assert (code, "http://127.0.0.1:9 does not answer" in output) == (1, True), output


async def test_a_trace_for_a_shape_with_users(url, trace, tmp_path):
    code, output = await load(url, "--trace", trace, cwd=tmp_path)
    assert (code, "--shape replay and --trace go together" in output) == (1, True), output


async def test_a_load_generator_needs_no_server_installed(tmp_path):
    script = (
        "import sys; sys.meta_path = [finder for finder in sys.meta_path if 'editable' not in repr(finder).lower()];"
        "sys.path.insert(0, sys.argv[1]); import locustfile, report, make_trace;"
        "print(*sorted(name for name in sys.modules if name.partition('.')[0] in ('serve_app', 'ray')))"
    )
    code, output = await python("-I", "-c", script, LOADTESTS, cwd=tmp_path)
    assert code == 0, output
    common = ["common", "common.client_key"]
    core = ["core", "core.percentiles", "core.text", "core.text.characters"]
    files = ["files", "files.json_lines", "files.prompts", "files.text"]
    assert output.split() == ["serve_app", *(f"serve_app.{name}" for name in [*common, *core, "errors", *files])]


async def test_prompts_that_cannot_be_used(url, tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "half of \\ud83d"}\n')
    code, output = await load(url, "--prompts", tmp_path / "prompts.jsonl", cwd=tmp_path)
    assert code == 1, output
    assert f"--prompts: {tmp_path}/prompts.jsonl:1: prompt: has half of a surrogate pair" in output
