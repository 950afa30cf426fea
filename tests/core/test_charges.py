"""What a request has cost, worked by hand."""

from collections.abc import Iterable
from typing import Any

import pytest

from serve_app.core.charges import Charges, charge
from serve_app.core.cost import Cost, EstimatedCost, ModelCost
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Failure, Generation
from serve_app.core.types.outcome import Call, Outcome, TierResult
from serve_app.core.types.policy import Decision, Tier
from serve_app.core.types.prompt import Message, Prompt
from serve_app.core.types.scores import Scores

COSTS = {
    "small": ModelCost(parameters=0.5e9, input_usd=0.1, output_usd=0.4),
    "large": ModelCost(parameters=8e9, input_usd=1.0, output_usd=3.0, devices=2),
    "unknown": ModelCost(input_usd=2.5, output_usd=10.0, devices=0),
}
MEMBERS = Tier(("small", "unknown"), signal="exact")


def reply(prompt_tokens: int, completion_tokens: int, latency_s: float = 0.0) -> Generation:
    return Generation("x", "stop", prompt_tokens, completion_tokens, latency_s=latency_s)


def charged(calls: Iterable[Call], scoring: Iterable[Scores] = (), outcome: Outcome | None = None) -> Charges:
    nobody: Any = None
    run = Run(Prompt((Message("user", "?"),)), (MEMBERS, Tier(("large",))), {}, nobody)
    run.calls.extend(calls)
    run.results.extend(TierResult(MEMBERS, (), Decision(False, "forced"), scores=scores) for scores in scoring)
    return charge(run, outcome, COSTS)


def units(cost: Cost) -> tuple[float | None, ...]:
    return cost.flops, cost.usd, cost.device_s


def test_every_call_is_priced_once_and_scoring_is_added():
    charges = charged(
        [
            Call("small", reply(100, 20, 1.5)),
            Call("small", Failure("cancelled", "", 100, 5, 0.5, estimated=True)),
            Call("large", Failure("error", "", 50, 0, 0.25)),
        ],
        [Scores(((1.0,),), flops=1e9, device_s=0.125), Scores(((1.0,),), flops=1e9)],
    )
    assert [cost.flops for cost in charges.calls] == pytest.approx([1.2e11, 1.05e11, 8e11])
    assert [cost.usd for cost in charges.calls] == pytest.approx([18e-6, 12e-6, 50e-6])
    assert [cost.device_s for cost in charges.calls] == [1.5, 0.5, 0.5]
    assert units(charges.scoring) == (2e9, 0.0, 0.125)
    assert units(charges.request) == pytest.approx((1.027e12, 8e-5, 2.625))
    assert charges.request.estimated


def test_nothing_costs_nothing():
    charges = charged([])
    assert (charges.calls, units(charges.request)) == ((), (0.0, 0.0, 0.0))
    assert not charges.request.estimated


def test_one_unknown_size_makes_the_sum_unknown():
    charges = charged([Call("small", reply(100, 20, 1.5)), Call("unknown", reply(100, 20, 9.0))])
    flops, *figures = units(charges.request)
    assert flops is None
    assert figures == pytest.approx([4.68e-4, 1.5])


def test_a_model_without_a_price_is_not_free():
    with pytest.raises(KeyError, match="other"):
        charged([Call("other", reply(1, 1))])


def test_the_target_alone_is_estimated_from_an_accepted_answer():
    answer = reply(100, 20, 0.5)
    charges = charged([Call("small", answer)], outcome=Outcome(answer, "small", (), 1.0))
    assert charges.request.target_only == EstimatedCost(1.92e12, pytest.approx(1.6e-4), None, estimated=True)


def test_nothing_is_saved_by_a_failure():
    failure = Failure("error", "", 100, 0, 0.5)
    assert charged([Call("large", failure)], outcome=Outcome(failure, "large", (), 1.0)).request.target_only is None
