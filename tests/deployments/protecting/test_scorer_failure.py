"""A router whose scorer is away: a lexical signal decides in its own process, or requests are deferred."""

from typing import Any

import httpx
import pytest

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.ask import Ask
from serve_app.config import AppConfig
from serve_app.core.record import DecisionRecord
from serve_app.core.types.answer import Answer, Generation
from serve_app.core.types.prompt import Message, Prompt
from serve_app.deployments.protecting.liveness import Health
from serve_app.deployments.router import Router
from serve_app.errors import SignalError
from tests.deployments.replies import answered

LONG = "a long answer " * 200
"""More than the router compares without need."""
STAND_IN = {"signal": "exact", "threshold": 1}


class Model:
    """A handle whose replica gives one answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def options(self, **_: Any) -> "Model":
        return self

    async def remote(self, *_: Any, **__: Any) -> Answer:
        return self.answer


class Away(Model):
    """A scorer's handle that nobody answers."""

    async def remote(self, *_: Any, **__: Any) -> Answer:
        raise SignalError("Away.")


def routed(b: str, on_scorer_failure: Any = STAND_IN, inline_characters: int = 2000) -> Router:
    models = {name: {"engine": "replay", "default": "x", "parameters": 1e9} for name in "abt"}
    tier = {"models": ["a", "b"], "signal": "sbert", "threshold": 0.9, "on_scorer_failure": on_scorer_failure}
    values = {
        "models": models,
        "cascades": {"default": {"tiers": [tier, {"models": ["t"]}], "cache": {}}},
        "scorer": {"inline_characters": inline_characters},
    }
    texts = {"a": LONG, "b": b, "t": "target"}
    handles: dict[str, Any] = {name: Model(Generation(text, "stop", 10, 2)) for name, text in texts.items()}
    scorer: Any = Away(Generation("", "stop", 0, 0))
    return Router(AppConfig.model_validate(values), handles, scorer, {})


async def decide(router: Router, **options: Any) -> DecisionRecord:
    return await answered(router, Ask("default", Prompt((Message("user", "Hello"),)), CascadeOptions(**options)))


@pytest.mark.parametrize("inline_characters", [2000, 0])
@pytest.mark.parametrize(
    ("b", "model", "reason"), [(LONG, "a", "lexical_agreement"), ("b", "t", "lexical_disagreement")]
)
async def test_a_lexical_signal_decides_here_however_long_the_answers(
    b: str, model: str, reason: str, inline_characters: int
) -> None:
    record = await decide(routed(b, inline_characters=inline_characters))
    assert (record.answered_by, record.reason) == (model, reason)
    assert record.tiers[0].decision is not None
    assert (record.tiers[0].decision.signal, record.tiers[0].decision.instead_of) == ("exact", "sbert")


@pytest.mark.parametrize(("changes", "reason"), [({}, "lexical_agreement"), ({"veto": ["numbers"]}, "scorer_failed")])
async def test_the_playground_decides_as_requests_are_decided(changes: dict[str, Any], reason: str) -> None:
    """By the stand-in, unless a veto changes what its threshold was meant for."""
    transport = httpx.ASGITransport(routed(LONG).__serve_build_asgi_app__())
    body = {"model": "default", "answers": [{"text": LONG}, {"text": LONG}]} | changes
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        tier = (await http.post("/page/decide", json=body)).json()
    assert (tier["reason"], tier["accepted"]) == (reason, reason == "lexical_agreement")


async def test_a_calibration_is_not_said_to_be_about_what_a_stand_in_decided() -> None:
    router = routed(LONG)
    calibrated = {"id": "c1", "thresholds": [0.9]}
    router.reconfigure({"thresholds": {"default": [0.9]}, "calibrations": {"default": calibrated}})
    assert router.parts.policies.refused is None
    record = await decide(router)
    assert (record.reason, record.calibration) == ("lexical_agreement", None)
    deferring = routed(LONG, "defer")
    deferring.reconfigure({"thresholds": {"default": [0.9]}, "calibrations": {"default": calibrated}})
    assert (await decide(deferring)).calibration == "c1"


async def test_without_one_requests_are_deferred() -> None:
    assert (await decide(routed(LONG, "defer"))).reason == "scorer_failed"


@pytest.mark.parametrize("own", [{"threshold": 0.9}, {"signal": "sbert"}, {"compare": {"take": ["last_number"]}}])
async def test_a_request_with_a_policy_of_its_own_is_deferred(own: dict[str, Any]) -> None:
    """The stand-in's threshold is not about it."""
    assert (await decide(routed(LONG), **own)).reason == "scorer_failed"


def test_the_router_is_ready_without_its_scorer() -> None:
    running = {name: Health(1, "HEALTHY") for name in ("a", "b", "t")}
    assert routed(LONG).parts.readiness.of(running).ready
    assert not routed(LONG, "defer").parts.readiness.of(running).ready
