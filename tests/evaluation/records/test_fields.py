import pytest

from serve_app.evaluation.records.fields import field, word


@pytest.mark.parametrize(
    ("value", "kind"), [("x", str), (3, int), (3, float), (0.5, float), (True, bool), ({}, dict), ([], list)]
)
def test_a_field_of_its_type(value: object, kind: type[object]) -> None:
    assert field({"name": value}, "name", kind) == value


@pytest.mark.parametrize(
    ("value", "kind", "sentence"),
    [
        (True, int, "part.name: must be a whole number, not True"),
        (1, bool, "part.name: must be true or false, not 1"),
        (0.5, int, "part.name: must be a whole number, not 0.5"),
        (None, float, "part.name: must be a number, not None"),
    ],
)
def test_a_field_of_another_type_is_named_with_its_path(value: object, kind: type[object], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        field({"name": value}, "name", kind, "part.")


def test_a_missing_field() -> None:
    with pytest.raises(ValueError, match=r"^part\.name: required, but missing$"):
        field({}, "name", str, "part.")


def test_a_word_is_one_of_some() -> None:
    assert word({"name": "stop"}, "name", ("stop", "length")) == "stop"
    with pytest.raises(ValueError, match=r"^name: must be one of stop, length, not 'end'$"):
        word({"name": "end"}, "name", ("stop", "length"))
