from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.views.numbers import shortest
from serve_app.core.views.view import After, Chain, JsonField, Match, Take, View

NASTY = st.text(st.sampled_from(list("0189 .,/-+$€{}[]()\\\"'`*_#\n:aBeAnswer")) | st.characters(), max_size=40)
TAKES: list[Take] = ["last_number", "boxed", "choice", JsonField("answer"), After("Answer:"), Match(r"\d+")]
RULES = ("latex", "python_literal", "numbers", "case", "whitespace")


def test_without_options_the_whole_text_is_compared_as_it_is() -> None:
    assert View().of(" **As** it is.\n") == " **As** it is.\n"


def test_first_what_is_markup_is_stripped_then_a_part_is_taken_then_it_is_normalised() -> None:
    view = View(("markdown",), (After("Answer:"),), ("case", "numbers"))
    assert view.of("So it is 4. **Answer:** $1,200.00 A Year") == "1200 a year"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"answer": "7"} but \\boxed{8} and 9', "7"),
        ("I get \\boxed{8}, which is 9 less", "8"),
        ("so it is 9", "9"),
        ("I do not know", "I do not know"),
    ],
)
def test_the_first_way_that_the_text_allows_takes(text: str, part: str) -> None:
    assert View(take=(JsonField("answer"), "boxed", "last_number")).of(text) == part


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"answer": "6 x 3 = 18 dollars"}', "18"),
        ('{"answer": "none"} of 3', "none"),
        ("18 dollars", "18 dollars"),
    ],
)
def test_of_what_is_taken_a_part_is_taken_if_it_has_one(text: str, part: str) -> None:
    assert View(take=(Chain(JsonField("answer"), "last_number"),)).of(text) == part


def test_what_has_nothing_to_take_is_compared_whole_or_as_nothing() -> None:
    assert View(take=("boxed",), normalise=("case",)).of("No Idea") == "no idea"
    assert View(take=("boxed",), otherwise="empty").of("No Idea") == ""
    assert View(otherwise="empty").of("all") == "all"


def test_normalisers_apply_in_one_order_however_they_are_written() -> None:
    text = r"\frac{1}{2}  X"
    assert View(normalise=("whitespace", "case", "numbers", "latex")).of(text) == "0.5 x"
    assert View(normalise=("latex", "numbers", "case", "whitespace")).of(text) == "0.5 x"


@given(
    NASTY,
    st.sampled_from(TAKES),
    st.sets(st.sampled_from(("code_fences", "markdown"))),
    st.sets(st.sampled_from(RULES)),
)
def test_a_view_of_any_text_is_a_text_that_can_be_sent(text, take, strip, normalise) -> None:
    View(tuple(strip), (take,), tuple(normalise)).of(text).encode()


@given(NASTY, st.sampled_from(("python_literal", "numbers", "case", "whitespace")))
def test_a_normal_form_is_its_own_normal_form(text: str, rule) -> None:
    view = View(normalise=(rule,))
    assert view.of(view.of(text)) == view.of(text)


@given(st.integers(-(10**9), 10**9), st.integers(0, 4))
def test_numbers_that_are_equal_are_compared_as_equal(value: int, places: int) -> None:
    view = View(normalise=("numbers",))
    number = Fraction(value, 10**places)
    written = f"{value / 10**places:,.5f}"
    assert view.of(written) == view.of(written.replace(",", "")) == view.of(f"${written}") == shortest(number)
    assert Fraction(view.of(written)) == number


@pytest.mark.parametrize("unit", ["1,234,", "{", '{"a":', '"answer": "', " ", "\\frac{", "answer ", "*_", "$", "1/"])
def test_long_texts_take_no_more_than_linear_time(unit: str) -> None:
    # Quadratic time would be minutes here, and exponential time would not end.
    text = unit * (50_000 // len(unit))
    assert isinstance(View(("code_fences", "markdown"), tuple(TAKES), RULES).of(text), str)
