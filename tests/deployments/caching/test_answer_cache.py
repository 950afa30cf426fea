"""Which requests have a turn at the cache, and which have the same."""

import pytest

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.ask import Ask
from serve_app.config import AppConfig
from serve_app.core.running.run import Run
from serve_app.deployments.caching.answer_cache import AnswerCache
from serve_app.deployments.caching.turn import Turn
from tests.core.scripted import PROMPT, TARGET, Judge

ASK = Ask("default", PROMPT)


@pytest.fixture
def cache() -> AnswerCache:
    models = {"t": {"engine": "replay", "default": "x"}}
    cascades = {"default": {"tiers": [{"models": ["t"]}], "cache": {}}, "plain": {"tiers": [{"models": ["t"]}]}}
    return AnswerCache(AppConfig.model_validate({"models": models, "cascades": cascades}))


def turn(cache: AnswerCache, ask: Ask = ASK, calibration: str | None = None) -> Turn | None:
    return cache.turn(ask, Run(PROMPT, (TARGET,), {}, Judge()), calibration)


def test_only_a_cascade_with_a_cache_has_one(cache: AnswerCache) -> None:
    assert (cache.has("default"), cache.has("plain"), cache.has("t")) == (True, False, False)
    assert (turn(cache, Ask("plain", PROMPT)), turn(cache, Ask("t", PROMPT))) == (None, None)


def test_a_request_that_declines_has_no_turn(cache: AnswerCache) -> None:
    assert turn(cache, Ask("default", PROMPT, CascadeOptions(cache=False))) is None


def test_one_request_leads_at_a_time_for_each_calibration(cache: AnswerCache) -> None:
    first, second = turn(cache), turn(cache, calibration="c1")
    assert first is not None
    assert second is not None
    first.enter(lambda: None)
    following = turn(cache)
    assert following is not None
    assert (first.leads, following.leads, second.leads) == (True, False, True)
    assert first.leave(None) == "miss"
    last = turn(cache)
    assert last is not None
    assert last.leads
