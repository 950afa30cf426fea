from collections import Counter
from math import isnan
from pathlib import Path

import pytest
from rich.console import Console

from serve_app.core.types.answer import Generation
from serve_app.errors import DataError, UsageError
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options as Evaluated
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.importing.command import Options, import_records
from serve_app.evaluation.records.example import digest
from serve_app.evaluation.records.file import Records
from tests.evaluation.collecting import write_config
from tests.evaluation.importing.sources import published, write_list, zeroeval_row
from tests.evaluation.record_schema import check


def imported(output: Path, *sources: Path | str, **options: object) -> tuple[Records, str]:
    console = Console(record=True, width=300)
    import_records([str(source) for source in sources], output, Options(**options), console)  # type: ignore[arg-type]
    check(output)
    return Records.load(output), console.export_text()


def models(folder: Path, count: int = 40) -> list[Path]:
    """Write three models that answer 18 to different shares of the questions."""
    shares = {"org/small": 2, "org/middle": 3, "org/large": 100}
    return [
        write_list(
            folder / f"{number}.json",
            [zeroeval_row(k, "18" if k % every else f"no {k}", generator=name) for k in range(count)],
        )
        for number, (name, every) in enumerate(shares.items())
    ]


def test_answers_become_records_of_which_only_the_text_is_known(tmp_path: Path) -> None:
    records, printed = imported(tmp_path / "r.jsonl", *models(tmp_path, count=2))
    header = records.header
    assert (header.asked.through, header.asked.concurrency) == ("import", None)
    assert header.data.files == [str(tmp_path / f"{number}.json") for number in range(3)]
    assert header.data.digest == digest(records.examples)
    assert records.models == ("small", "middle", "large")
    answer = records.answers["small"][1]
    assert isinstance(answer, Generation)
    assert (answer.text, answer.estimated, isnan(answer.latency_s)) == ("18", True, True)
    assert "6 answers of 3 models to 2 examples written to" in printed
    assert "Token counts are estimated" in printed
    assert "No size or price: small, middle, large;" in printed


def test_imported_records_are_evaluated_right_away_without_seconds(tmp_path: Path) -> None:
    facts = tmp_path / "models.yaml"
    facts.write_text("small: {parameters: 1.0e9}\nmiddle: {parameters: 2.0e9}\nlarge: {parameters: 4.0e11}\n")
    records, _ = imported(tmp_path / "r.jsonl.gz", *models(tmp_path), models=facts)
    assert [tier.models for tier in records.config.cascades["default"].tiers] == [["small", "middle"], ["large"]]
    options = Evaluated(signals=("exact",), metrics=("exact_match",), resamples=100)
    evaluation = evaluate(load_dataset(records, options)).to_json()
    [cascade] = evaluation["groups"][0]["cascades"]
    cost = cascade["models"]["small"]["cost"]
    assert (cost["device_s"], cost["latency_s"]) == (None, None)
    assert cost["flops"] > 0


def test_a_serving_config_gives_sizes_and_cascades(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml")
    files = [f"{name}={path}" for name, path in zip(("a", "t", "b"), models(tmp_path, count=2), strict=True)]
    records, _ = imported(tmp_path / "r.jsonl", *files, config=config)
    assert records.models == ("a", "b", "t")
    assert records.costs["t"].parameters == 1e9
    with pytest.raises(UsageError, match="--config has sizes, prices and cascades: leave out --models and --target"):
        imported(tmp_path / "x.jsonl", *files, config=config, target="t")


def test_an_existing_file_is_replaced_only_by_force_and_never_half_written(tmp_path: Path) -> None:
    output = tmp_path / "r.jsonl"
    output.write_text("mine")
    files = models(tmp_path, count=2)
    with pytest.raises(DataError, match=r"r\.jsonl' exists; choose another path with -o, or replace it with --force"):
        imported(output, *files)
    broken = write_list(tmp_path / "broken.json", [zeroeval_row(), zeroeval_row(1) | {"output": None}])
    with pytest.raises(DataError, match=r"broken\.json, row 2: output: must be a list"):
        imported(output, broken, force=True)
    assert output.read_text() == "mine"
    records, _ = imported(output, *files, force=True)
    assert len(records.examples) == 2
    with pytest.raises(DataError, match=r"0\.json' is read by this command"):
        imported(tmp_path / "0.json", *files, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"0.json", "1.json", "2.json", "broken.json", "r.jsonl"}


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/r\.jsonl' cannot be written: No such file or directory"):
        imported(tmp_path / "nowhere" / "r.jsonl", *models(tmp_path, count=2))


@pytest.mark.parametrize(
    ("patterns", "answers", "examples", "task"),
    [
        (["zeroeval/math-l5/gemma*", "zeroeval/math-l5/Qwen2.5-7B*"], 3 * 347, 347, "custom"),
        (["alpaca_eval/gemma-2b-it/**/*.gz", "alpaca_eval/phi-2-sft/**/*.gz"], 2 * 406, 406, "custom"),
        (["routerarena/*"], 2 * 405, 405, "custom"),
        (
            ["wmt24/sources/en-cs*", "wmt24/references/en-cs*", "wmt24/system-outputs/en-cs/[AI]*"],
            3 * 501,
            501,
            "translation",
        ),
    ],
    ids=["zeroeval", "alpaca_eval", "routerarena", "wmt"],
)
def test_published_answers(tmp_path: Path, patterns: list[str], answers: int, examples: int, task: str) -> None:
    sources = [path for pattern in patterns for path in published(pattern)]
    records, printed = imported(tmp_path / "r.jsonl", *sources)
    assert printed.startswith(f"{answers} answers of ")
    assert len(records.complete()) == len(records.examples) == examples
    assert Counter(example.task for example in records.examples) == {task: examples}


def test_published_preferences_are_scores_of_every_answer(tmp_path: Path) -> None:
    records, _ = imported(tmp_path / "r.jsonl", *published("alpaca_eval/phi-2-sft/**/*.gz"))
    assert records.score_names == ("preference",)
    scores = records.scores("preference", "phi-2-sft")
    assert all(score is not None and 0 <= score <= 1 for score in scores)
