import math
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from serve_app.config import AppConfig
from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.core.types.prompt import ToolCall
from serve_app.errors import DataError, SignalError
from serve_app.evaluation.metrics.catalogue import METRICS, MetricCatalogue
from serve_app.evaluation.metrics.quality import qualities
from serve_app.evaluation.records.load import load_examples
from tests.evaluation.collecting import question, real_data
from tests.models.bleurt_process import BleurtProcess

OTHERS = [metric for metric in METRICS if metric != "bleurt"]
MODEL = {"engine": "replay", "parameters": 1e9, "answers": []}


def catalogue(**values: Any) -> MetricCatalogue:
    """Return the metrics of a config with these signals and metrics."""
    tiers = [{"models": ["a", "b"], "signal": "rougeL", "threshold": 0.5}, {"models": ["t"]}]
    models = dict.fromkeys("abt", MODEL)
    config = {"models": models, "cascades": {"default": {"tiers": tiers}}, **values}
    return MetricCatalogue(AppConfig.model_validate(config))


def generation(text: str) -> Generation:
    return Generation(text, "stop", 5, 2)


def quality(metric: str, text: str, *references: str) -> float:
    [value] = qualities(catalogue().build(metric), [question(1, references)], {"a": [generation(text)]})["a"]
    return value


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("exact_match", 0.0),
        ("f1", 0.75),
        ("accuracy", 0.0),
        # The reference tools' own numbers (sacrebleu 2.6.0 / 100, rouge-score 0.1.2) for the second reference.
        ("bleu", 0.3799178428),
        ("chrf", 0.6457794206),
        ("rouge1", 5 / 6),
        ("rouge2", 0.6),
        ("rougeL", 5 / 6),
    ],
)
def test_the_best_reference_counts(metric: str, value: float) -> None:
    answer, best = "the cat sat on the mat", "the cat is on the mat"
    assert (
        quality(metric, answer, "dogs bark", best)
        == quality(metric, answer, best, "dogs bark")
        == quality(metric, answer, best)
    )
    assert quality(metric, answer, "dogs bark", best) == pytest.approx(value, abs=1e-9)


def test_the_answer_is_the_hypothesis() -> None:
    answer, reference = "A teenager plays the trumpet.", "A teenager plays the trumpet on the field at a game."
    assert quality("bleu", answer, reference) == pytest.approx(
        sacrebleu.sentence_bleu(answer, [reference], use_effective_order=True).score / 100
    )
    assert quality("chrf", answer, reference) == pytest.approx(sacrebleu.sentence_chrf(answer, [reference]).score / 100)
    assert quality("bleu", answer, reference) != pytest.approx(quality("bleu", reference, answer))


@pytest.mark.parametrize("name", ["multi30k_fr_en.jsonl", "dialogsum.jsonl", "squad.jsonl"])
def test_real_answers_as_the_reference_tools_score_them(name: str) -> None:
    examples = load_examples([str(real_data(name))], limit=40)
    texts = [next(iter(next_example.references)) for next_example in examples[1:] + examples[:1]]
    answers: dict[str, list[Answer | None]] = {
        "wrong": [generation(text) for text in texts],
        "half": [generation(" ".join(example.references[0].split()[::2])) for example in examples],
    }
    rouge = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    scored = {
        name: qualities(catalogue().build(name), examples, answers)
        for name in ("bleu", "chrf", "rouge1", "rouge2", "rougeL")
    }
    for model, column in answers.items():
        for i, example in enumerate(examples):
            answer = column[i]
            assert isinstance(answer, Generation)
            hypothesis = answer.text
            for metric in ("rouge1", "rouge2", "rougeL"):
                expected = max(rouge.score(text, hypothesis)[metric].fmeasure for text in example.references)
                assert scored[metric][model][i] == pytest.approx(expected, abs=1e-12)
            bleu = [
                sacrebleu.sentence_bleu(hypothesis, [text], use_effective_order=True).score / 100
                for text in example.references
            ]
            assert scored["bleu"][model][i] == pytest.approx(max(bleu), abs=1e-12)
            chrf = [sacrebleu.sentence_chrf(hypothesis, [text]).score / 100 for text in example.references]
            assert scored["chrf"][model][i] == pytest.approx(max(chrf), abs=1e-12)


@pytest.mark.parametrize("metric", OTHERS)
def test_equal_empty_failed_and_missing(metric: str) -> None:
    text = "Paris is the capital of France"
    examples = [question(i, ["Rome", text]) for i in range(5)]
    answers: list[Answer | None] = [
        generation(text),
        generation(" \n"),
        Failure("timeout", "too slow"),
        None,
        generation("xyz"),
    ]
    values = qualities(catalogue().build(metric), examples, {"a": answers, "b": [generation(text)] * 5})
    assert values["a"][:3] == [1, 0, 0]
    assert math.isnan(values["a"][3])
    assert 0 <= values["a"][4] < 0.2
    assert values["b"] == [1] * 5


@pytest.mark.parametrize("metric", OTHERS)
def test_a_reference_without_text_is_no_answer(metric: str) -> None:
    assert quality(metric, "Paris", "", " ") == 0
    assert quality(metric, "", "") == 0


def test_tool_calls_are_judged_as_json() -> None:
    answer = Generation("", "tool_calls", 5, 2, tool_calls=(ToolCall("1", "find", '{"x": 1}'),))
    reference = '[{"arguments": {"x": 1}, "name": "find"}]'
    exact_match = catalogue().build("exact_match")
    assert qualities(exact_match, [question(1, [reference])], {"a": [answer]}) == {"a": [1.0]}


def test_an_example_without_references() -> None:
    with pytest.raises(DataError, match="The example 'q2' has no references"):
        qualities(catalogue().build("f1"), [question(1), question(2, [])], {"a": [generation("x")] * 2})


def bleurt_config(python: Path | None, checkpoint: Path) -> dict[str, Any]:
    environment = None if python is None else str(python)
    return {"kind": "bleurt", "weights": str(checkpoint), "environment": environment, "device": "cpu", "threads": 1}


def test_bleurt_in_its_environment(bleurt: BleurtProcess, bleurt_python: Path, bleurt_checkpoint: Path) -> None:
    config = bleurt_config(bleurt_python, bleurt_checkpoint)
    references = ["Paris is the capital of France, I believe.", "The capital of France is Paris."]
    examples = [question(i, references) for i in range(150)]
    texts = [f"This looks like a random sentence about {i % 140} cats." for i in range(150)]
    answers: dict[str, list[Answer | None]] = {
        "a": [generation(text) for text in texts],
        "b": [Failure("error", "no")] * 150,
    }
    metric = catalogue(signals={"bleurt": config}).build("bleurt")
    values = qualities(metric, examples, answers)
    expected = {
        text: max(bleurt.call("reference", [(text, reference) for reference in references])) for text in set(texts)
    }
    assert values["a"] == pytest.approx([expected[text] for text in texts], abs=1e-5)
    assert values["b"] == [0.0] * 150


def test_bleurt_without_an_environment(bleurt_checkpoint: Path, tmp_path: Path) -> None:
    def grade(python: Path | None) -> None:
        metric = catalogue(signals={"bleurt": bleurt_config(python, bleurt_checkpoint)}).build("bleurt")
        qualities(metric, [question(1)], {"a": [generation("Rome")]})

    with pytest.raises(SignalError, match="bleurt cannot be loaded here"):
        grade(None)
    with pytest.raises(SignalError, match=r"cannot be run \(No such file or directory\); `make bleurt-env` makes"):
        grade(tmp_path / "bin/python")
    (tmp_path / "python").write_text("#!/bin/sh\necho oh no >&2\nexit 3\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(SignalError, match="bleurt's process ended with code 3: oh no"):
        grade(tmp_path / "python")
