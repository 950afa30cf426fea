"""The evaluation view: a report, opened in the browser alone, and records, which the server evaluates."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import records, three_tier_records

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
    browser.find(FILE).send_keys(str(path))


def test_a_threshold_moves_along_the_curve(browser: Browser, served: Served, report: Path) -> None:
    body: Any = json.loads(report.read_text(encoding="utf-8"))
    [cascade] = body["groups"][0]["cascades"]
    row = next(row for row in cascade["rows"] if row["kind"] == "semantic" and row["agreement"] == "max")
    opened(browser, served, report)
    browser.find(".evaluation .chart canvas")
    last = len(row["curve"]["rate"]) - 1
    for index, threshold in ((last, "∞"), (0, "none leads here")):
        browser.select(".along", str(row["curve"]["rate"][index]))
        browser.until("document.querySelector('.facts dd').innerText === arguments[0]", threshold)
        facts = browser.run(
            "return [...document.querySelectorAll('.facts dd')].map(at => at.innerText.split('\\n')[0])"
        )
        assert facts[1] == ("100%" if index else "0%")
        assert facts[2] == f"{row['curve']['quality'][index]:.3f}"
    assert browser.findings() == []


def test_requests_are_on_the_side_of_the_threshold_on_which_they_are(
    browser: Browser, served: Served, report: Path
) -> None:
    opened(browser, served, report)
    browser.find(".request")
    browser.select(".along", "1")
    browser.until(
        "[...document.querySelectorAll('.request .badge:nth-of-type(2)')].every(at => at.innerText === 'deferred')"
    )


def test_two_are_shown_side_by_side(browser: Browser, served: Served, report: Path) -> None:
    opened(browser, served, report)
    browser.find(".evaluation")
    browser.click(".head .check input")
    browser.until("document.querySelectorAll('.evaluation canvas').length === 2")
    chosen = "[...document.querySelectorAll('.evaluation .choices label:nth-of-type(2) select')]"
    scored_by = browser.run(f"return {chosen}.map(at => at.selectedOptions[0].innerText)")
    assert scored_by[0] != scored_by[1]  # of the same cascade, which this report has alone


def test_the_keys_move_the_threshold_from_point_to_point(browser: Browser, served: Served, report: Path) -> None:
    opened(browser, served, report)
    slider = browser.find(".along")
    browser.select(".along", "0")
    before = browser.text(".facts")
    slider.send_keys(Keys.ARROW_RIGHT)
    browser.until("document.querySelector('.facts').innerText !== arguments[0]", before)
    slider.send_keys(Keys.ARROW_LEFT)
    browser.until("document.querySelector('.facts').innerText === arguments[0]", before)


def test_another_report_of_the_same_name_begins_anew(browser: Browser, served: Served, report: Path) -> None:
    opened(browser, served, report)
    browser.select(".choices label:nth-of-type(3) select", "flops")
    browser.until("document.querySelector('.chart').ariaLabel.includes('FLOPs')")
    browser.find(FILE).send_keys(str(report))
    browser.until("document.querySelector('.chart').ariaLabel === 'Quality against deferral rate'")


def test_a_row_without_the_chosen_cost_is_drawn_by_its_deferral_rate(
    browser: Browser, served: Served, report: Path, tmp_path: Path
) -> None:
    body: Any = json.loads(report.read_text(encoding="utf-8"))
    rows = body["groups"][0]["cascades"][0]["rows"]
    del rows[1]["curve"]["flops"]
    path = tmp_path / "report.json"
    path.write_text(json.dumps(body), encoding="utf-8")
    opened(browser, served, path)
    browser.find(".choices")
    browser.select(".choices label:nth-of-type(2) select", "0")
    browser.select(".choices label:nth-of-type(3) select", "flops")
    browser.until("document.querySelector('.chart').ariaLabel.includes('FLOPs')")
    browser.select(".choices label:nth-of-type(2) select", "1")
    browser.until("document.querySelector('.chart').ariaLabel === 'Quality against deferral rate'")
    assert browser.run("return document.querySelector('.choices label:nth-of-type(3) select').value") == "rate"


def test_a_file_that_is_dropped_beside_the_field_is_opened_too(browser: Browser, served: Served) -> None:
    browser.open(f"{served.url}/#/evaluation")
    browser.find(".drop")
    browser.run(
        "const carried = new DataTransfer(); carried.items.add(new File(['<html>'], 'report.json'));"
        "for (const name of ['dragover', 'drop']) window[name] = !document.querySelector('.top').dispatchEvent("
        "new DragEvent(name, {dataTransfer: carried, bubbles: true, cancelable: true}))"
    )
    assert browser.run("return [window.dragover, window.drop]") == [True, True]  # else the browser leaves the page
    assert "report.json cannot be shown" in browser.text(".fault-card")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of a cascade of three tiers."""
    folder = tmp_path_factory.mktemp("front")
    loaded = Records.load(three_tier_records(folder / "r.jsonl"))
    evaluation = evaluate(load_dataset(loaded, Options(signals=("rougeL",), resamples=50)))
    path = folder / "report.json"
    path.write_text(json.dumps(evaluation.to_json()), encoding="utf-8")
    return path


def test_a_cascade_of_three_tiers_has_a_front_to_move_along(browser: Browser, served: Served, front: Path) -> None:
    [cascade] = json.loads(front.read_text(encoding="utf-8"))["groups"][0]["cascades"]
    points = sorted(cascade["front"]["points"], key=lambda point: point["cost"])
    opened(browser, served, front)
    browser.find(".evaluation .chart canvas")
    assert "small + tiny → medium → large" in browser.text(".evaluation")
    browser.select(".along", "0")
    browser.until("document.querySelector('.facts dd').innerText === arguments[0]", f"{points[0]['alone']} alone")
    index = next(number for number, point in enumerate(points) if len(point["thresholds"]) == 2)
    for _ in range(index):
        browser.find(".along").send_keys(Keys.ARROW_RIGHT)
    browser.until(
        "document.querySelector('.facts dd').innerText === arguments[0]", points[index]["signal"].replace("->", "→")
    )
    facts = dict(zip(browser.texts(".facts dt"), browser.texts(".facts dd"), strict=True))
    assert facts["Quality"] == f"{points[index]['quality']:.3f}"
    assert {"Threshold of tier 1", "Threshold of tier 2", "Deferred by tier 1"} <= facts.keys()
    assert browser.findings() == []


def changed(report: Path, folder: Path, at: tuple[Any, ...], value: object) -> Path:
    """Write a copy of a report with another value at a path in its first cascade."""
    body: Any = json.loads(report.read_text(encoding="utf-8"))
    part = body["groups"][0]["cascades"][0]
    for name in at[:-1]:
        part = part[name]
    part[at[-1]] = value
    path = folder / "other.json"
    path.write_text(json.dumps(body), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("at", "value", "field"),
    [
        (("front", "points", 1), {}, "front.points[1]"),
        (("front", "unit"), "hours", "front.unit"),
        (("models",), {}, "models.large.quality.f1"),
    ],
)
def test_a_front_of_another_shape_is_refused(
    browser: Browser, served: Served, front: Path, tmp_path: Path, at: tuple[Any, ...], value: object, field: str
) -> None:
    opened(browser, served, changed(front, tmp_path, at, value))
    assert f"has no valid {field}." in browser.text(".fault-card")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
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
    assert sentence in browser.text(".fault-card")


@pytest.mark.parametrize(
    ("at", "value", "field"),
    [
        (("baselines",), None, "baselines.target"),
        (("tiers",), "small", "tiers"),
        (("rows", 1, "curve"), {}, "rows[1].curve.rate"),
        (("rows", 0, "curve", "quality"), [0.5], "rows[0].curve.quality"),
        (("rows", 0, "curve", "flops"), "many", "rows[0].curve.flops"),
        (("looked_at", "most"), [None], "looked_at.most"),
    ],
)
def test_a_report_of_another_shape_is_refused_and_the_next_one_shown(
    browser: Browser, served: Served, report: Path, tmp_path: Path, at: tuple[Any, ...], value: object, field: str
) -> None:
    opened(browser, served, changed(report, tmp_path, at, value))
    assert f"Synthetic: default has no valid {field}." in browser.text(".fault-card")
    browser.find(FILE).send_keys(str(report))
    browser.find(".evaluation .chart canvas")


def test_records_that_are_dropped_become_a_report(browser: Browser, served: Served, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(gzip.compress(records(tmp_path / "r.jsonl", 40).read_bytes()))
    browser.open(f"{served.url}/#/evaluation")
    browser.find(FILE)
    browser.run(
        "new MutationObserver(() => { window.worked ||= document.querySelector('.working .state') !== null; })"
        ".observe(document.querySelector('main'), {childList: true, subtree: true})"
    )
    browser.find(FILE).send_keys(str(path))
    browser.find(".evaluation .chart canvas")
    assert browser.run("return window.worked") is True
    assert browser.all(".working") == []
    assert path.name in browser.text(".head")
    assert "small + tiny → large" in browser.text(".evaluation")
    assert browser.findings() == []


def test_a_line_that_is_wrong_is_named(browser: Browser, served: Served, tmp_path: Path) -> None:
    path = records(tmp_path / "r.jsonl", 5)
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[3] = lines[3].replace('"kind": "example"', '"kind": "sample"')
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    opened(browser, served, path)
    assert browser.text(".fault-card") == (
        "r.jsonl cannot be shown\n\n"
        "records:4: not a line of records: kind: must be header, example or answer, not 'sample'."
    )


def test_an_archive_is_unpacked_no_further_than_allowed(browser: Browser, served: Served, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n" * 60_000_000, 1)[:-8])  # at its very end it is damaged
    opened(browser, served, path)
    assert "These records have more than 50 MB" in browser.text(".fault-card")


def test_half_an_event_hides_no_problem(browser: Browser, served: Served, tmp_path: Path) -> None:
    path = records(tmp_path / "r.jsonl", 5)
    browser.open(f"{served.url}/#/evaluation")
    browser.find(FILE)
    stream_text = 'data: {"report": {"gro\n\ndata: {"problem": "It takes too long."}\n\ndata: [DONE]\n\n'
    browser.run(f"window.fetch = async () => new Response({json.dumps(stream_text)})")
    browser.find(FILE).send_keys(str(path))
    assert browser.text(".fault-card") == "r.jsonl cannot be shown\n\nIt takes too long."


def test_a_damaged_archive_is_refused_in_words(browser: Browser, served: Served, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(b"not gzip")
    opened(browser, served, path)
    assert "it is not gzip, or it is damaged." in browser.text(".fault-card")


def test_an_evaluation_shows_its_steps_and_can_be_stopped(browser: Browser, served: Served, tmp_path: Path) -> None:
    path = records(tmp_path / "r.jsonl", 5)
    browser.open(f"{served.url}/#/evaluation")
    browser.find(FILE)
    browser.run(
        "window.fetch = async (to, {signal}) => new Response(new ReadableStream({start(out) {"
        '  out.enqueue(new TextEncoder().encode(\'data: {"step": "comparing", "examples": 5, "models": 3}\\n\\n\'));'
        "  signal.addEventListener('abort', () => out.error(new DOMException('', 'AbortError')));"
        "}}))"
    )
    browser.find(FILE).send_keys(str(path))
    browser.until(
        "document.querySelector('.working .state')?.innerText === 'Comparing the answers of 3 models to 5 requests'"
    )
    browser.click(".working button")
    browser.until("document.querySelector('.working') === null")
    assert browser.all(".fault-card") == []


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
    browser.find(".request")
    browser.run("for (const each of document.querySelectorAll('details')) each.open = true")
    assert browser.run("return [window.hacked ?? null, document.querySelectorAll('main img').length]") == [None, 0]
    assert attack in browser.run("return document.querySelector('main').textContent")
