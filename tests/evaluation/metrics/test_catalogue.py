import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.errors import CascadeError, ConfigError, UsageError
from serve_app.evaluation.metrics.catalogue import MetricCatalogue, check_labels, metrics_for
from serve_app.evaluation.metrics.quality import qualities
from tests.evaluation.collecting import question
from tests.evaluation.metrics.test_quality import catalogue, generation

ROOT = Path(__file__).parents[3]


def value(metrics: MetricCatalogue, name: str, text: str, reference: str) -> float:
    [quality] = qualities(metrics.build(name), [question(1, [reference])], {"a": [generation(text)]})["a"]
    return quality


def test_rouge_2_of_the_papers_table_5() -> None:
    paper = ROOT.parent / "shared" / "paper" / "004_957b223d6c83ca6d.txt"
    if not paper.exists():
        pytest.skip("../shared/paper is not there")
    lines = paper.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith(("<p>The Dallas Mavericks", "<p>NBA player Richard"))]
    truth, *summaries = [re.sub("</?p>", "", cell).strip() for row in rows for cell in row.split("\t")]
    values = [value(catalogue(), "rouge2", summary, truth) for summary in summaries]
    assert [float(f"{score:.4g}") for score in values] == [0.4583, 0.2656, 0.09346]


def test_a_rouge_metric_stems_unless_the_config_has_a_signal_of_its_name() -> None:
    text, reference = "cats running", "cat runs"
    assert value(catalogue(), "rouge1", text, reference) == 1
    assert value(catalogue(signals={"rouge1": {"kind": "rouge1"}}), "rouge1", text, reference) == 0


def test_a_metric_takes_the_options_of_the_signal_of_its_name() -> None:
    signals = {"chrf": {"kind": "chrf", "lowercase": True}}
    assert value(catalogue(), "chrf", "PARIS", "paris") == 0
    assert value(catalogue(signals=signals), "chrf", "PARIS", "paris") == 1


def test_any_signal_without_an_encoder_grades() -> None:
    signals = {"stems": {"kind": "rougeL", "stemmer": True}}
    assert value(catalogue(signals=signals), "stems", "cats", "cat") == 1
    with pytest.raises(UsageError, match="There is no metric 'sbert'"):
        catalogue().build("sbert")


@pytest.mark.parametrize(
    ("kind", "values", "name", "message"),
    [
        (UsageError, {}, "rouge", r"There is no metric 'rouge'\. Did you mean 'rouge"),
        (
            ConfigError,
            {"metrics": {"mine": {"metric": "f_1"}}},
            "mine",
            r"metrics\.mine\.metric: There is no metric 'f_1'\. Did you mean 'f1'\?",
        ),
    ],
)
def test_an_unknown_metric_is_named_with_the_available_ones(
    kind: type[CascadeError], values: dict, name: str, message: str
) -> None:
    with pytest.raises(kind, match=message):
        catalogue(**values).build(name)


def test_a_metric_of_the_config_grades_by_the_one_that_it_names() -> None:
    metrics = catalogue(metrics={"mine": {"metric": "triviaqa_em", "tasks": ["closed_book_qa"]}})
    assert value(metrics, "mine", "Jean Paul", "jean-paul") == 1
    assert metrics.build("mine").binary
    assert metrics.own_for({"closed_book_qa", "triviaqa"}) == ("mine",)
    assert metrics.own_for({"translation"}) == ()


@pytest.mark.parametrize(
    ("compare", "answer", "reference", "quality"),
    [
        ({"take": "boxed", "normalise": ["latex"]}, r"So it is $\boxed{\dfrac{1}{2}}$.", r"\frac{1}{2}", 1.0),
        ({"take": "last_number", "normalise": ["numbers"]}, "She pays $1,200.00 in all.", "# 1200", 1.0),
        ({"take": {"json": "answer"}, "normalise": ["python_literal"]}, '{"answer": "[1,  2]"}', "[1, 2]", 1.0),
        ({"take": "boxed", "otherwise": "empty"}, r"It is \boxed{1200}.", "1200", 1.0),
        ({"take": "boxed", "otherwise": "empty"}, "It is 1200.", "1200", 0.0),
    ],
)
def test_what_is_graded_is_what_the_view_takes(compare: Any, answer: str, reference: str, quality: float) -> None:
    metrics = catalogue(metrics={"final": {"metric": "exact", "compare": compare}})
    assert value(metrics, "final", answer, reference) == quality


@pytest.mark.parametrize("field", [{"options": {"word_order": 2}}, {"environment": "python"}])
def test_options_that_a_metric_cannot_take_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="has no effect on 'chrf'; functions, bertscore and comet take it"):
        catalogue(metrics={"mine": {"metric": "chrf", **field}})


def test_given_scores_are_not_graded() -> None:
    metrics = MetricCatalogue(catalogue()._config, ["preference"])
    assert metrics.is_score("preference")
    assert not metrics.is_score("f1")


@pytest.mark.parametrize(
    ("requested", "labels", "expected"),
    [
        (["f1", "exact_match"], {"squad"}, ("f1", "exact_match")),
        (["translation=bleurt", "squad=accuracy", "squad=f1"], {"squad", "reading_comprehension"}, ("accuracy", "f1")),
        (["translation=bleurt", "chrf"], {"translation"}, ("bleurt",)),
        (["translation=bleurt", "chrf"], {"custom"}, ("chrf",)),
        (["translation=bleurt"], {"custom"}, ()),
    ],
)
def test_metrics_by_task_or_data_set(requested: list[str], labels: set[str], expected: tuple[str, ...]) -> None:
    assert metrics_for(requested, labels) == expected


def test_a_metric_for_a_task_that_the_records_do_not_have() -> None:
    check_labels(["squad=f1", "chrf"], ["squad"])
    with pytest.raises(UsageError, match=r"--metric sqad=f1: no task or data set 'sqad'\. Did you mean 'squad'\?"):
        check_labels(["sqad=f1"], ["squad"])
