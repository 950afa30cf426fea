"""What a request may cost: a tier that it cannot afford is not asked."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from serve_app.core.cost import (
    Cost,
    ModelCost,
    call_cost,
    capped,
    estimated_prompt_tokens,
    price,
    scoring_cost,
)
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Failure

TYPICAL_TOKENS = 256
"""Of an answer by a model that has not answered yet, if the request sets no limit."""


@dataclass(frozen=True, slots=True)
class _Limit:
    field: str
    most: float
    spent: float
    expected: float
    unit: str

    @property
    def exceeded(self) -> bool:
        return self.spent + self.expected > self.most

    @property
    def failure(self) -> Failure:
        need = f"it should take {self.expected:.3g} {self.unit} more"
        name = self.field.removeprefix("cascade.")
        message = f"Not asked: {need}, and of {name} ({self.most:.3g}) {self.spent:.3g} are spent."
        return Failure("unaffordable", message, param=self.field)


def unaffordable(run: Run, models: Collection[str]) -> Failure | None:
    """Return why the request cannot afford to ask these models, by its budget; None if it can, or has no budget.

    Spent are all calls so far and all scoring. What the models will take is estimated: the prompt's tokens as the
    models so far have counted them, and as many tokens as the model's answers usually have, or as the request allows.
    """
    return next((limit.failure for limit in _limits(run, models) if limit.exceeded), None)


def _limits(run: Run, models: Collection[str]) -> Iterator[_Limit]:
    if run.budget is None:
        return
    spent, expected, seconds = _spent(run), Cost(), 0.0
    for name in models:
        cost, model_s = _expected(run, name)
        expected, seconds = expected + cost, max(seconds, model_s)
    # What is unknown cannot be limited: the router refuses such a budget before.
    if run.budget.usd is not None:
        yield _Limit("cascade.max_cost_usd", run.budget.usd, spent.usd or 0.0, expected.usd or 0.0, "US dollars")
    if run.budget.flops is not None:
        yield _Limit("cascade.max_flops", run.budget.flops, spent.flops or 0.0, expected.flops or 0.0, "FLOPs")
    if run.budget.seconds is not None:
        yield _Limit(run.budget.seconds_field, run.budget.seconds, run.clock() - run.started, seconds, "s")


def _spent(run: Run) -> Cost:
    scoring = scoring_cost(result.scores for result in run.results)
    return sum((call_cost(run.costs[call.model], call.answer) for call in run.calls), scoring)


def _expected(run: Run, name: str) -> tuple[Cost, float]:
    """Return what a call of the model should cost, and its seconds; 0 s if it was never timed."""
    counted = [call.answer.prompt_tokens for call in run.calls if call.answer.prompt_tokens]
    prompt_tokens = max(counted, default=None) or estimated_prompt_tokens(run.prompt)
    tokens, seconds = TYPICAL_TOKENS, 0.0
    speed = run.speeds.get(name)
    if speed is not None and speed.answer_tokens is not None:
        tokens = round(speed.answer_tokens)
    tokens = capped(tokens, run.prompt, speed)
    if speed is not None:
        seconds = speed.seconds(prompt_tokens, tokens) or 0.0
    return price(run.costs[name], prompt_tokens, tokens, seconds), seconds


def left_s(run: Run) -> float | None:
    """Return the seconds that the request's budget leaves, at least 0, or None if it has no such limit."""
    if run.budget is None or run.budget.seconds is None:
        return None
    return max(0.0, run.started + run.budget.seconds - run.clock())


def has_unknown_cost(costs: Collection[ModelCost], unit: str) -> bool:
    """Return whether a model's cost in a unit (`usd` or `flops`) is unknown, so that a sum with it is unknown, too."""
    return any(getattr(price(cost, 1, 1, 1.0), unit) is None for cost in costs)
