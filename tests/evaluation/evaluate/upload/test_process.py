"""Records of somebody else: the report of `cascade evaluate`, and no file, program or network, whatever they hold."""

import json
import subprocess
import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.evaluate.upload import process, restriction
from serve_app.evaluation.evaluate.upload.process import FORBIDDEN, TOO_LARGE, evaluated
from serve_app.evaluation.evaluate.upload.restriction import restricted
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import answers, args, questions, records, three_tier_records, three_tiers, write_records
from tests.patience import PATIENCE_S

LEXICAL = ("exact", "bleu", "rouge1", "rouge2", "rougeL", "chrf")


def outcome(content: bytes) -> tuple[Any, list[Any]]:
    """Return the result, and the steps on the way to it."""
    steps: list[Any] = []
    return evaluated(BytesIO(content), steps.append), steps


def of_config(path: Path, config: Mapping[str, Any], count: int = 12) -> Path:
    examples = questions(count)
    return write_records(path, config, examples, answers(["small", "tiny", "large"], examples))


def rows_of(report: Any) -> list[Any]:
    """Return the part that is the same on every machine: without the seconds that comparisons took."""
    [group] = report["groups"]
    [cascade] = group["cascades"]
    fields = ("rate", "threshold", "quality", "quality_low", "quality_high")
    return [(row["signal"], row["kind"], [row["curve"][name] for name in fields]) for row in cascade["rows"]]


def with_sbert() -> dict[str, Any]:
    """Return a cascade by an encoder whose weights cannot be fetched, a signal of it, and a mix with a light one."""
    config = args(signal="near", threshold=-0.2)
    encoder = {"kind": "sbert", "weights": "/nowhere/model"}
    parts = [{"signal": "rouge1"}, {"signal": "chrf"}]
    config["signals"] = {"near": encoder, "light": {"kind": "mix", "parts": parts}}
    config["cascades"]["default"]["skip"] = {"fitted": "/nowhere/f.npz", "encoder": "near", "defer_above": 0.9}
    return config


def test_the_report_is_that_of_the_command(tmp_path: Path) -> None:
    path = records(tmp_path / "r.jsonl", 40)
    result, steps = outcome(path.read_bytes())
    assert result["notes"] == []
    dataset = load_dataset(Records.load(path), Options(signals=LEXICAL))
    assert rows_of(result["report"]) == rows_of(evaluate(dataset).to_json())
    assert steps == [
        {"step": "reading", "lines": 0},
        {"step": "comparing", "examples": 40, "models": 3},
        {"step": "resampling", "examples": 40},
    ]


def test_what_needs_an_encoder_is_left_out_and_named(tmp_path: Path) -> None:
    chosen = restricted(Records.load(of_config(tmp_path / "r.jsonl", with_sbert())))
    assert chosen.options.signals == (*LEXICAL, "light")
    assert chosen.notes == [
        "Not evaluated here, where no encoder can be loaded: near. To see them too, run `cascade evaluate "
        "records.jsonl --report report` with your file, and open report/report.json here."
    ]
    cascade = chosen.records.config.cascades["default"]
    assert (cascade.tiers[0].signal, cascade.tiers[0].threshold, cascade.skip) == ("rougeL", 0.5, None)
    assert evaluate(load_dataset(chosen.records, chosen.options)).groups[0].cascades[0].id == "default"


def test_a_cascade_of_three_tiers_has_the_front_of_the_command(tmp_path: Path) -> None:
    path = three_tier_records(tmp_path / "r.jsonl", 60)
    result, _ = outcome(path.read_bytes())
    assert result["notes"] == []
    expected = evaluate(load_dataset(Records.load(path), Options(signals=LEXICAL))).to_json()
    fronts = [report["groups"][0]["cascades"][0]["front"] for report in (result["report"], expected)]
    assert fronts[0]["points"]
    assert fronts[0] == fronts[1]


def test_each_tier_by_an_encoder_is_compared_by_another_signal(tmp_path: Path) -> None:
    config = with_sbert()
    config["models"]["odd"] = {"engine": "replay", "default": "x", "parameters": 1e9}
    second = {"models": ["tiny", "odd"], "signal": "near", "threshold": 0.1}
    config["cascades"]["default"]["tiers"].insert(1, second)
    examples = questions(40)
    columns = answers(["small", "tiny", "odd", "large"], examples)
    chosen = restricted(Records.load(write_records(tmp_path / "r.jsonl", config, examples, columns)))
    assert [tier.signal for tier in chosen.records.config.cascades["default"].tiers] == ["rougeL", "rougeL", None]
    [cascade] = evaluate(load_dataset(chosen.records, chosen.options)).groups[0].cascades
    assert cascade.curves is None


def test_cascades_of_more_tiers_than_the_time_allows_are_left_out_and_named(tmp_path: Path) -> None:
    config = three_tiers()
    tiers = config["cascades"]["default"]["tiers"]
    more = [{"models": ["medium"], "signal": "chow_avg", "threshold": -0.1 * number} for number in (6, 7)]
    config["cascades"]["long"] = {"tiers": [*tiers[:2], *more, tiers[2]]}
    examples = questions(12)
    columns = answers(["small", "tiny", "medium", "large"], examples)
    chosen = restricted(Records.load(write_records(tmp_path / "r.jsonl", config, examples, columns)))
    note = "Of more than 4 tiers, so not evaluated here: long; `cascade evaluate` with the file does."
    assert (list(chosen.records.config.cascades), chosen.notes) == (["default"], [note])
    del config["cascades"]["default"]
    path = write_records(tmp_path / "longer.jsonl", config, examples, columns)
    assert outcome(path.read_bytes())[0]["problem"].startswith("Every cascade of these records has more than 4 tiers;")


def test_more_requests_than_the_time_allows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restriction, "MOST_REQUESTS", 4)
    assert outcome(records(tmp_path / "r.jsonl", 5).read_bytes())[0] == {
        "problem": "These records have 5 requests, and at most 4 are evaluated here; "
        "`cascade evaluate` with the file does more."
    }
    restricted(Records.load(records(tmp_path / "fewer.jsonl", 4)))


def test_many_requests_have_fewer_resamples_which_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Records.load(records(tmp_path / "r.jsonl", 5))
    assert (restricted(loaded).options.resamples, restricted(loaded).notes) == (1000, [])
    monkeypatch.setattr(restriction, "MOST_DRAWN", 2000)
    assert (restricted(loaded).options.resamples, restricted(loaded).notes) == (
        400,
        ["Intervals are of 400 resamples in place of 1,000; `cascade evaluate` with the file draws all."],
    )


def test_numbers_that_json_has_not_are_none_of_the_report(tmp_path: Path) -> None:
    content = records(tmp_path / "r.jsonl", 6).read_text(encoding="utf-8")
    content = content.replace('"versions": {', '"versions": {"x": NaN, ').replace('"files": [', '"files": [1e999, ')
    source = outcome(content.encode())[0]["report"]["source"]
    assert (source["versions"], source["files"]) == ({"x": None, "python": "3.11"}, ["inf", "synthetic.jsonl"])


def test_without_memory_to_spare_no_records_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "fair_share", lambda most: most // 8)
    process.main()
    assert json.loads(capsys.readouterr().out.removeprefix("data: ")) == {"problem": TOO_LARGE}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "'records' holds no records: it is empty."),
        (b"\x89PNG\n", "records:1: not UTF-8 at byte 1."),
        (b'{"kind": "example"}\n', "records:1: not a line of records: a header comes first."),
        (b"[1]\n", "records:1: must be a JSON object."),
    ],
)
def test_what_is_wrong_is_a_sentence_with_its_line(content: bytes, problem: str) -> None:
    assert outcome(content)[0] == {"problem": problem}


@pytest.mark.parametrize("metric", ["os:system", "bleurt"])
def test_records_start_no_program_whatever_their_config_names(tmp_path: Path, metric: str) -> None:
    config = args() | {"metrics": {"own": {"metric": metric, "tasks": ["closed_book_qa"]}}}
    content = of_config(tmp_path / "r.jsonl", config).read_bytes()
    command = [sys.executable, "-m", "serve_app.evaluation.evaluate.upload.process"]
    result = subprocess.run(command, input=content, capture_output=True, timeout=PATIENCE_S, check=True)
    *_, last = result.stdout.decode().strip().split("\n\n")
    assert json.loads(last.removeprefix("data: ")) == {"problem": FORBIDDEN}
