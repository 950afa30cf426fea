"""Which answers the router compares itself."""

import pytest

from serve_app.core.deciding.inline import compared_at_once, compared_if_needed


@pytest.mark.parametrize(
    ("texts", "at_once", "compared"),
    [
        (["abc", "de"], 5, True),
        (["abc", "de"], 4, False),
        (["", ""], 1, True),
        (["", ""], 0, False),  # 0: never
    ],
)
def test_short_answers_are_compared_without_the_scorer(texts: list[str], at_once: int, compared: bool) -> None:
    assert compared_at_once(texts, at_once) is compared


def test_huge_answers_are_not_compared_even_if_the_scorer_fails() -> None:
    assert compared_if_needed(["x" * 60_000, "x" * 40_000])
    assert not compared_if_needed(["x" * 60_000, "x" * 40_001])
