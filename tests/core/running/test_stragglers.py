"""A tier that does not wait for its slowest members."""

from dataclasses import replace

import pytest

from serve_app.core.running.cascade import run_cascade
from serve_app.core.types.answer import Failure
from tests.core.scripted import BROKEN, HANG, TARGET, TRIO, Fake, Judge, kinds, quiet, reply, run_of

__all__ = ["quiet"]


async def test_a_quorum_decides_without_the_last():
    models = {"a": Fake(reply("x")), "b": Fake(HANG), "c": Fake(reply("x")), "t": Fake()}
    run = run_of(models, (replace(TRIO, quorum=2), TARGET))
    outcome = await run_cascade(run)
    assert (outcome.answered_by, outcome.reason) == ("a", "agreement")
    assert kinds(run) == {"a": "ok", "b": "cancelled", "c": "ok"}
    stopped = outcome.tiers[0].calls[1].answer
    assert isinstance(stopped, Failure)
    assert stopped.message == "Stopped: the tier had its quorum of answers."


async def test_failures_do_not_count_for_the_quorum():
    models = {"a": Fake(BROKEN), "b": Fake(0.02, reply("x")), "c": Fake(reply("x")), "t": Fake()}
    run = run_of(models, (replace(TRIO, quorum=2), TARGET))
    assert (await run_cascade(run)).answered_by == "b"
    assert kinds(run) == {"a": "error", "b": "ok", "c": "ok"}


@pytest.mark.parametrize(("select", "first"), [(None, " "), ("b", "x")])
async def test_a_quorum_waits_for_an_answer_that_may_be_returned(select, first):
    """Neither blank answers nor those of others than the fixed model are one."""
    models = {"a": Fake(reply(first)), "b": Fake(0.02, reply("x")), "c": Fake(reply(first)), "t": Fake()}
    run = run_of(models, (replace(TRIO, quorum=2, select=select), TARGET))
    assert (await run_cascade(run)).answered_by == "b"


@pytest.mark.parametrize(("second", "answered_by", "reason"), [("x", "a", "agreement"), ("y", "t", "disagreement")])
async def test_the_tiers_time_is_over(second, answered_by, reason):
    models = {"a": Fake(reply("x")), "b": Fake(reply(second)), "c": Fake(HANG), "t": Fake(reply("z"))}
    run = run_of(models, (replace(TRIO, tier_timeout_s=0.05), TARGET), scorer=Judge(0.0))
    outcome = await run_cascade(run)
    assert (outcome.answered_by, outcome.reason) == (answered_by, reason)
    assert (kinds(run)["c"], models["c"].stopped) == ("cancelled", 1)


async def test_a_forced_decision_has_a_time_limit_too():
    models = {"a": Fake(reply("x")), "b": Fake(HANG), "c": Fake(HANG), "t": Fake()}
    run = run_of(models, (replace(TRIO, tier_timeout_s=0.05), TARGET), force="accept")
    assert (await run_cascade(run)).answered_by == "a"
