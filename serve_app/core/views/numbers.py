"""Numbers as values: 1,234.50, $18, 18.0 and 1/2, in the English way of writing them."""

import re
from collections.abc import Iterator
from fractions import Fraction

_WHOLE = r"[1-9][0-9]{0,2}(?:,[0-9]{3}){1,33}+(?![0-9])|[0-9]++|(?<![\w.])(?=\.[0-9])"
_NUMERAL = rf"(?:{_WHOLE})(?:\.[0-9]++)?(?:[eE][-+]?[0-9]{{1,2}}(?!\w))?"
_MINUS = "\u2212"
_SIGN = rf"(?<![\w)\]}}.,%+{_MINUS}-])[-+{_MINUS}]"
_CURRENCY = r"(?<![$€£¥])[$€£¥]"
_NUMBER = re.compile(
    rf"(?:(?P<sign>{_SIGN})?(?:{_CURRENCY}[ ]?)?|{_CURRENCY}[ ]?(?P<inner>{_SIGN}))(?<![\w.])"
    rf"(?:(?<![0-9]/)(?P<over>{_NUMERAL})/(?P<under>{_NUMERAL})(?![\w/]|\.[0-9])|(?P<numeral>{_NUMERAL})(?!\.?[0-9]))"
    r"(?:[ ]?[$€£¥](?![\w$€£¥]))?"
)
_INTEGER = re.compile(r"0|[1-9][0-9]*")
"""What is in its shortest form as it is written; most numbers are, and fractions take their time."""
_MOST_DIGITS = 100
"""A longer number is compared as it is written."""


def last_number(text: str) -> str | None:
    """Return the last number of a text as it is written, without currency, or None."""
    *_, last = (None, *_NUMBER.finditer(text))
    return None if last is None else _written(last)


def numbers(text: str) -> Iterator[str]:
    """Yield the numbers of a text, each in its shortest form."""
    return (_plain(number, text) for number in _NUMBER.finditer(text))


def plain_numbers(text: str) -> str:
    """Return the text with each number in its shortest form: 1234.5, 18, 0.5; 1/3 and the like as lowest terms."""
    return _NUMBER.sub(lambda number: _plain(number, text), text)


def _written(number: re.Match[str]) -> str:
    sign = number["sign"] or number["inner"] or ""
    digits = number["numeral"] or f"{number['over']}/{number['under']}"
    return f"{sign}{digits}".replace(_MINUS, "-").lstrip("+")


def _plain(number: re.Match[str], text: str) -> str:
    digits = _written(number)
    if len(digits) > _MOST_DIGITS or (digits == number[0] and _INTEGER.fullmatch(digits)):
        return number[0]
    over, _, under = digits.replace(",", "").partition("/")
    try:
        value = Fraction(over) / Fraction(under or 1)
    except ZeroDivisionError:
        return number[0]
    plain = shortest(value)
    # "1,0100" must not become "1,100", which is another number.
    follows = re.search(r"[0-9],$", text[max(0, number.start() - 2) : number.start()])
    return number[0] if follows and re.match(r"[0-9]{3}(?![0-9])", plain) else plain


def shortest(value: Fraction) -> str:
    """Return a number as an integer, an exact decimal fraction, or numerator/denominator in lowest terms."""
    if value.denominator == 1:
        return str(value.numerator)
    denominator, places = value.denominator, 0
    while denominator % 10 == 0:
        denominator, places = denominator // 10, places + 1
    for factor in (2, 5):
        while denominator % factor == 0:
            denominator, places = denominator // factor, places + 1
    if denominator != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:].rstrip('0')}"
