import pytest

from serve_app.core.deciding.carried import newly_asked


@pytest.mark.parametrize(
    ("tiers", "new"),
    [
        ([], []),
        ([["a", "b"], ["t"]], [("a", "b"), ("t",)]),
        ([["a"], ["b", "a"], ["c", "a", "b"], ["b"]], [("a",), ("b",), ("c",), ()]),
        ([["a", "a"], ["a"]], [("a", "a"), ()]),  # one tier that asks a model for two answers
    ],
)
def test_the_first_tier_that_names_a_model_asks_it(tiers: list[list[str]], new: list[tuple[str, ...]]) -> None:
    assert newly_asked(tiers) == new
