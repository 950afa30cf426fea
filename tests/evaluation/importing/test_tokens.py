from math import isnan
from pathlib import Path

import pytest

from serve_app.core.types.answer import Generation
from serve_app.errors import DataError, UsageError
from serve_app.evaluation.importing.formats.rows import Row, generation
from serve_app.evaluation.importing.tokens import TokenCounter, read_tokenizers
from serve_app.evaluation.records.example import Example

EXAMPLE = Example("1", "custom", "", {"prompt": "one two three"}, ())
ROW = Row("a:1", "m", EXAMPLE, generation("four five"))


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """Return a tokenizer with one token for each word."""
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    path = tmp_path / "tokenizer.json"
    words.save(str(path))
    return path


def counts(counter: TokenCounter, row: Row = ROW, model: str = "m") -> tuple[int, int, bool]:
    answer = counter.counted(row, model)
    assert isnan(answer.latency_s) or row.counted
    return answer.prompt_tokens, answer.completion_tokens, answer.estimated


def test_lengths_are_estimates_and_marked_so() -> None:
    # 13 bytes / 3, rounded up, and 8 for a message; 9 bytes / 3
    assert counts(TokenCounter({})) == (13, 3, True)


def test_a_tokenizer_counts(tokenizer: Path) -> None:
    assert counts(TokenCounter(read_tokenizers([str(tokenizer)]))) == (3, 2, False)


def test_a_tokenizer_of_one_model_counts_for_that_one_alone(tokenizer: Path) -> None:
    counter = TokenCounter(read_tokenizers([f"m={tokenizer}"]))
    assert (counts(counter), counts(counter, model="other")) == ((3, 2, False), (13, 3, True))


def test_the_sources_own_counts_stay(tokenizer: Path) -> None:
    row = Row("a:1", "m", EXAMPLE, Generation("four five", "stop", 70, 20), counted=True)
    assert counts(TokenCounter(read_tokenizers([str(tokenizer)])), row) == (70, 20, False)


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(DataError, match=r"x\.json' is not a tokenizer\.json: "):
        read_tokenizers([str(path)])


def test_a_tokenizer_of_a_model_that_was_not_read_is_a_mistake(tokenizer: Path) -> None:
    counter = TokenCounter(read_tokenizers([f"gema={tokenizer}", str(tokenizer)]))
    counter.check_models(["gema", "other"])
    with pytest.raises(UsageError, match=r"no model 'gema' was read\. Did you mean 'gemma'\?"):
        counter.check_models(["gemma", "other"])
