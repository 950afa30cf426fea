from dataclasses import replace

import pytest

from serve_app.errors import UsageError
from serve_app.evaluation.analysis.example_fields import check_field, matching, value
from tests.evaluation.collecting import question

EASY = replace(question(1), source="Geo, 1", metadata={"level": "easy", "hops": 2, "seen": True})
HARD = replace(question(2), source="Geo, 2", metadata={"level": "hard"})
PLAIN = replace(question(3), source="", task="custom", prompt_inputs={"prompt": "Hi"})
EXAMPLES = [EASY, HARD, PLAIN]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("task", ["closed_book_qa", "closed_book_qa", "custom"]),
        ("source", ["Geo", "Geo", "custom"]),
        ("metadata.level", ["easy", "hard", "none"]),
        ("metadata.hops", ["2", "none", "none"]),
        ("metadata.seen", ["true", "none", "none"]),
    ],
)
def test_values_are_texts(field: str, values: list[str]) -> None:
    assert [value(example, field) for example in EXAMPLES] == values


@pytest.mark.parametrize(
    ("conditions", "rows"),
    [
        (["task=closed_book_qa"], [0, 1]),
        (["metadata.level = hard"], [1]),
        (["metadata.level=hard", "metadata.level=easy"], [0, 1]),
        (["source=Geo", "metadata.hops=2"], [0]),
        (["metadata.level=none"], [2]),
    ],
)
def test_conditions_on_one_field_are_alternatives_and_those_on_several_hold_at_once(
    conditions: list[str], rows: list[int]
) -> None:
    assert matching(EXAMPLES, conditions) == rows


@pytest.mark.parametrize(
    ("conditions", "sentence"),
    [
        (["level"], "--where: 'level' must be FIELD=VALUE, such as task=translation."),
        (
            ["metadata.levle=hard"],
            "--where: no example has a field 'metadata.levle'. Did you mean 'metadata.level'? "
            "Available: metadata.hops, metadata.level, metadata.seen, source, task.",
        ),
        (
            ["metadata.level=hrd"],
            "--where metadata.level=hrd: no example has this metadata.level. Did you mean 'hard'? "
            "Available: easy, hard, none.",
        ),
        (["metadata.level=hard", "task=custom"], "No example meets metadata.level=hard and task=custom at once."),
    ],
)
def test_conditions_that_no_example_meets(conditions: list[str], sentence: str) -> None:
    with pytest.raises(UsageError) as raised:
        matching(EXAMPLES, conditions)
    assert str(raised.value) == sentence


def test_values_are_listed_only_if_they_are_few() -> None:
    many = [replace(question(k), metadata={"number": k}) for k in range(51)]
    with pytest.raises(UsageError, match=r"no example has this metadata\.number\. There are 51 others\."):
        matching(many, ["metadata.number=x"])


def test_the_option_is_named_if_a_field_is_unknown() -> None:
    check_field("metadata.hops", EXAMPLES, "--by")
    with pytest.raises(UsageError, match=r"^--by: no example has a field 'sorce'\. Did you mean 'source'\?"):
        check_field("sorce", EXAMPLES, "--by")
