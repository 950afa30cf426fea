"""Which requests skip the decision, by the past requests most like them."""

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.deciding.skip import LONGEST_TEXT, SkipPolicy, asked_text, check, deferred
from serve_app.core.tools import Tool
from serve_app.core.types.outcome import Precheck
from serve_app.core.types.prompt import Image, Message, Prompt

POLICY = SkipPolicy(4, defer_above=0.75, accept_above=1.0, member="a", min_similarity=0.5)


def checked(*flags: bool, similarity: float = 0.9, policy: SkipPolicy = POLICY) -> Precheck:
    return check(policy, [similarity] * len(flags), flags)


@pytest.mark.parametrize(
    ("flags", "precheck"),
    [
        ((True, True, True, True), Precheck("deferred", 4, 1.0)),
        ((True, True, True, False), Precheck("deferred", 4, 0.75)),
        ((True, True, False, False), Precheck(None, 4, 0.5)),
        ((True, False, False, False), Precheck(None, 4, 0.25)),
        ((False, False, False, False), Precheck("accepted", 4, 0.0, "a")),
    ],
)
def test_a_share_of_the_neighbours_decides(flags: tuple[bool, ...], precheck: Precheck) -> None:
    assert checked(*flags) == precheck


def test_fewer_than_k_neighbours_decide_nothing() -> None:
    assert checked(True, True, True) == Precheck(None, 3)
    assert check(POLICY, [0.9, 0.9, 0.9, 0.49], [True] * 4) == Precheck(None, 3)
    assert check(POLICY, [0.9, 0.9, 0.9, 0.5], [True] * 4) == Precheck("deferred", 4, 1.0)


def test_a_limit_that_is_not_set_skips_nothing() -> None:
    never_deferred = SkipPolicy(2, None, 0.9, "a", 0.0)
    never_accepted = SkipPolicy(2, 0.9, None, "a", 0.0)
    assert checked(True, True, policy=never_deferred).verdict is None
    assert checked(False, False, policy=never_deferred).verdict == "accepted"
    assert checked(True, True, policy=never_accepted).verdict == "deferred"
    assert checked(False, False, policy=never_accepted).verdict is None


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.floats(0.51, 1.0), st.floats(0.51, 1.0), st.randoms())
def test_the_verdict_is_that_of_the_counts_in_any_order(flags, above, accept, random) -> None:
    policy = SkipPolicy(len(flags), above, accept, "a", 0.0)
    precheck = checked(*flags, policy=policy)
    was_deferred, was_accepted = flags.count(True) / len(flags) >= above, flags.count(False) / len(flags) >= accept
    assert precheck.verdict == ("deferred" if was_deferred else "accepted" if was_accepted else None)
    shuffled = list(flags)
    random.shuffle(shuffled)
    assert checked(*shuffled, policy=policy) == precheck
    if not flags[0]:  # one more that was deferred never turns a deferral into anything else
        more = checked(True, *flags[1:], policy=policy)
        assert more.verdict == "deferred" or precheck.verdict != "deferred"


@pytest.mark.parametrize(
    ("scores", "thresholds", "is_deferred"),
    [
        ([0.5], [0.5], False),
        ([0.499999999], [0.5], True),
        ([0.5], [0.5000000000001], False),  # at the resolution of thresholds they are equal
        ([nan], [-1e9], True),
        ([0.2, 0.9], [0.5, 0.8], False),
        ([0.2, 0.7], [0.5, 0.8], True),
    ],
)
def test_a_past_request_is_deferred_if_every_tier_defers_it(
    scores: list[float], thresholds: list[float], is_deferred: bool
) -> None:
    assert deferred(scores, thresholds) == is_deferred


class TestAskedText:
    def test_what_the_user_said_last_counts(self) -> None:
        messages = (Message("system", "Be kind."), Message("user", "First"), Message("assistant", "No"))
        assert asked_text(Prompt(messages)) == "First"
        assert asked_text(Prompt((*messages, Message("user", "Second")))) == "Second"
        assert asked_text(Prompt(text="Once upon")) == "Once upon"

    def test_a_long_text_is_cut(self) -> None:
        assert asked_text(Prompt(text="x" * (LONGEST_TEXT + 1))) == "x" * LONGEST_TEXT

    @pytest.mark.parametrize(
        "prompt",
        [
            Prompt(text=" \n"),
            Prompt((Message("system", "Be kind."),)),
            Prompt((Message("user", "Look", parts=("Look", Image("data:x"))),)),
            Prompt((Message("user", "Hi"),), tools=(Tool("f", None, {}),)),
        ],
        ids=["blank", "no user", "image", "tools"],
    )
    def test_what_is_more_than_a_text_has_no_like(self, prompt: Prompt) -> None:
        assert asked_text(prompt) is None
