"""What a cascade does under pressure, and when there is pressure."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.deciding.deferral import decide
from serve_app.core.deciding.shedding import Hysteresis, shed_tiers
from serve_app.core.running.cascade import run_cascade
from serve_app.core.types.answer import Answer
from serve_app.core.types.policy import Tier
from serve_app.errors import SignalError
from tests.core.deciding.worlds import EXACT, judged, worlds
from tests.core.scripted import BROKEN, HANG, TARGET, TIER, TRIO, Fake, Judge, kinds, quiet, reply, run_of

__all__ = ["quiet"]


def test_thresholds_fall_and_never_rise() -> None:
    tiers = (TIER, replace(TRIO, threshold=0.3), TARGET)
    shed = shed_tiers(tiers, "thresholds", [0.2, 0.6])
    assert shed == (replace(TIER, threshold=0.2), replace(TRIO, threshold=0.3), TARGET)
    assert shed_tiers(tiers, "thresholds") is None


def test_by_members_the_last_tier_before_the_target_accepts_anything() -> None:
    assert shed_tiers((TIER, TRIO, TARGET), "members") == (TIER, replace(TRIO, accepts_any=True), TARGET)


@given(worlds(), st.floats(-3, 3))
def test_what_is_accepted_is_accepted_under_pressure_too(
    world: tuple[Tier, list[Answer], dict[tuple[str, str], float], list[int]], lower: float
) -> None:
    tier, answers, table, _ = world
    agreement = judged(tier, answers, table)
    usual = decide(tier, agreement)
    by_thresholds, by_members = (shed_tiers((tier, TARGET), by, [lower]) for by in ("thresholds", "members"))
    assert by_thresholds is not None
    assert by_members is not None
    lenient, anything = decide(by_thresholds[0], agreement), decide(by_members[0], agreement)
    assert usual.accepted <= lenient.accepted <= anything.accepted
    assert usual.selected == lenient.selected == anything.selected
    assert anything.accepted == (anything.selected is not None)
    if usual.accepted:
        assert anything.reason == usual.reason
    elif anything.accepted:
        assert anything.reason == "shed"


ANY = replace(TIER, accepts_any=True)


@pytest.mark.parametrize(
    ("fakes", "scorer", "model"),
    [
        ({"a": Fake(reply("x")), "b": Fake(reply("y"))}, Judge(0.0), "a"),
        ({"a": Fake(BROKEN), "b": Fake(0.02, reply("y"))}, Judge(1.0), "b"),
        ({"a": Fake(reply("x")), "b": Fake(reply("y"))}, Judge(SignalError("Away.")), "a"),
    ],
)
async def test_any_answer_of_a_member_is_returned(fakes: dict[str, Fake], scorer: Judge, model: str) -> None:
    run = run_of(fakes | {"t": Fake(reply("z"))}, (ANY, TARGET), scorer=scorer)
    outcome = await run_cascade(run)
    assert (outcome.answered_by, outcome.deferred, outcome.reason) == (model, False, "shed")
    assert "t" not in kinds(run)


async def test_agreement_that_no_answer_can_change_is_not_kept_waiting() -> None:
    """As usual: the third member is stopped, and would be waited for if the two did not agree."""
    models = {"a": Fake(reply("x")), "b": Fake(reply("x")), "c": Fake(HANG), "t": Fake()}
    trio = replace(TRIO, threshold=0.5, signal_range=EXACT, accepts_any=True)
    outcome = await run_cascade(run_of(models, (trio, TARGET), scorer=Judge(1.0)))
    assert (outcome.answered_by, outcome.reason, models["c"].stopped) == ("a", "agreement", 1)


async def test_disagreement_that_no_answer_can_change_is_waited_out() -> None:
    models = {"a": Fake(BROKEN), "b": Fake(reply("x")), "c": Fake(reply("y")), "d": Fake(0.02, reply("z")), "t": Fake()}
    scorer = Judge(0.0)
    tier = replace(TRIO, models=tuple("abcd"), threshold=0.9, signal_range=EXACT, accepts_any=True)
    run = run_of(models, (tier, TARGET), scorer=scorer)
    outcome = await run_cascade(run)
    assert (outcome.answered_by, outcome.reason, kinds(run)["d"]) == ("b", "shed", "ok")
    assert outcome.tiers[0].bounds is None


async def test_the_best_answer_is_waited_for() -> None:
    models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "c": Fake(0.02, reply("y")), "t": Fake()}
    outcome = await run_cascade(run_of(models, (replace(TRIO, accepts_any=True), TARGET), scorer=Judge(0.0)))
    assert (outcome.answered_by, outcome.reason) == ("b", "agreement")


async def test_without_a_members_answer_the_target_is_asked() -> None:
    models = {"a": Fake(BROKEN), "b": Fake(reply(" ")), "t": Fake(reply("z"))}
    assert (await run_cascade(run_of(models, (ANY, TARGET)))).answered_by == "t"


async def test_answers_of_an_earlier_tier_do_not_stand_in_for_those_of_the_last() -> None:
    models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "c": Fake(BROKEN), "d": Fake(BROKEN), "t": Fake(reply("z"))}
    tiers = shed_tiers((TIER, replace(TIER, models=("c", "d")), TARGET), "members")
    assert tiers is not None
    outcome = await run_cascade(run_of(models, tiers, scorer=Judge(0.0)))
    assert (outcome.answered_by, outcome.tiers[1].decision.reason) == ("t", "too_few_answers")


async def test_what_is_forced_stays_forced() -> None:
    models = {"a": Fake(reply("x")), "b": Fake(reply("x")), "t": Fake(reply("z"))}
    assert (await run_cascade(run_of(models, (ANY, TARGET), force="defer"))).answered_by == "t"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_pressure_begins_at_once_and_ends_after_a_while() -> None:
    clock = Clock()
    state = Hysteresis(0.5, 0.1, 10, clock)
    states = []
    for now, pressure in [
        (0, 0.4),
        (1, 0.5),
        (2, 0.2),
        (3, 0.1),
        (12, 0.3),
        (13, 0.0),
        (22.9, 0.1),
        (23, 0.1),
        (24, 0.4),
    ]:
        clock.now = now
        states.append(state.observe(pressure))
    assert states == [False, True, True, True, True, True, True, False, False]


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1)), max_size=40))
def test_it_does_not_flap(steps: list[tuple[float, float]]) -> None:
    """It begins at a high pressure only, and ends only if none was above the low one for the whole time."""
    clock = Clock()
    state = Hysteresis(0.6, 0.2, 3.0, clock)
    last_above, before = -1e9, False
    for wait, pressure in steps:
        clock.now += wait
        after = state.observe(pressure)
        last_above = clock.now if pressure > 0.2 else last_above
        if after and not before:
            assert pressure >= 0.6
        if before and not after:
            assert clock.now - last_above >= 3.0
        if pressure >= 0.6:
            assert after
        before = after
