"""Reports and tables of a synthetic evaluation, and the commands that write them."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from serve_app.core.types.answer import Generation
from serve_app.errors import DataError
from serve_app.evaluation.analysis.json_values import number
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.evaluate.report.markdown import markdown
from serve_app.evaluation.evaluate.report.page import html
from serve_app.evaluation.evaluate.report.write import write
from serve_app.evaluation.evaluate.results import Evaluation
from serve_app.evaluation.evaluate.tables import tables
from serve_app.evaluation.evaluate.words import label
from serve_app.evaluation.records.file import Records
from tests.cli.in_process import cascade
from tests.evaluation.synthetic import answers, args, questions, records, write_records


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return records(tmp_path_factory.mktemp("records") / "records.jsonl", 90)


@pytest.fixture(scope="module")
def evaluation(path: Path) -> Evaluation:
    return evaluate(load_dataset(Records.load(path), Options(signals=("rougeL", "exact"), resamples=100)))


def test_every_file_is_written(evaluation: Evaluation, tmp_path: Path) -> None:
    written = write(evaluation, tmp_path / "new" / "report")
    assert [file.name for file in written] == [
        "report.html",
        "report.md",
        "report.json",
        "rows.csv",
        "curves.csv",
        "curves-Synthetic-default.png",
    ]
    assert json.loads(written[2].read_text()) == evaluation.to_json()
    assert written[5].read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(written[3].read_text().splitlines()))
    [cascade] = evaluation.groups[0].cascades
    assert cascade.curves is not None
    assert [float(row["auc"]) for row in rows] == [number(row.auc.estimate) for row in cascade.curves.rows]
    assert all(row["signature"].startswith("data:") for row in rows)
    assert len({row["judged_by"] for row in rows}) == len(rows)
    assert [float(row["apgr"]) for row in rows] == [number(row.apgr) for row in cascade.curves.rows]
    assert [float(row["cpt_80"]) for row in rows] == [number(row.cpt[0.8]) for row in cascade.curves.rows]
    first = cascade.curves.rows[0].accepted[0.4].worse
    assert first is not None
    assert [float(rows[0][f"wrong_40{end}"]) for end in ("", "_low", "_high")] == [
        number(value) for value in (first.estimate, first.low, first.high)
    ]


def test_curves_are_written_with_bands_and_costs(evaluation: Evaluation, tmp_path: Path) -> None:
    write(evaluation, tmp_path)
    points = list(csv.DictReader((tmp_path / "curves.csv").read_text().splitlines()))
    [cascade] = evaluation.groups[0].cascades
    assert cascade.curves is not None
    for row in cascade.curves.rows:
        own = [point for point in points if point["row"] == label(row.name)]
        assert [float(point["rate"]) for point in own] == [number(rate) for rate in row.curve.rate]
        assert [float(point["flops"]) for point in own] == [number(share) for share in row.curve.costs["flops"]]
        assert {point["usd"] for point in own} == {""}  # no model has a price
        assert all(float(point["quality_low"]) <= float(point["quality"]) for point in own)
        assert all(float(point["quality"]) <= float(point["quality_high"]) for point in own)
        assert own[-1]["threshold"] == "inf"


class Tags(HTMLParser):
    """Which tags are open at the end, and what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "input"):
            self.open.append(tag)
        self.loads += [
            value or "" for name, value in attrs if name in ("src", "href") and not str(value).startswith("#")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(evaluation: Evaluation) -> None:
    page = html(evaluation)
    tags = Tags()
    tags.feed(page)
    assert (tags.open, tags.loads) == ([], [])
    assert "{{" not in page
    [data] = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    [plot] = json.loads(data)
    assert plot["curves"][0]["shown"]
    assert len(plot["curves"]) == len(evaluation.to_json()["groups"][0]["cascades"][0]["rows"]) + 1


def test_what_models_wrote_cannot_break_the_page(tmp_path: Path) -> None:
    examples = questions(40)
    columns = answers(["small", "tiny", "large"], examples)
    columns["small"] = [
        replace(answer, text="</script><img src=x> | {{data}} \ud800") if isinstance(answer, Generation) else answer
        for answer in columns["small"]
    ]
    path = write_records(tmp_path / "r.jsonl", args(), examples, columns)
    result = evaluate(load_dataset(Records.load(path), Options(signals=("rougeL",), resamples=100)))
    tags = Tags()
    tags.feed(html(result))
    assert tags.loads == []
    assert write(result, tmp_path / "report")


def test_markdown_has_every_table(evaluation: Evaluation) -> None:
    text = markdown(evaluation)
    group = evaluation.groups[0]
    for table in tables(group, group.cascades[0]):
        assert f"### {table.title}" in text
        assert all(len(row) == len(table.header) for row in table.rows)


def test_the_papers_tables(evaluation: Evaluation) -> None:
    group = evaluation.groups[0]
    [cascade] = group.cascades
    assert cascade.curves is not None
    by_title = {table.title: table for table in tables(group, cascade)}
    single = by_title["AUC, token-level cascades, deferring to large"]
    header = ("Model", "Random", "Chow-Sum", "Chow-Avg", "Best Chow-Quantile", "Best Quantile")
    assert single.header[:6] == header
    [small] = [row for row in cascade.curves.rows if label(row.name) == "chow_avg of small"]
    assert single.rows[0][:4:3] == ("small", f"{small.auc.estimate:.4f}")
    ensembles = by_title["AUC, token-level ensemble cascades, deferring to large"]
    assert ensembles.header[:3] == ("Ensemble (s is)", "Chow-Sum", "Chow-Avg")
    assert [row[0] for row in ensembles.rows] == ["small, tiny (max)", "small, tiny (mean)"]
    for name, areas in zip(("max", "mean"), ensembles.rows, strict=True):
        [row] = [row for row in cascade.curves.rows if label(row.name) == f"chow_sum, all members ({name})"]
        assert (row.name.agreement, areas[1]) == (name, f"{row.auc.estimate:.4f}")
    semantic = by_title["AUC, semantic cascades, deferring to large"]
    assert semantic.header == ("Ensemble (s is)", "rougeL", "exact")
    assert [row[0] for row in semantic.rows] == ["small, tiny (max)", "small, tiny (mean)"]


def test_evaluate_as_a_user_runs_it(path: Path, tmp_path: Path) -> None:
    compared = ("--compare", "exact (max)", "--compare", "chow_sum of small")
    files = ("--report", tmp_path / "report", "--per-example", tmp_path / "examples.csv")
    result = cascade("evaluate", path, "--signals", "exact", "--resamples", "100", *compared, *files)
    assert result.exit_code == 0
    assert re.search(r"exact \(max\) +chow_sum of small +[+-]0\.\d{4} \[.*\] +[\d.]+ +[\d.]+\n", result.stdout)
    assert str(tmp_path / "examples.csv") in result.stderr
    assert (tmp_path / "examples.csv").read_text().startswith("id,group,cascade,signal,part,s,threshold,accepted,")
    assert "default: small + tiny -> large" in result.stdout
    assert "AUC, semantic cascades, deferring to large" in result.stdout
    assert f"{tmp_path}/report/report.html" in result.stderr
    options = ("--signals", "exact", "--resamples", "100", "--fit-share", "0.5", "--json")
    [group] = json.loads(cascade("evaluate", path, *options).stdout)["groups"]
    assert 0.4 < group["fit"] / (group["fit"] + group["test"]) < 0.6


def test_places_that_cannot_be_written(path: Path, tmp_path: Path, evaluation: Evaluation) -> None:
    existing_file = tmp_path / "taken"
    existing_file.write_text("mine")
    for folder in (existing_file, Path("/proc/x/y")):
        result = cascade("evaluate", path, "--signals", "exact", "--report", folder)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"cascade: The report '{folder}' cannot be written: " in result.stderr
    with pytest.raises(DataError, match=r"The report '.*taken' cannot be written: File exists\."):
        write(Evaluation(evaluation.source, 0.01, ()), existing_file)
    for file in (tmp_path / "nowhere" / "x.yaml", tmp_path):
        result = cascade("calibrate", path, "--quality", "0.5", "-o", file)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"cascade: The config '{file}' cannot be written: " in result.stderr


def test_a_negative_seed_is_refused(path: Path) -> None:
    for command in ("evaluate", "choose", "calibrate"):
        result = cascade(command, path, "--seed", "-1")
        assert (result.exit_code, "Traceback" in result.stderr) == (2, False)


def test_json_of_texts_that_have_no_utf_8(tmp_path: Path) -> None:
    examples = questions(40)
    columns = answers(["small", "tiny", "large"], examples)
    columns["small"] = [Generation("half \ud800", "stop", 1, 1)] * 40
    path = write_records(tmp_path / "r.jsonl", args(), examples, columns)
    result = cascade("evaluate", path, "--signals", "exact", "--resamples", "100", "--json")
    shown = json.loads(result.stdout)["groups"][0]["cascades"][0]["looked_at"]
    assert shown["most"][0]["answers"]["small"]["text"] == "half \ud800"


def test_choose_and_calibrate_as_a_user_runs_them(path: Path, tmp_path: Path) -> None:
    result = cascade("choose", path, "--budget", "0.5", "--signals", "rougeL", "--json")
    selection = json.loads(result.stdout)
    assert selection["best"] in selection["front"]
    assert selection["best"]["when_chosen"]["cost"] <= 0.5
    result = cascade("choose", path, "--budget", "0.001", "--signals", "rougeL")
    assert (result.exit_code, result.stderr.count("nor a model alone costs 0.1%")) == (1, 1)
    result = cascade("calibrate", path, "--quality", "0.5", "-o", tmp_path / "my out.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith(f"serve deploy '{tmp_path}/my out.yaml'\n")
    assert cascade("check", tmp_path / "my out.yaml").exit_code == 0
    before = (tmp_path / "my out.yaml").read_bytes()
    again = ("calibrate", path, "--quality", "0.6", "-o", tmp_path / "my out.yaml")
    result = cascade(*again)
    assert (result.exit_code, "my out.yaml' exists" in result.stderr) == (1, True)
    assert (tmp_path / "my out.yaml").read_bytes() == before
    assert cascade(*again, "--force").exit_code == 0
    assert (tmp_path / "my out.yaml").read_bytes() != before
    records, before = path, path.read_bytes()
    result = cascade("calibrate", records, "--quality", "0.5", "-o", records, "--force")
    assert (result.exit_code, "is read by this command" in result.stderr, records.read_bytes()) == (1, True, before)
    result = cascade("calibrate", path, "--budget", "0.01")
    assert (result.exit_code, result.stderr.count("The budget is")) == (1, 1)
    assert cascade("calibrate", path).exit_code == 2


def test_in_a_pipe_a_line_over_a_group_is_no_longer_than_a_terminal(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    result = cascade("evaluate", path, "--signals", "exact", "--resamples", "100")
    [line] = [line for line in result.stdout.splitlines() if "─" in line]
    assert len(line) == 80


def test_where_no_threshold_is_near_the_table_says_what_is_deferred(tmp_path: Path) -> None:
    """Members agree on a quarter of the examples, so 60% cannot be deferred, nor 20%."""
    examples = questions(80)
    texts = {"small": "no", "tiny": "yes", "large": "yes"}
    columns = {
        model: [Generation("same" if k % 4 == 0 else text, "stop", 1, 1) for k in range(80)]
        for model, text in texts.items()
    }
    path = write_records(tmp_path / "r.jsonl", args(), examples, columns)
    result = evaluate(load_dataset(Records.load(path), Options(signals=("exact",), resamples=100)))
    [group] = result.groups
    [cascade] = group.cascades
    [table] = [table for table in tables(group, cascade) if table.title == "Agreed and wrong"]
    assert cascade.curves is not None
    rate = cascade.curves.rows[0].accepted[0.6].rate
    assert 0.65 < rate < 0.9
    assert table.rows[0][4].endswith(f"] at {rate:.0%}")
    assert table.rows[0][2].endswith("] at 0%")
    alone = cascade.curves.rows[0]
    nothing = replace(alone, accepted={rate: replace(at, worse=None) for rate, at in alone.accepted.items()})
    changed = replace(cascade, detail=replace(cascade.curves, rows=(nothing, *cascade.curves.rows[1:])))
    [table] = [table for table in tables(group, changed) if table.title == "Agreed and wrong"]
    assert table.rows[0][2:5] == ("none accepted",) * 3
