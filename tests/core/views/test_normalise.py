import warnings
from fractions import Fraction

import pytest

from serve_app.core.views.latex import plain_latex
from serve_app.core.views.markdown import without_code_fences, without_markdown
from serve_app.core.views.numbers import plain_numbers, shortest
from serve_app.core.views.python_literal import plain_literal


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("1,234.50", "1234.5"),
        ("$18", "18"),
        ("18.0", "18"),
        ("18.", "18."),
        ("1/2", "0.5"),
        ("2/6", "1/3"),
        ("-1/3", "-1/3"),
        ("007", "7"),
        ("1e3", "1000"),
        ("+5", "5"),
        ("-0.0", "0"),
        ("\u22125", "-5"),
        ("18.50 €", "18.5"),
        ("between 1.0 and 2.50 km", "between 1 and 2.5 km"),
        ("on 01/02/2024", "on 1/2/2024"),
        ("1/0", "1/0"),
        ("v1.0.5", "v1.0.5"),
        ("1.0.5", "1.0.5"),
        ("1,0100", "1,0100"),
        ("3,5", "3,5"),
        ("9" * 101 + ".0", "9" * 101 + ".0"),
    ],
)
def test_numbers_are_written_in_their_shortest_form(written: str, plain: str) -> None:
    assert plain_numbers(written) == plain


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Fraction(3), "3"),
        (Fraction(-1, 8), "-0.125"),
        (Fraction(1, 400), "0.0025"),
        (Fraction(21, 20), "1.05"),
        (Fraction(-14, 6), "-7/3"),
    ],
)
def test_a_fraction_is_a_decimal_if_it_can_be(value: Fraction, plain: str) -> None:
    assert shortest(value) == plain


@pytest.mark.parametrize(
    ("latex", "plain"),
    [
        (r"\frac{1}{2}", "1/2"),
        (r"\dfrac12", "1/2"),
        (r"\tfrac{x+1}{2}", "(x+1)/2"),
        (r"3\frac{1}{2}", "3 1/2"),
        (r"\frac{\sqrt{3}}{2}", "sqrt(3)/2"),
        (r"\frac{\frac{1}{2}}{3}", "(1/2)/3"),
        (r"2 \cdot \sqrt2", "2*sqrt(2)"),
        (r"\left( 3, 5 \right]", "(3, 5]"),
        (r"(3,5)", "(3, 5)"),
        (r"(1,234)", "(1,234)"),
        (r"x^{2} + y^{10} = \pi", "x^2+y^10=pi"),
        (r"90^\circ", "90"),
        (r"90^{\circ}", "90"),
        (r"5 \text{ cm}", "5 cm"),
        (r"$\boxed{7}$", "7"),
        (r"\(x\), \[y\]", "x, y"),
        (r"\$18", "$18"),
        (r"50\%", "50%"),
        (r"x\in\mathbb{R}", r"x\in\mathbb{R}"),
    ],
)
def test_latex_is_written_as_plain_text(latex: str, plain: str) -> None:
    assert plain_latex(latex) == plain


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("[1,2]", "[1, 2]"),
        ("[1.0, 2.5]", "[1, 2.5]"),
        ('"a"', "a"),
        ("\"'a'\"", "a"),
        ("['a', \"b\"]", "['a', 'b']"),
        ("{'b': 1, 'a': (1,)}", "{'a': (1,), 'b': 1}"),
        ("{2, 1}", "{1, 2}"),
        ("True", "True"),
        ("-0.0", "0"),
        ("hello", "hello"),
        ("[1, 2", "[1, 2"),
        ("{[1]: 2}", "{[1]: 2}"),
        ("", ""),
        ("[" * 1500, "[" * 1500),
        ("-" * 1999 + "1", "-" * 1999 + "1"),
    ],
)
def test_python_literals_are_written_by_their_value(source: str, plain: str) -> None:
    assert plain_literal(source) == plain


def test_code_stays_without_its_fences() -> None:
    assert without_code_fences("Here:\n```python\nprint(1)\n```\nDone") == "Here:\nprint(1)\nDone"
    assert without_code_fences('```json\n{"a": 1}```') == '```json\n{"a": 1}```'.partition("\n")[2]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("# Title\n\nText", "Title\n\nText"),
        ("- **one**\n* *two*\n> `three`", "one\ntwo\nthree"),
        ("see [the page](https://x.org/a_b)", "see the page"),
        ("__bold__ and _italic_ and ~~gone~~", "bold and italic and gone"),
        ("a\n---\nb", "a\n\nb"),
        ("2*3*4 and snake_case_name and __init__.py", "2*3*4 and snake_case_name and init.py"),
        ("-5 and 3 - 2", "-5 and 3 - 2"),
        ("1. first", "1. first"),
    ],
)
def test_markdown_is_stripped_of_its_marks(text: str, plain: str) -> None:
    assert without_markdown(text) == plain


def test_an_answer_that_is_nearly_code_warns_nobody(recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("always")
    assert plain_literal("1or 2") == "1or 2"
    assert not recwarn.list


def test_a_character_in_two_halves_is_the_character() -> None:
    assert plain_literal('"\\ud83d\\ude00"') == "\N{GRINNING FACE}"
