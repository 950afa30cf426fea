from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import DataError
from serve_app.evaluation.importing.assemble import assemble
from serve_app.evaluation.records.example import Example
from tests.evaluation.importing.sources import rows, write_lines

FILE = "samples_gsm8k_cot_2024-09-03T10-20-30.123456.jsonl"
SAMPLE = {
    "doc_id": 4,
    "doc": {"question": "2 + 2?", "answer": "It is\n#### 4", "level": "easy"},
    "target": "4",
    "arguments": {"gen_args_0": {"arg_0": "Q: 2 + 2?\nA:", "arg_1": {"until": ["Q:"], "do_sample": False}}},
    "resps": [["The answer is 4."]],
    "filtered_resps": ["4"],
    "filter": "strict-match",
    "metrics": ["exact_match"],
    "doc_hash": "0f",
    "exact_match": 1.0,
}


def test_a_sample_is_a_generated_answer_with_its_grade(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "meta-llama__Llama-3.1-8B" / FILE, [SAMPLE])
    [row] = rows(path)
    inputs, facts = {"prompt": "Q: 2 + 2?\nA:"}, {"task": "gsm8k_cot", "level": "easy"}
    assert row.example == Example("gsm8k_cot/4", "custom", "gsm8k_cot, 4", inputs, ("4",), facts)
    assert (row.model, getattr(row.answer, "text", None)) == ("Llama-3.1-8B", "The answer is 4.")
    assert row.scores == {"exact_match.strict-match": 1.0}


def test_the_filters_of_a_document_are_scores_of_one_answer(tmp_path: Path) -> None:
    flexible = SAMPLE | {"filter": "flexible-extract", "exact_match": 0.0, "filtered_resps": ["5"]}
    imported = assemble(rows(write_lines(tmp_path / "org__small" / FILE, [SAMPLE, flexible])))
    [row] = imported.answers["small"].values()
    assert row.scores == {"exact_match.strict-match": 1.0, "exact_match.flexible-extract": 0.0}


def test_requests_of_older_versions_are_lists(tmp_path: Path) -> None:
    older = SAMPLE | {"arguments": [["Q: 2 + 2?", {"until": []}]], "filter": "none", "exact_match": True}
    [row] = rows(write_lines(tmp_path / "samples_gsm8k.jsonl", [older]))
    assert (row.example.id, row.example.prompt_inputs) == ("gsm8k/4", {"prompt": "Q: 2 + 2?"})
    assert row.scores == {"exact_match": 1.0}


def test_models_with_other_chat_templates_meet_in_one_example(tmp_path: Path) -> None:
    other_sample = SAMPLE | {"arguments": [["<|user|>Q: 2 + 2?", {}]]}
    paths = [
        write_lines(tmp_path / f"org__{name}" / FILE, [sample]) for name, sample in (("a", SAMPLE), ("b", other_sample))
    ]
    imported = assemble(rows(*paths))
    assert [example.prompt_inputs["prompt"] for example in imported.examples.values()] == ["Q: 2 + 2?\nA:"]
    assert list(imported.answers) == ["a", "b"]


def test_metrics_of_a_corpus_are_no_scores(tmp_path: Path) -> None:
    corpus = SAMPLE | {"metrics": ["bleu", "words", "exact_match"], "bleu": ["4", "4"], "words": 12, "filter": "none"}
    [row] = rows(write_lines(tmp_path / FILE, [corpus]))
    assert row.scores == {"exact_match": 1.0}


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"resps": [[[-1.5, False]]]}, r":1: resps: must be generated texts; log-likelihoods"),
        ({"resps": []}, r":1: resps: must be generated texts"),
        ({"arguments": [[]]}, r":1: arguments: must begin with a request and its context"),
        ({"doc_id": None}, r":1: doc_id: must be a whole number, not None\."),
    ],
)
def test_what_cannot_be_read_is_named_by_file_line_and_field(
    tmp_path: Path, broken: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=rf"s\.jsonl{sentence}"):
        rows(write_lines(tmp_path / "s.jsonl", [SAMPLE | broken]))


def test_several_gold_answers_are_written_as_pythons_form_of_their_list(tmp_path: Path) -> None:
    lines = [SAMPLE | {"target": "['Paris', 'paris']"}, SAMPLE | {"doc_id": 5, "target": "[1, 2]"}]
    first, second = rows(write_lines(tmp_path / "org__small" / FILE, lines))
    assert first.example.references == ("Paris", "paris")
    assert second.example.references == ("[1, 2]",)


def test_messages_of_a_chat_template_are_a_list_of_their_json(tmp_path: Path) -> None:
    arguments = {"gen_args_0": {"arg_0": ['[{"role": "user", "content": "2 + 2?"}]'], "arg_1": {}}}
    [row] = rows(write_lines(tmp_path / "org__small" / FILE, [SAMPLE | {"arguments": arguments}]))
    assert row.example.prompt_inputs == {"messages": [{"role": "user", "content": "2 + 2?"}]}


def test_a_vote_of_several_answers_is_no_score_of_the_first(tmp_path: Path) -> None:
    [row] = rows(write_lines(tmp_path / "org__small" / FILE, [SAMPLE | {"resps": [["It is 4.", "It is 5."]]}]))
    assert (getattr(row.answer, "text", None), row.scores) == ("It is 4.", {})


@pytest.mark.parametrize("arguments", [None, 5, {"gen_args_0": {"arg_0": ["not JSON"]}}])
def test_requests_that_cannot_be_read_are_named(tmp_path: Path, arguments: Any) -> None:
    lines = [SAMPLE, SAMPLE | {"doc_id": 5, "arguments": arguments}]
    with pytest.raises(DataError, match=r":2: "):
        rows(write_lines(tmp_path / "org__small" / FILE, lines))


def test_metrics_that_are_no_list_are_no_scores(tmp_path: Path) -> None:
    [row] = rows(write_lines(tmp_path / "org__small" / FILE, [SAMPLE | {"metrics": 5}]))
    assert row.scores == {}
