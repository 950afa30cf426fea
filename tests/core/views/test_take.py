import pytest

from serve_app.core.views.json_field import json_field
from serve_app.core.views.latex import boxed
from serve_app.core.views.numbers import last_number
from serve_app.core.views.take import after, choice, last_match


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 apples and 4 pears make 7.", "7"),
        ("It costs $1,234.50 in all", "1,234.50"),
        ("-$5", "-5"),
        ("the range is 3-5", "5"),
        ("it fell to -5 degrees", "-5"),
        ("x2 and v1.0.5 and model-3b are names, 6e3 is not", "6e3"),
        ("half, or 1/2", "1/2"),
        ("about .5", ".5"),
        ("(3,5)", "5"),
        ("**18**", "18"),
        ("18 €", "18"),
        ("none at all", None),
        ("", None),
    ],
)
def test_the_last_number_is_taken_as_it_is_written(text: str, number: str | None) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1}, no: $\boxed{2}$", "2"),
        (r"\boxed{\frac{a}{\sqrt{b}}} units", r"\frac{a}{\sqrt{b}}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\fbox{7}", "7"),
        (r"\boxed{{84}}", "84"),
        (r"\boxed 5.", "5"),
        (r"\boxed\pi", r"\pi"),
        (r"\boxed{cut off", None),
        ("unboxed", None),
    ],
)
def test_what_the_last_box_holds_is_taken(text: str, part: str | None) -> None:
    assert boxed(text) == part


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("B) Paris", "B"),
        ("**C**", "C"),
        ("Answer: B", "B"),
        ("**Answer:** (D), since A is wrong", "D"),
        ("The answer is A.", "A"),
        ("The correct option is C because of (A)", "C"),
        (r"so \boxed{\text{(E)}}", "E"),
        ("It is neither (A) nor (B) but (C)", "C"),
        ("ANSWERS: B or C", None),
        ("A dog", None),
        ("The answer is a dog", None),
        ("The answer: I cannot tell", None),
        ("", None),
    ],
)
def test_the_letter_of_a_choice_is_taken(text: str, letter: str | None) -> None:
    assert choice(text) == letter


@pytest.mark.parametrize(
    ("text", "path", "field"),
    [
        ('{"answer": "18"}', "answer", "18"),
        ('{"answer": 18.50}', "answer", "18.50"),
        ('{"answer": true}', "answer", "true"),
        ('{"answer": [1, {"b": 2, "a": "é"}]}', "answer", '["1", {"a": "é", "b": "2"}]'),
        ('Sure:\n```json\n{"reasoning": "x", "answer": "18"}\n```\nDone {}.', "answer", "18"),
        ('First {"answer": "1"}, then {"answer": "2"}.', "answer", "2"),
        ('{"result": [{"answer": "3"}]}', "result.0.answer", "3"),
        ('{"result": [{"answer": "3"}]}', "result.1.answer", "3"),
        ('{"reasoning": "two\nlines", "answer": "4"}', "answer", "4"),
        ('{"reasoning": "he said "so"", "answer": "5"\n}', "answer", "5"),
        ('{"reasoning": "no comma"\n "answer": "\\frac{1}{2}"}', "answer", "\x0crac{1}{2}"),
        ('{"reasoning": "\\( x \\)", "answer": "\\pi"}', "answer", "\\pi"),
        ('{"reasoning": "\\( x \\)", "answer": 12\n}', "answer", "12"),
        ("{\"answer\": '[\"a\", 'b']'\n}", "answer", "[\"a\", 'b']"),
        ('{"answer": "say "hi" to him"}', "answer", 'say "hi" to him'),
        ('{"reasoning": "cut o', "answer", None),
        ('{"answer": null}', "answer", None),
        ("no JSON", "answer", None),
        ('{"answer": "\\ud83d"}', "answer", "\ufffd"),
        ("[" * 100_000, "answer", None),
    ],
)
def test_a_field_of_json_is_taken_fenced_or_broken(text: str, path: str, field: str | None) -> None:
    assert json_field(text, path) == field


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("Thought: 3. Answer: 4", "4"),
        ("answer: 3\nANSWER: 4 \n", "4"),
        ("Answer:", None),
        ("4", None),
    ],
)
def test_what_follows_the_last_mark_is_taken(text: str, part: str | None) -> None:
    assert after(text, "Answer:") == part


def test_a_pattern_takes_its_first_group_or_all_that_it_matches() -> None:
    assert last_match("a=1, a=2", r"a=(\d)") == "2"
    assert last_match("a=1, a=2", r"a=\d") == "a=2"
    assert last_match("b", r"a") is None
    assert last_match("", r"(a)?") is None


def test_only_the_end_of_a_long_text_is_searched_for_a_pattern() -> None:
    assert last_match("first " + "x" * 20_000, "first") is None
