"""The evaluation view: a report of `cascade evaluate`, opened in the browser alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import records

from .browser import Browser
from .serving import Served

FILE = ".drop input"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    evaluation = evaluate(
        load_dataset(Records.load(records(folder / "r.jsonl")), Options(signals=("rougeL",), resamples=50))
    )
    path = folder / "report.json"
    path.write_text(json.dumps(evaluation.to_json()), encoding="utf-8")
    return path


def opened(browser: Browser, served: Served, path: Path) -> None:
    browser.open(f"{served.url}/#/evaluation")
    browser.one(FILE).send_keys(str(path))


def test_a_threshold_moves_along_the_curve(browser: Browser, served: Served, report: Path) -> None:
    body: Any = json.loads(report.read_text(encoding="utf-8"))
    [cascade] = body["groups"][0]["cascades"]
    row = next(row for row in cascade["rows"] if row["kind"] == "semantic" and row["agreement"] == "max")
    opened(browser, served, report)
    browser.one(".evaluation .chart canvas")
    last = len(row["curve"]["rate"]) - 1
    for place, threshold in ((last, "∞"), (0, "none leads here")):
        browser.select(".along", str(place))
        browser.until("document.querySelector('.facts dd').innerText === arguments[0]", threshold)
        facts = browser.run(
            "return [...document.querySelectorAll('.facts dd')].map(at => at.innerText.split('\\n')[0])"
        )
        assert facts[1] == ("100%" if place else "0.0%")
        assert facts[2] == f"{row['curve']['quality'][place]:.3f}"
    assert browser.findings() == []


def test_requests_are_on_the_side_of_the_threshold_on_which_they_are(
    browser: Browser, served: Served, report: Path
) -> None:
    opened(browser, served, report)
    browser.one(".request")
    browser.select(".along", "9999")
    browser.until(
        "[...document.querySelectorAll('.request .badge:nth-of-type(2)')].every(at => at.innerText === 'deferred')"
    )


def test_two_are_shown_side_by_side(browser: Browser, served: Served, report: Path) -> None:
    opened(browser, served, report)
    browser.one(".evaluation")
    browser.click(".head .check input")
    browser.until("document.querySelectorAll('.evaluation canvas').length === 2")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"kind": "header"}\n{"kind": "example"}', "This is a records file."),
        ("<html>", "This is not JSON."),
        ('{"a": 1}', "it has no groups"),
        ('{"groups": [{"name": "x", "cascades": [], "problem": "No references."}]}', "No references."),
    ],
)
def test_another_file_is_refused_in_words(
    browser: Browser, served: Served, tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    opened(browser, served, path)
    assert sentence in browser.text(".fault")


def test_a_hostile_report_runs_nothing(browser: Browser, served: Served, report: Path, tmp_path: Path) -> None:
    attack = "<img src=x onerror='window.hacked = 1'>"
    body: Any = json.loads(report.read_text(encoding="utf-8"))
    [cascade] = body["groups"][0]["cascades"]
    cascade["id"] = cascade["target"] = attack
    for example in cascade["looked_at"]["most"]:
        example["inputs"] = {"question": attack}
        example["answers"] = {attack: {"text": attack, "compared": attack, "quality": 1.0}}
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps(body), encoding="utf-8")
    opened(browser, served, path)
    browser.one(".request")
    browser.run("for (const each of document.querySelectorAll('details')) each.open = true")
    assert browser.run("return [window.hacked ?? null, document.querySelectorAll('main img').length]") == [None, 0]
    assert attack in browser.run("return document.querySelector('main').textContent")
