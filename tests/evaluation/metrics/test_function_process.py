import sys
from pathlib import Path

import pytest

from serve_app.errors import SignalError
from serve_app.evaluation.metrics.function_process import score_answers
from serve_app.evaluation.metrics.quality import qualities
from serve_app.evaluation.records.example import Example
from tests.evaluation.collecting import question
from tests.evaluation.metrics.test_quality import catalogue, generation

SOURCE = """
def shared(answers, references, inputs, scale=1.0):
    assert all("question" in each for each in inputs)
    print("this is not an answer")
    return [scale * max(float(answer[0] == text[0]) for text in texts) for answer, texts in zip(answers, references)]

def short(answers, references, inputs):
    return [1.0]

def beyond(answers, references, inputs):
    return [0.5, 1.5]

def broken(answers, references, inputs):
    return 1 / 0
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_metrics.py").write_text(SOURCE)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_a_function_of_the_user_grades_all_answers_in_one_call() -> None:
    metrics = {"letter": {"metric": "own_metrics:shared", "environment": sys.executable, "options": {"scale": 0.5}}}
    examples = [question(1, ["Paris", "Rome"]), question(2, ["Oslo"])]
    answers = {"a": [generation("Pisa"), generation("Bonn")], "b": [generation("Riga"), generation("Oslo")]}
    expected = {"a": [0.5, 0.0], "b": [0.5, 0.5]}
    assert qualities(catalogue(metrics=metrics).build("letter"), examples, answers) == expected
    assert qualities(catalogue().build("own_metrics:shared"), examples[:1], {"a": [generation("Pisa")]}) == {"a": [1.0]}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_metrics:short", r"The metric 'own_metrics:short' returned 1 value for 2 answers\."),
        ("own_metrics:beyond", r"The metric 'own_metrics:beyond' returned 1\.5 for answer 1; qualities are 0 to 1\."),
        ("own_metrics:broken", r"The metric 'own_metrics:broken' failed: ZeroDivisionError: division by zero"),
        ("own_metrics:gone", r"The metric 'own_metrics:gone' cannot be imported: "),
        ("nowhere:gone", r"The metric 'nowhere:gone' cannot be imported: No module named 'nowhere'"),
    ],
)
def test_a_function_that_cannot_grade(name: str, message: str) -> None:
    with pytest.raises(SignalError, match=message):
        score_answers(name, ["a", "b"], [["a"], ["b"]], [{}, {}])


PACKAGES = """
class BERTScorer:
    def __init__(self, model_type, num_layers, batch_size):
        assert (model_type, num_layers) == ("here", 2)

    def score(self, answers, references):
        best = [max(len(set(a) & set(r)) / 3 for r in texts) for a, texts in zip(answers, references)]
        return None, None, Scores(best)

class Scores(list):
    def tolist(self):
        return list(self)

def download_model(name):
    return f"downloaded {name}"

def load_from_checkpoint(path):
    assert path == "downloaded Unbabel/wmt22-comet-da"
    return Checkpoint()

class Checkpoint:
    def predict(self, rows, batch_size, gpus, progress_bar):
        self.scores = [0.9 if row["mt"] == row["ref"] and row["src"] == "Hallo" else -0.1 for row in rows]
        return self
"""


def test_learned_metrics_call_their_packages_as_these_document(folder: Path) -> None:
    """The packages need weights of a hub: doubles of theirs, with the documented calls alone."""
    for package in ("bert_score", "comet"):
        (folder / f"{package}.py").write_text(PACKAGES)
    metrics = catalogue(metrics={"bs": {"metric": "bertscore", "options": {"model": "here", "layers": 2}}})
    answers = {"a": [generation("abcd")], "b": [generation("a")]}
    graded = qualities(metrics.build("bs"), [question(1, ["ab", "abcx"])], answers)
    assert graded == {"a": [1.0], "b": [pytest.approx(1 / 3)]}
    example = Example(
        "1", "translation", "", {"source_lang": "de", "target_lang": "en", "text": "Hallo"}, ("Hi", "Hello")
    )
    answers = {"a": [generation("Hello")], "b": [generation("Bye")]}
    assert qualities(catalogue().build("comet"), [example], answers) == {"a": [0.9], "b": [0.0]}
    with pytest.raises(SignalError, match="it grades the task translation only"):
        qualities(catalogue().build("comet"), [question(1)], {"a": [generation("x")]})


def test_a_learned_metric_without_its_package() -> None:
    with pytest.raises(SignalError, match="learned:comet' failed: ModuleNotFoundError: No module named 'comet'"):
        qualities(catalogue().build("comet"), [question(1)], {"a": [generation("x")]})
