"""A router whose deployments give one answer each."""

from typing import Any

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.ask import Ask
from serve_app.config import AppConfig
from serve_app.core.record import DecisionRecord
from serve_app.core.running.cascade import outcome_of
from serve_app.core.types.answer import Answer, Generation
from serve_app.core.types.prompt import Message, Prompt
from serve_app.core.types.scores import Scores
from serve_app.deployments.request import RequestInProgress
from serve_app.deployments.router import Router

QUESTION = Prompt((Message("user", "Capital of France?"),))
PARIS = Generation("Paris", "stop", 10, 2, latency_s=1.0)
ROME = Generation("Rome", "stop", 10, 2, latency_s=1.0)
LONG = Generation("It is Paris.", "stop", 10, 5, latency_s=2.0)
REPLAY = {"engine": "replay", "default": "x", "parameters": 1e9}
MODELS = dict.fromkeys(("a", "b", "c", "d", "t"), REPLAY)
MEMBERS = {"models": ["a", "b"], "signal": "exact", "threshold": 0.5}
CASCADES = {
    "default": {"tiers": [MEMBERS, {"models": ["t"]}]},
    "three": {"tiers": [MEMBERS, {"models": ["c", "d"], "signal": "rougeL", "threshold": 0.25}, {"models": ["t"]}]},
}


class Deployment:
    """A handle whose replica gives one answer; as a scorer, it compares for equality."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def options(self, **_: Any) -> "Deployment":
        return self

    async def remote(self, *arguments: Any, **_: Any) -> Any:
        if isinstance(arguments[0], str):
            texts = arguments[1]
            return Scores(tuple(tuple(float(a == b) for b in texts) for a in texts))
        return self.answer


def routed(b: Answer = ROME, cascades: dict[str, Any] = CASCADES, **router: Any) -> Router:
    """Return a router over models `a` to `d` and the target `t`; `a` and `b` disagree unless `b` is changed."""
    config = AppConfig.model_validate({"models": MODELS, "cascades": cascades, "router": router})
    answers = {"a": PARIS, "b": b, "c": ROME, "d": ROME, "t": LONG}
    handles: dict[str, Any] = {name: Deployment(answer) for name, answer in answers.items()}
    return Router(config, handles, handles["a"], {})


def opened(router: Router, model: str = "default", **options: Any) -> RequestInProgress:
    return router.open(Ask(model, QUESTION, CascadeOptions(**options)))


async def answered(router: Router, ask: Ask) -> DecisionRecord:
    """Open a request, run it, and close it."""
    ask = await router.recall(ask)
    request = router.open(ask)
    return request.close(await outcome_of(request.events()))


async def closed(router: Router, model: str = "default", **options: Any) -> DecisionRecord:
    return await answered(router, Ask(model, QUESTION, CascadeOptions(**options)))


def thresholds(request: RequestInProgress) -> list[float]:
    return [tier.threshold for tier in request.run.tiers[:-1]]
