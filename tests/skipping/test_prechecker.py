"""The precheck of a running server never fails a request, and trusts no encoder that it does not know."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from serve_app.config import AppConfig
from serve_app.core.types.outcome import Precheck
from serve_app.core.types.prompt import Message, Prompt
from serve_app.core.types.scores import Embedding
from serve_app.errors import ConfigError, SignalError
from serve_app.skipping.fitted import PROBE
from serve_app.skipping.prechecker import Prechecks
from tests.skipping.past import EASY, HARD, ODD, config, embedding, written


class Encoder:
    """Embeds, or fails; it notes the texts, and the seconds that it had."""

    def __init__(self, fails: int = 0, wrong: bool = False) -> None:
        self.fails, self.wrong = fails, wrong
        self.requests: list[list[str]] = []
        self.seconds: set[float] = set()

    async def embed(self, signal: str, texts: Sequence[str]) -> list[Embedding]:
        assert signal == "sbert"
        self.requests.append(list(texts))
        if len(self.requests) <= self.fails:
            raise SignalError("No answer.")
        return [embedding(EASY if self.wrong else text) for text in texts]

    async def embed_prompt(self, signal: str, texts: Sequence[str], timeout_s: float) -> list[Embedding]:
        self.seconds.add(timeout_s)
        return await self.embed(signal, texts)


async def check(of: AppConfig, encoder: Encoder, *texts: str) -> list[Precheck]:
    """Return the prechecks of requests one after another, with time for the encoder's test between them."""
    prechecks = Prechecks(of, encoder.embed_prompt, encoder.embed)
    prechecker = prechecks.of("default", of.tiers("default", of.thresholds()["default"]))
    assert prechecker is not None
    checked = []
    for text in texts:
        checked.append(await prechecker.check(Prompt((Message("user", text),))))
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    return checked


@pytest.fixture
def of(tmp_path: Path) -> AppConfig:
    return written(tmp_path / "skip.npz")


async def test_requests_go_where_their_like_went(of: AppConfig) -> None:
    encoder = Encoder()
    assert await check(of, encoder, EASY, EASY, HARD, ODD) == [
        Precheck(None, failed=True),
        Precheck("accepted", 5, 0.0, "a", flops=8.0),
        Precheck("deferred", 5, 1.0, flops=8.0),
        Precheck(None, 0, flops=8.0),
    ]
    assert encoder.requests == [[PROBE], [EASY], [HARD], [ODD]]
    assert encoder.seconds == {0.25}


async def test_the_encoder_is_tested_until_it_answers(of: AppConfig, caplog: pytest.LogCaptureFixture) -> None:
    encoder = Encoder(fails=1)
    with caplog.at_level(logging.WARNING, "ray.serve"):
        prechecks = await check(of, encoder, HARD, HARD, HARD)
    assert prechecks == [Precheck(None, failed=True)] * 2 + [Precheck("deferred", 5, 1.0, flops=8.0)]
    assert encoder.requests == [[PROBE], [PROBE], [HARD]]
    assert "skips nothing yet: No answer." in caplog.text


async def test_without_a_vector_in_time_the_cascade_runs(of: AppConfig) -> None:
    class Late(Encoder):
        async def embed_prompt(self, signal: str, texts: Sequence[str], timeout_s: float) -> list[Embedding]:
            raise SignalError("Too late.")

    assert await check(of, Late(), HARD, HARD) == [Precheck(None, failed=True)] * 2


async def test_another_encoder_skips_nothing_and_is_asked_no_more(
    of: AppConfig, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = Encoder(wrong=True)
    with caplog.at_level(logging.ERROR, "ray.serve"):
        prechecks = await check(of, encoder, HARD, HARD, HARD)
    assert prechecks == [Precheck(None, failed=True)] * 3
    assert encoder.requests == [[PROBE]]
    assert "skips nothing: the encoder 'sbert' is not the one" in caplog.text


async def test_a_prompt_without_text_is_not_embedded(of: AppConfig) -> None:
    encoder = Encoder()
    assert await check(of, encoder, "  ") == [Precheck(None)]
    assert encoder.requests == []


def test_a_cascade_without_skip_has_no_precheck(of: AppConfig) -> None:
    plain = of.model_copy(update={"cascades": {"plain": of.cascades["default"].model_copy(update={"skip": None})}})
    assert Prechecks(plain, Encoder().embed_prompt, Encoder().embed).of("plain", plain.tiers("plain", [0.5])) is None


def test_a_file_that_is_missing_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^cascades\.default\.skip\.fitted: .*skip\.npz cannot be read"):
        Prechecks(config(tmp_path / "skip.npz"), Encoder().embed_prompt, Encoder().embed)
