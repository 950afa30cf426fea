"""The budget that a request brings."""

from collections.abc import Collection

from serve_app.api.intake.ask import Ask
from serve_app.core.cost import ModelCost
from serve_app.core.running.budget import has_unknown_cost
from serve_app.core.types.outcome import Budget
from serve_app.errors import RequestError


def budget_of(ask: Ask, costs: Collection[ModelCost]) -> Budget | None:
    """Return the request's budget, or None; `costs` are of the models that it may ask.

    Raises `RequestError` if it cannot be enforced.
    """
    options, limit_s = ask.options, ask.limit_s
    if options.max_cost_usd is options.max_flops is limit_s is None:
        return None
    budget = Budget(options.max_cost_usd, options.max_flops, limit_s, ask.limit_field)
    if ask.choices > 1:
        raise RequestError("n: a request with a budget has one answer.", "n")
    for limit, unit, field in ((budget.usd, "usd", "max_cost_usd"), (budget.flops, "flops", "max_flops")):
        if limit is not None and has_unknown_cost(costs, unit):
            raise RequestError(f"cascade.{field}: what a model costs in this unit is not known.", f"cascade.{field}")
    return budget
