from pathlib import Path

import pytest

from serve_app.evaluation.importing.named_path import named_path


@pytest.mark.parametrize(
    ("argument", "expected"),
    [("a.jsonl", (None, Path("a.jsonl"))), ("m=a.jsonl", ("m", Path("a.jsonl"))), ("m=b=c/a", ("m", Path("b=c/a")))],
)
def test_a_name_ends_at_the_first_sign(argument: str, expected: tuple[str | None, Path]) -> None:
    assert named_path(argument) == expected


def test_a_path_that_exists_is_one_whatever_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "seed=1.json"
    path.touch()
    assert named_path(str(path)) == (None, path)
