"""The hub cannot be reached: rows with the sets' real fields, in real `Dataset` objects made here."""

from typing import Any

import pytest

from serve_app.errors import DataError, UsageError
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.load import load_examples
from serve_app.evaluation.records.public_sets import PUBLIC_SETS, public_examples
from serve_app.evaluation.records.tasks import check_inputs

WMT = {"translation": {"de": "Ja.", "fr": "Oui.", "en": "Yes."}}
ROWS: dict[str, dict[str, Any]] = {
    "wmt19_de_fr": WMT,
    "wmt14_fr_en": WMT,
    "wmt14_en_fr": WMT,
    "cnn_dailymail": {"article": "LONDON (CNN) ...", "highlights": "One.\nTwo.", "id": "61df"},
    "xlsum": {"id": "uk-1", "url": "https://x", "title": "T", "summary": "Short.", "text": "Long text."},
    "squad": {
        "id": "56be",
        "title": "Super_Bowl_50",
        "context": "Denver won.",
        "question": "Who won?",
        "answers": {"text": ["Denver", "Denver", "Denver won"], "answer_start": [0, 0, 0]},
    },
    "triviaqa": {
        "question": "Who?",
        "question_id": "tc_1",
        "question_source": "http://x",
        "entity_pages": {"title": []},
        "search_results": {"title": []},
        "answer": {
            "aliases": ["W. Disney", "Disney"],
            "normalized_aliases": ["disney"],
            "value": "Disney",
            "type": "x",
        },
    },
}
QA = {"question": "Who?"}
EXPECTED = {
    "wmt19_de_fr": ({"source_lang": "de", "target_lang": "fr", "text": "Ja."}, ("Oui.",), "0"),
    "wmt14_fr_en": ({"source_lang": "fr", "target_lang": "en", "text": "Oui."}, ("Yes.",), "0"),
    "wmt14_en_fr": ({"source_lang": "en", "target_lang": "fr", "text": "Yes."}, ("Oui.",), "0"),
    "cnn_dailymail": ({"document": "LONDON (CNN) ..."}, ("One.\nTwo.",), "61df"),
    "xlsum": ({"document": "Long text."}, ("Short.",), "uk-1"),
    "squad": ({"context": "Denver won.", "question": "Who won?"}, ("Denver", "Denver won"), "56be"),
    "triviaqa": (QA, ("Disney", "W. Disney"), "tc_1"),
}


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_rows_become_examples(name: str) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    rows = datasets.Dataset.from_list([ROWS[name]])
    inputs, references, key = EXPECTED[name]
    source = f"{name} validation, {key}"
    [example] = public_examples(name, rows)
    assert example == Example(f"{name}-{key}", PUBLIC_SETS[name].task, source, inputs, references)
    check_inputs(example.task, example.prompt_inputs)
    assert Example.read(example.body()) == example


def test_seven_sets_are_seven_groups() -> None:
    examples = [example for name in PUBLIC_SETS for example in public_examples(name, [ROWS[name]])]
    assert len({example.source.split(",")[0] for example in examples}) == len(PUBLIC_SETS) == 7
    assert len({example.id for example in examples}) == 7


def test_repeated_rows_are_left_out_and_other_questions_of_an_id_numbered() -> None:
    rows = [
        ROWS["triviaqa"],
        ROWS["triviaqa"] | {"question_source": "http://y"},
        ROWS["triviaqa"] | {"question": "When?"},
    ]
    examples = list(public_examples("triviaqa", rows))
    assert [(example.id, example.prompt_inputs["question"]) for example in examples] == [
        ("triviaqa-tc_1", "Who?"),
        ("triviaqa-tc_1-2", "When?"),
    ]


def test_a_set_that_is_not_known() -> None:
    with pytest.raises(UsageError, match=r"There is no public set 'trivaqa'\. Did you mean 'triviaqa'\?"):
        load_examples(["hf-datasets:trivaqa"])


def test_without_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"The public set 'squad' \(rajpurkar/squad on the hub\) cannot be loaded: "):
        load_examples(["hf-datasets:squad"])
