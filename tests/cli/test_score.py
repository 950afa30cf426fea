"""`cascade score` and `cascade signals`, as a user runs them, against the core and the signals themselves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.core.types.answer import Generation
from serve_app.core.types.policy import Tier
from serve_app.signals import DEFAULT_SIGNALS, build_signal
from serve_app.signals.facts import FACTS
from tests.cli.in_process import cascade
from tests.core.deciding.judging import agreed
from tests.patience import PATIENCE_S

TEXTS = {
    "a.txt": "The capital of France is Paris.\n",
    "b.txt": "Paris is the capital of France.",
    "c.txt": "I think it is Rome.\r\n",
}
CONFIG = """
applications:
  - name: cascade
    import_path: serve_app.app:build_app
    args:
      models: {one: &replay {engine: replay, default: x}, two: *replay, three: *replay}
      signals:
        rougeL: {kind: rougeL, stemmer: true}
        half: {kind: mix, parts: [{signal: rougeL}, {signal: exact, weight: 3}]}
        sized: {kind: by_length, cases: [{signal: exact, max_characters: 10}, {signal: rougeL}]}
      cascades:
        default: {tiers: [{models: [one, two], signal: half, threshold: 0.5}, {models: [three]}]}
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in TEXTS.items():
        Path(name).write_bytes(text.encode())
    Path("empty.txt").touch()
    Path("latin.txt").write_bytes(b"caf\xe9")
    Path("config.yaml").write_text(CONFIG)


def score(*arguments: str, stdin: str = "") -> str:
    result = cascade("score", *arguments, stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_what_people_see() -> None:
    lines = score("--signal", "rougeL", *TEXTS, "--threshold", "0.5").splitlines()
    assert [line.rstrip() for line in lines] == [
        "rougeL       1      2      3  output score",
        "1 a.txt  1.000  0.667  0.182         0.424",
        "2 b.txt  0.667  1.000  0.182         0.424",
        "3 c.txt  0.182  0.182  1.000         0.182",
        "",
        "agreement  0.424 (max of the output scores)",
        "selected   a.txt",
        "decision   deferred: agreement 0.424 < threshold 0.500",
    ]


@pytest.mark.parametrize("agreement", ["max", "mean"])
@pytest.mark.parametrize("direction", ["both", "hypothesis", "reference"])
def test_the_same_as_the_core(agreement: str, direction: str) -> None:
    body = json.loads(score("--signal", "bleu", *TEXTS, "--agreement", agreement, "--direction", direction, "--json"))
    texts = [text.strip() for text in TEXTS.values()]
    matrix = build_signal(DEFAULT_SIGNALS["bleu"]).similarities([texts])[0].similarities
    tier = Tier(tuple(TEXTS), "bleu", agreement=agreement, direction=direction)  # type: ignore[arg-type]
    judged = agreed(tier, [Generation(text, "stop", 0, 0) for text in texts], matrix)
    assert judged.selected is not None
    assert body == {
        "signal": "bleu",
        "matrix": [list(row) for row in matrix],
        "output_scores": list(judged.output_scores),
        "agreement": judged.value,
        "selected": list(TEXTS)[judged.selected],
    }


@pytest.mark.parametrize(("threshold", "accepted"), [("0.9", True), ("1.0", True), ("1.1", False)])
def test_a_threshold_adds_the_decision(threshold: str, accepted: bool) -> None:
    body = json.loads(
        score("--signal", "exact", "a.txt", "-", "--threshold", threshold, "--json", stdin=TEXTS["a.txt"])
    )
    assert (body["threshold"], body["accepted"], body["selected"]) == (float(threshold), accepted, "a.txt")


def test_the_newline_at_the_end_of_a_file_is_no_part_of_the_text() -> None:
    Path("config.yaml").write_text(CONFIG.replace("kind: rougeL, stemmer: true", "kind: chrf, whitespace: true"))
    Path("same.txt").write_bytes(TEXTS["c.txt"].strip().encode())
    body = json.loads(score("--config", "config.yaml", "--signal", "rougeL", "c.txt", "same.txt", "--json"))
    assert body["agreement"] == 1.0


def test_signals_of_a_config() -> None:
    stemmed, half, sized = (
        json.loads(score("--config", "config.yaml", "--signal", name, *TEXTS, "--json"))
        for name in ("rougeL", "half", "sized")
    )
    assert half["matrix"][0][1] == pytest.approx(stemmed["matrix"][0][1] / 4)
    assert sized["matrix"] == stemmed["matrix"]
    assert (half["signal"], sized["signal"]) == ("half", "sized")


def test_files_without_text() -> None:
    Path("blank.txt").write_text(" \n")
    body = json.loads(score("--signal", "exact", "empty.txt", "blank.txt", "--json"))
    assert (body["selected"], body["agreement"]) == (None, 0.0)
    shown = score("--signal", "exact", "empty.txt", "blank.txt", "--threshold", "0")
    assert "selected   none, for no file has a text\ndecision   deferred: nothing to return" in shown
    body = json.loads(score("--signal", "exact", "empty.txt", "a.txt", "--json"))
    assert body["selected"] == "a.txt"


def test_names_are_no_markup() -> None:
    Path("[red]x.txt").write_text("Paris")
    assert "1 [red]x.txt" in score("--signal", "exact", "[red]x.txt", "a.txt")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Agreement takes at least two texts"),
        (("a.txt",), "Agreement takes at least two texts"),
        (("a.txt", "x.txt"), "The file 'x.txt' cannot be read: No such file or directory."),
        (("a.txt", "."), "The file '.' cannot be read: Is a directory."),
        (("a.txt", "latin.txt"), "latin.txt: not UTF-8 at byte 4."),
        (("-", "-"), "Standard input can be read only once"),
        (("a.txt", "b.txt", "--signal", "rougel"), "There is no signal 'rougel'. Did you mean 'rougeL'? Available: "),
        (("a.txt", "b.txt", "--signal", "half"), "There is no signal 'half'."),
        (("a.txt", "b.txt", "--signal", "chow_avg"), "'chow_avg' needs a model's log-probabilities"),
    ],
)
def test_mistakes_are_sentences(arguments: tuple[str, ...], sentence: str) -> None:
    result = cascade("score", "--signal", "exact", *arguments)
    is_about_a_file = arguments[-1:] in [("x.txt",), (".",), ("latin.txt",)]
    assert (result.exit_code, result.stdout) == (1 if is_about_a_file else 2, "")
    assert result.stderr.startswith(f"cascade: {sentence}")
    assert "Traceback" not in result.stderr


def test_a_config_that_is_not_there() -> None:
    result = cascade("score", "--config", "nowhere.yaml", "a.txt", "b.txt")
    assert (result.exit_code, result.stderr) == (2, "cascade: There is no config file 'nowhere.yaml'.\n")


def test_a_signal_that_is_not_installed() -> None:
    if FACTS["bleurt"].installed:
        pytest.skip("bleurt is installed here")
    result = cascade("score", "--signal", "bleurt", "a.txt", "b.txt")
    assert result.exit_code == 1
    assert result.stderr.startswith("cascade: 'bleurt' is not installed: make bleurt-env")


@pytest.mark.models
def test_sbert_says_that_it_fetches_and_keeps_stdout_clean() -> None:
    command = [sys.executable, "-m", "serve_app.cli", "score"]  # by sbert, with the quickstart's weights
    result = subprocess.run(
        [*command, *TEXTS, "--json"], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    body = json.loads(result.stdout)
    assert body["matrix"][0][1] > 0.9 > body["matrix"][0][2]


def test_signals_one_a_line_in_a_pipe() -> None:
    result = cascade("signals")
    assert (result.exit_code, result.stderr) == (0, "")
    header, *lines = result.stdout.splitlines()
    assert header.split()[0] == "signal"
    assert [line.split()[0] for line in lines] == list(FACTS)
    assert "\x1b" not in result.stdout
    assert all(facts.choose in line for facts, line in zip(FACTS.values(), lines, strict=True))


def test_signals_as_markdown() -> None:
    result = cascade("signals", "--markdown")
    assert result.stdout.startswith("| signal | what it measures | range |")
    assert len(result.stdout.splitlines()) == len(FACTS) + 2


def test_a_view_shows_what_is_compared() -> None:
    view = "{take: {after: Answer}, normalise: [numbers]}"
    Path("one.txt").write_text("I add. Answer $1,200.0")
    Path("two.txt").write_text("1200")
    lines = score("--signal", "exact", "one.txt", "two.txt", "--compare", view).splitlines()
    assert lines[4:] == ["compared   1 '1200'", "compared   2 '1200'", *AGREED]
    body = json.loads(score("--signal", "exact", "one.txt", "two.txt", "--compare", view, "--json"))
    assert (body["compared"], body["agreement"]) == (["1200", "1200"], 1)


AGREED = ["agreement  1.000 (max of the output scores)", "selected   one.txt"]


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ("{take: [}", "--compare: '{take: [}' is not YAML; write '{take: last_number}'."),
        (
            "{take: numbers}",
            "--compare: take: cannot be 'numbers'. Did you mean 'last_number'? Available: boxed, ",
        ),
    ],
)
def test_a_view_that_cannot_be_used_is_explained(view: str, message: str) -> None:
    result = cascade("score", "--signal", "exact", "a.txt", "b.txt", "--compare", view)
    assert result.exit_code == 2
    assert " ".join(result.stderr.split()).removeprefix("cascade: ").startswith(message)
