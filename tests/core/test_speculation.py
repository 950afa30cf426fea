"""When a tier's history says that the next one should be asked ahead."""

from math import inf

import pytest

from serve_app.core.cost import ModelCost, Speed
from serve_app.core.speculation import LEAST, MEMORY, Priced, SpeculationPolicy, TierHistory
from serve_app.core.types.outcome import TierResult
from serve_app.core.types.policy import Decision, Reason, Tier
from serve_app.core.types.prompt import Prompt

PROMPT = Prompt(text="x" * 300)  # 100 tokens by estimate


def history(*requests: tuple[float, bool], reason: Reason = "agreement") -> TierHistory:
    """Record these seconds until each decision, and whether it deferred."""
    past = TierHistory()
    for seconds, deferred in requests:
        past.observe(TierResult(Tier(("a",)), (), Decision(not deferred, reason), elapsed_s=seconds))
    return past


def target(usd: float | None = 10.0, token_s: float | None = 0.01, longest: int | None = None) -> Priced:
    """Return a target with prices of a million tokens; a prompt is read at once."""
    speed = Speed(longest)
    speed.prompt_token_s, speed.token_s = 0.0, token_s
    return Priced(ModelCost(None, usd, usd), speed)


QUARTER = history(*[(2.0, k % 4 == 0) for k in range(40)])


@pytest.mark.parametrize("past", [TierHistory(), QUARTER])
def test_always_and_after_need_no_history(past: TierHistory) -> None:
    assert SpeculationPolicy(when="always").delay_s(past, PROMPT, [target()]) == 0.0
    assert SpeculationPolicy(after_s=0.3).delay_s(past, PROMPT, [target()]) == 0.3


@pytest.mark.parametrize(("percentile", "seconds"), [(1, 1.0), (50, 10.0), (51, 11.0), (90, 18.0), (99, 20.0)])
def test_a_percentile_is_a_time_that_was_seen(percentile: float, seconds: float) -> None:
    past = history(*[(float(k), False) for k in range(20, 0, -1)])
    assert SpeculationPolicy(percentile=percentile).delay_s(past, PROMPT, []) == seconds


def test_too_few_requests_say_nothing() -> None:
    past = history(*[(1.0, True)] * (LEAST - 1))
    assert SpeculationPolicy(percentile=50).delay_s(past, PROMPT, []) is None
    assert SpeculationPolicy("adaptive", second_usd=1e9).delay_s(past, PROMPT, [target()]) is None


def test_a_history_forgets() -> None:
    past = history(*[(1.0, True)] * MEMORY, *[(2.0, False)] * MEMORY)
    assert (past.deferral_rate, past.mean_s, past.percentile_s(1)) == (0.0, 2.0, 2.0)


@pytest.mark.parametrize("reason", ["forced", "refused"])
def test_decisions_that_are_not_the_tiers_own_do_not_count(reason: Reason) -> None:
    assert history(*[(1.0, True)] * 50, reason=reason).deferral_rate is None


# A quarter is deferred after 2 s: .25 x 2 s saved. 100 + 200 tokens at 10 dollars a million are .003, wasted at .75.
@pytest.mark.parametrize(
    ("second_usd", "model", "starts"),
    [
        (0.0046, target(), True),
        (0.0044, target(), False),
        (0.0031, target(longest=100), True),  # 100 + 100 tokens
        (0.0029, target(longest=100), False),
        (inf, target(usd=None), False),
        (inf, target(token_s=None), False),
    ],
)
def test_adaptive_weighs_seconds_against_waste(second_usd: float, model: Priced, starts: bool) -> None:
    delay_s = SpeculationPolicy("adaptive", second_usd=second_usd).delay_s(QUARTER, PROMPT, [model])
    assert delay_s == (0.0 if starts else None)


def test_adaptive_counts_every_model_of_the_next_tier() -> None:
    policy = SpeculationPolicy("adaptive", second_usd=0.0046)
    assert policy.delay_s(QUARTER, PROMPT, [target(), target()]) is None
