"""Conversations that were deferred stay with the target."""

import asyncio
from contextlib import aclosing
from typing import Any

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.ask import Ask
from serve_app.api.intake.caller import Caller
from serve_app.config import AppConfig
from serve_app.core.record import DecisionRecord
from serve_app.core.types.outcome import Outcome
from serve_app.deployments.remembering.sessions import Session
from serve_app.deployments.remembering.stickiness import Stickiness
from serve_app.deployments.router import Router
from serve_app.evaluation.analysis.timing import virtual_time
from tests.deployments.replies import CASCADES, LONG, MODELS, PARIS, QUESTION, ROME, Deployment, answered

STICKY = {"tiers": CASCADES["default"]["tiers"], "stickiness": "escalate", "session_ttl_s": 60}


def config(**router: Any) -> AppConfig:
    cascades = {"sticky": STICKY, "free": CASCADES["default"]}
    return AppConfig.model_validate({"models": MODELS, "cascades": cascades, "router": router})


def routed() -> tuple[Router, Deployment]:
    """Return a router whose members disagree until the second one's answer is changed."""
    answers = {"a": PARIS, "b": ROME, "c": ROME, "d": ROME, "t": LONG}
    handles: dict[str, Any] = {name: Deployment(answer) for name, answer in answers.items()}
    return Router(config(), handles, handles["a"], {}), handles["b"]


async def decide(
    router: Router, session: str | None, model: str = "sticky", key: str | None = None, **options: Any
) -> DecisionRecord:
    chosen = CascadeOptions(session=session, **options)
    return await answered(router, Ask(model, QUESTION, chosen, caller=Caller(key)))


async def test_a_deferred_conversation_stays_with_the_target() -> None:
    router, second = routed()
    first = await decide(router, "s1")
    assert (first.deferred, first.answered_by, first.reason, len(first.tiers)) == (True, "t", "disagreement", 2)
    second.answer = PARIS
    again = await decide(router, "s1")
    assert (again.deferred, again.answered_by, again.reason) == (True, "t", "session")
    assert [tier.models for tier in again.tiers] == [("t",)]
    assert set(again.models) == {"t"}
    for session, model in (("s2", "sticky"), (None, "sticky"), ("s1", "free")):
        record = await decide(router, session, model)
        assert (record.deferred, record.answered_by, record.reason) == (False, "a", "agreement")


async def test_a_conversation_belongs_to_its_key() -> None:
    router, second = routed()
    assert (await decide(router, "s1", key="alice")).reason == "disagreement"
    second.answer = PARIS
    assert (await decide(router, "s1", key="bob")).reason == "agreement"
    assert (await decide(router, "s1", key="alice")).reason == "session"


async def test_an_accepted_conversation_goes_on_with_the_members() -> None:
    router, second = routed()
    second.answer = PARIS
    assert (await decide(router, "s1")).reason == "agreement"
    assert (await decide(router, "s1")).reason == "agreement"


async def test_a_forced_request_neither_escalates_nor_is_escalated() -> None:
    router, second = routed()
    assert (await decide(router, "s1", force="defer")).reason == "forced"
    second.answer = PARIS
    assert (await decide(router, "s1")).reason == "agreement"
    second.answer = ROME
    assert (await decide(router, "s1")).reason == "disagreement"
    assert (await decide(router, "s1", force="accept")).answered_by == "a"


async def test_a_single_model_has_no_use_for_a_session() -> None:
    router, _ = routed()
    assert (await decide(router, "s1", "t")).deferred is False


async def test_a_request_that_was_cut_short_is_not_remembered() -> None:
    router, second = routed()
    ask = await router.recall(Ask("sticky", QUESTION, CascadeOptions(session="s1")))
    router.open(ask).close(None)
    second.answer = PARIS
    assert (await decide(router, "s1")).reason == "agreement"


async def test_a_conversation_is_remembered_before_its_answer_is_given() -> None:
    """Its next request may reach another router as soon as the client has the answer."""
    router, second = routed()
    ask = await router.recall(Ask("sticky", QUESTION, CascadeOptions(session="s1")))
    async with aclosing(router.open(ask).events()) as events:
        while not isinstance(await anext(events), Outcome):
            pass
        second.answer = PARIS
        assert (await decide(router, "s1")).reason == "session"


class SlowStore:
    """A `SessionStore` whose calls take so many seconds; every session was deferred."""

    def __init__(self, look_up_s: float, remember_s: float) -> None:
        self.look_up_s = look_up_s
        self.remember_s = remember_s
        self.looked_up: list[str] = []
        self.remembered: list[str] = []

    async def is_deferred(self, session: Session, ttl_s: float) -> bool:
        await asyncio.sleep(self.look_up_s)
        self.looked_up.append(session.name)
        return True

    async def remember(self, session: Session, ttl_s: float) -> None:
        await asyncio.sleep(self.remember_s)
        self.remembered.append(session.name)


class TestTimeLimit:
    """The loop's time is virtual, and that of the requests real: next to nothing passes by it."""

    @staticmethod
    async def recalled(store: SlowStore, limit_s: float | None) -> tuple[bool, int]:
        """Return whether a request was escalated, and when."""
        options = CascadeOptions(session="s1", max_latency_s=limit_s)
        ask = await Stickiness(config(), store).recall(Ask("sticky", QUESTION, options))
        return ask.escalated, round(asyncio.get_running_loop().time())

    def test_a_look_up_takes_at_most_half_of_it(self) -> None:
        """With all of it, every request with a short limit would fail while the store hangs."""
        assert virtual_time.run(self.recalled(SlowStore(60, 0), 40)) == (False, 20)
        assert virtual_time.run(self.recalled(SlowStore(10, 0), 40)) == (True, 10)
        assert virtual_time.run(self.recalled(SlowStore(60, 0), None)) == (True, 60)

    def test_an_answer_waits_for_the_store_no_longer_and_is_remembered_then(self) -> None:
        async def answered_at() -> tuple[str, int, list[str]]:
            store, (router, _) = SlowStore(60, 60), routed()
            router.parts.stickiness = Stickiness(config(), store)
            record = await decide(router, "s1", max_latency_s=40)
            loop = asyncio.get_running_loop()
            at = round(loop.time())
            assert store.remembered == []
            await asyncio.sleep(60)  # virtual, as all here
            return record.reason, at, store.remembered + store.looked_up

        assert virtual_time.run(answered_at()) == ("disagreement", 20 + 40, ["s1", "s1"])
