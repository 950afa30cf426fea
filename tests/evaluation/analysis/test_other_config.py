from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.errors import DataError, UsageError
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.other_config import with_cascade, with_config
from serve_app.evaluation.evaluate.words import signature
from serve_app.evaluation.records.example import digest
from serve_app.evaluation.records.file import Records
from serve_app.signals.chrf import ChrfConfig
from tests.evaluation.synthetic import answers, args, questions, serving_file, write_records

MODELS = ("small", "tiny", "large")


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Return records of 20 questions: those with an even number are easy, and half are of another set."""
    examples = [
        replace(example, metadata={"level": "hard" if number % 2 else "easy"})
        for number, example in enumerate(questions(10) + questions(10, "Other"))
    ]
    path = write_records(tmp_path / "r.jsonl", args(), examples, answers(list(MODELS), examples))
    return Records.load(path)


def test_only_examples_that_meet_the_conditions_are_evaluated(records: Records) -> None:
    options = Options(signals=("exact",), metrics=("f1",), where=("metadata.level=hard", "source=Other"))
    dataset = load_dataset(records, options)
    rows = range(11, 20, 2)
    assert list(dataset.examples) == [records.examples[row] for row in rows]
    for model in MODELS:
        assert dataset.replay.answers(model) == [records.answers[model].without_logprobs(row) for row in rows]
    assert dataset.source.data_sha256 == digest(dataset.examples)
    assert "5 examples where metadata.level=hard and source=Other, seed 0" in signature(dataset.source)
    assert (dataset.source.left_out, dataset.source.where) == (0, ["metadata.level=hard", "source=Other"])


def test_another_config_brings_cascades_and_prices(records: Records, tmp_path: Path) -> None:
    values: dict[str, Any] = args(["tiny"], signal="chow_avg")
    values["models"]["tiny"] |= {"parameters": 7e7, "output_usd": 0.5}
    values["cascades"] = {"lean": values["cascades"]["default"]}
    selected = with_config(records, serving_file(tmp_path / "c.yaml", values))
    assert list(selected.config.cascades) == ["lean"]
    assert (selected.costs["tiny"].parameters, selected.costs["tiny"].output_usd) == (7e7, 0.5)
    assert selected.costs["small"] == records.costs["small"]
    assert selected.header.config.digest != records.header.config.digest
    assert load_dataset(selected, Options(signals=())).models == ("tiny", "large")


@pytest.mark.parametrize("name", ["lex", "chrf"])
def test_another_cascade_brings_the_signals_that_stand_in(records: Records, tmp_path: Path, name: str) -> None:
    values = args()
    values["signals"] = {name: {"kind": "chrf", "char_order": 1}}
    values["cascades"] = {"guarded": values["cascades"]["default"]}
    values["cascades"]["guarded"]["tiers"][0]["on_scorer_failure"] = {"signal": name, "threshold": 0.4}
    config = with_cascade(records, serving_file(tmp_path / "c.yaml", values), "guarded").config
    assert config.standing_in() == {name: ChrfConfig(kind="chrf", char_order=1)}


def test_a_config_whose_cascades_ask_other_models_is_refused(records: Records, tmp_path: Path) -> None:
    path = serving_file(tmp_path / "c.yaml", args(["small", "odd"]))
    sentence = r"c\.yaml: the records have no answers of 'odd', a model of 'default'\. Available: large, small, tiny"
    with pytest.raises(DataError, match=sentence):
        with_config(records, path)


def test_groups_are_by_any_field(records: Records) -> None:
    options = Options(signals=("exact",), metrics=("f1",), by="metadata.level")
    easy, hard, pooled = load_dataset(records, options).groups
    assert (easy.name, hard.name, pooled.name) == ("easy", "hard", "all")
    assert np.array_equal(easy.index, np.arange(0, 20, 2))
    assert np.array_equal(hard.index, np.arange(1, 20, 2))
    by_set = load_dataset(records, Options(signals=("exact",), metrics=("f1",))).groups
    assert [group.name for group in by_set] == ["Synthetic", "Other", "all"]
    by_task = load_dataset(records, Options(signals=("exact",), metrics=("Other=f1",), by="task")).groups
    assert [group.name for group in by_task] == ["closed_book_qa"]


def test_an_unknown_field_to_group_by_is_refused(records: Records) -> None:
    with pytest.raises(
        UsageError, match=r"^--by: no example has a field 'level'\. Available: metadata\.level, source, task\."
    ):
        load_dataset(records, Options(signals=("exact",), by="level"))
