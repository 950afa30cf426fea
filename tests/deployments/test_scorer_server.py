import asyncio
import threading
from collections.abc import Sequence
from math import isnan

import pytest

from serve_app.config import ScorerConfig
from serve_app.core.types.scores import Embedding, Scores
from serve_app.deployments import scorer_server
from serve_app.deployments.scorer_server import ScorerServer
from serve_app.errors import SignalError
from serve_app.signals import ExactConfig, SbertSignal


class Gate:
    """A signal that waits to be let through, and remembers the batches it was given."""

    floor = 0.0
    symmetric = True

    def __init__(self) -> None:
        self.open = threading.Event()
        self.batches: list[int] = []

    def similarities(self, requests: Sequence[Sequence[str]], since: Sequence[int] = ()) -> list[Scores]:
        self.batches.append(len(requests))
        assert self.open.wait(30)
        if any("boom" in texts for texts in requests):
            raise SignalError("The signal broke.")
        return [Scores(tuple(tuple(float(a == b) for b in texts) for a in texts)) for texts in requests]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(scorer_server, "build_signal", lambda config, weights: gate)
    return gate


def scorer(max_batch_texts: int = 256) -> ScorerServer:
    return ScorerServer({"exact": ExactConfig()}, ScorerConfig(max_batch_texts=max_batch_texts))


async def test_scores_with_a_real_signal() -> None:
    scores = await scorer().score("exact", ["Paris", "paris.", "Rome"])
    assert scores.similarities == ((1, 1, 0), (1, 1, 0), (0, 0, 1))
    assert scores.device_s > 0


async def test_pairs_of_the_first_texts_are_left_out() -> None:
    scores = await scorer().score("exact", ["Paris", "paris.", "Rome"], 2)
    assert [[isnan(value) for value in row] for row in scores.similarities] == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert scores.similarities[2] == (0, 0, 1)


async def test_unknown_signal() -> None:
    with pytest.raises(SignalError, match=r"There is no signal 'exakt'. Did you mean 'exact'\? Available: exact\."):
        await scorer().score("exakt", ["a", "b"])


async def test_what_comes_while_a_batch_is_scored_makes_up_the_next(gate: Gate) -> None:
    server = scorer()
    first = asyncio.create_task(server.score("exact", ["a", "a"]))
    while not gate.batches:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    tasks = [asyncio.create_task(server.score("exact", ["a", text])) for text in ("a", "b", "c")]
    await asyncio.sleep(0.01)
    gate.open.set()
    results = await asyncio.gather(first, *tasks)
    assert gate.batches == [1, 3]
    assert [result.similarities[0][1] for result in results] == [1, 1, 0, 0]


async def test_batches_are_bounded_but_never_empty(gate: Gate) -> None:
    server = scorer(max_batch_texts=4)
    first = asyncio.create_task(server.score("exact", list("abcdef")))
    while not gate.batches:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    tasks = [asyncio.create_task(server.score("exact", ["a", "b"])) for _ in range(3)]
    await asyncio.sleep(0.01)
    gate.open.set()
    await asyncio.gather(first, *tasks)
    assert gate.batches == [1, 2, 1]


async def test_a_failure_reaches_every_request_of_its_batch_and_no_other(gate: Gate) -> None:
    server = scorer()
    gate.open.set()
    with pytest.raises(SignalError, match="broke"):
        await server.score("exact", ["boom", "b"])
    assert (await server.score("exact", ["a", "a"])).similarities == ((1, 1), (1, 1))


async def test_a_request_given_up_while_waiting_is_not_scored(gate: Gate) -> None:
    server = scorer()
    first = asyncio.create_task(server.score("exact", ["a", "a"]))
    while not gate.batches:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    given_up = asyncio.create_task(server.score("exact", ["b", "b"]))
    await asyncio.sleep(0.01)
    given_up.cancel()
    gate.open.set()
    await first
    await asyncio.gather(given_up, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert gate.batches == [1]


class Encoder(SbertSignal):
    """Gives the length of a text as its vector."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.requests: list[list[str]] = []

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        self.requests.append(list(texts))
        assert self.open.wait(30)
        if "boom" in texts:
            raise SignalError("The encoder broke.")
        return [Embedding(bytes([len(text)]), 1) for text in texts]


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    encoder = Encoder()
    monkeypatch.setattr(scorer_server, "build_signal", lambda config, weights: encoder)
    return encoder


async def test_what_comes_meanwhile_is_embedded_together(encoder: Encoder) -> None:
    server = scorer()
    first = asyncio.create_task(server.embed("exact", ["first"]))
    while not encoder.requests:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    tasks = [asyncio.create_task(server.embed("exact", texts)) for texts in (["a", "bb"], ["ccc"])]
    await asyncio.sleep(0)
    await server.check_health()
    encoder.open.set()
    assert await first == [Embedding(b"\5", 1)]
    assert [await task for task in tasks] == [[Embedding(b"\1", 1), Embedding(b"\2", 1)], [Embedding(b"\3", 1)]]
    assert encoder.requests == [["first"], ["a", "bb", "ccc"]]


async def test_an_encoder_that_breaks_is_an_error(encoder: Encoder) -> None:
    encoder.open.set()
    with pytest.raises(SignalError, match=r"The encoder broke\."):
        await scorer().embed("exact", ["boom"])


async def test_other_signals_have_no_encoder() -> None:
    with pytest.raises(SignalError, match=r"There is no encoder 'exact'\."):
        await scorer().embed("exact", ["a"])
