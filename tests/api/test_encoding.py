"""JSON that any client can read."""

import json

import pytest

from serve_app.api.encoding import encoded


@pytest.mark.parametrize(
    ("text", "read"),
    [("é \U0001f600", "é \U0001f600"), ("\ud83d!", "\ufffd!"), ("\ude00", "\ufffd"), ("\ud83d\ude00", "\U0001f600")],
)
def test_halves_of_surrogate_pairs(text: str, read: str) -> None:
    assert json.loads(encoded({"text": text}).decode()) == {"text": read}
    assert encoded(["é"]) == '["é"]'.encode()


def test_what_json_has_no_word_for_is_a_bug() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encoded([float("nan")])
