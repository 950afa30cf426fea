"""The whole evaluation of synthetic records, compared with what plain arithmetic says."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from serve_app.core.types.answer import Answer
from serve_app.errors import UsageError
from serve_app.evaluation.analysis.dataset import hashed_share
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.evaluate.results import Evaluation
from serve_app.evaluation.metrics.quality import Metric, by_pairs, qualities
from serve_app.evaluation.metrics.squad import f1
from tests.evaluation.evaluate.evaluating import generation, load, only, row
from tests.evaluation.synthetic import answers, args, questions, records, write_records


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return records(tmp_path_factory.mktemp("records") / "records.jsonl", 150, ("small", "tiny", "odd"))


@pytest.fixture(scope="module")
def body(path: Path) -> dict[str, Any]:
    return evaluate(load(path)).to_json()


def test_it_is_plain_json(body: dict[str, Any]) -> None:
    assert json.loads(json.dumps(body, allow_nan=False)) == body


def test_parts_are_disjoint_and_by_id(path: Path) -> None:
    dataset = load(path)
    fit, test = dataset.parts(dataset.groups[0].index, 1 / 3)
    ids = [example.id for example in dataset.examples]
    assert sorted([*fit, *test]) == list(range(150))
    assert [ids[k] for k in fit] == [id_ for id_ in ids if hashed_share(id_, 0) < 1 / 3]


def test_models_alone(path: Path, body: dict[str, Any]) -> None:
    dataset = load(path)
    _, test = dataset.parts(dataset.groups[0].index, 1 / 3)
    values = qualities(Metric("f1", "f1", by_pairs(f1)), dataset.examples, {"tiny": dataset.replay.answers("tiny")})[
        "tiny"
    ]
    model = only(body)["models"]["tiny"]
    assert model["quality"]["f1"] == pytest.approx(fmean(values[k] for k in test))
    spent = [dataset.replay.answers("tiny")[k] for k in test]
    tokens = fmean(answer.prompt_tokens + answer.completion_tokens for answer in spent if answer)
    assert model["cost"]["flops"] == pytest.approx(2 * 1e8 * tokens)
    assert model["cost"]["usd"] is None  # no model has a price
    assert only(body)["target"] == "large"


def test_random_is_the_mean_of_both_qualities(body: dict[str, Any]) -> None:
    target = only(body)["baselines"]["target"][0]
    for model, facts in only(body)["baselines"]["members"].items():
        assert facts["random"][0] == pytest.approx((facts["quality"][0] + target) / 2)
        assert facts["less_target"][0] == pytest.approx(facts["quality"][0] - target)
        assert row(body, kind="chow_member", signal="chow_avg", models=[model])["random"] == facts["random"]


def test_a_model_named_0_keeps_its_own_random_baseline(tmp_path: Path) -> None:
    """Rows are numbered from 0, too."""
    examples = questions(60)
    values = args(("small", "tiny"))
    values["models"]["0"] = values["models"].pop("small")
    values["cascades"]["default"]["tiers"][0]["models"] = ["0", "tiny"]
    columns = answers(["small", "tiny", "large"], examples)
    named = {"0": columns.pop("small"), **columns}
    cascade = only(evaluate(load(write_records(tmp_path / "r.jsonl", values, examples, named))))
    facts = cascade["baselines"]["members"]["0"]
    expected = (facts["quality"][0] + cascade["baselines"]["target"][0]) / 2
    assert facts["random"][0] == pytest.approx(expected, abs=1e-7)
    assert cascade["rows"][0]["random"][0] != pytest.approx(expected)  # the row keeps the selected answers


def test_gains_add_up(body: dict[str, Any]) -> None:
    for entry in only(body)["rows"]:
        assert entry["over_random"][0] == pytest.approx(entry["auc"][0] - entry["random"][0], abs=1e-7)
        assert entry["over_random_best"][0] == pytest.approx(
            entry["by_selection"][0] + entry["over_random"][0], abs=1e-7
        )
        assert entry["auc"][1] <= entry["auc"][0] <= entry["auc"][2]
        assert entry["auc"][0] <= only(body)["baselines"]["oracle"][0]
        if entry["partial_oracle"]:
            assert entry["partial_oracle"][0] >= entry["auc"][0]


def test_signals_that_know_something_beat_random(body: dict[str, Any]) -> None:
    assert row(body, kind="semantic", signal="rougeL", agreement="max")["over_random"][1] > 0
    assert row(body, kind="chow_member", signal="chow_sum", models=["small"])["over_random"][1] > 0


def test_the_gap_that_is_recovered_is_that_between_the_best_member_and_the_target(body: dict[str, Any]) -> None:
    base = only(body)["baselines"]
    weak, strong = base["members"]["small"]["quality"][0], base["target"][0]
    assert base["best_member"] == "small"
    for entry in only(body)["rows"]:
        assert entry["apgr"] == pytest.approx((entry["auc"][0] - weak) / (strong - weak), abs=1e-6)
        assert entry["cpt"]["0.5"] <= entry["cpt"]["0.8"] <= 1


def test_a_fixed_member_is_never_selected_for_another(body: dict[str, Any]) -> None:
    entry = row(body, kind="fixed", signal="rougeL")
    assert (entry["selection"], entry["by_selection"][0]) == ("small", 0)
    assert entry["shares"] == {"small": 1, "tiny": 0, "odd": 0}


def test_another_member_may_be_the_fixed_one(path: Path) -> None:
    assert row(evaluate(load(path, fixed="tiny", signals=("exact",))), kind="fixed")["selection"] == "tiny"


def test_of_the_quantiles_one_is_chosen_beforehand_and_one_is_the_papers(body: dict[str, Any]) -> None:
    ensemble = ["small", "tiny", "odd"]
    for models, agreement in (
        *((["small"], "mean"), (["tiny"], "mean"), (["odd"], "mean")),
        *((ensemble, "mean"), (ensemble, "max")),
    ):
        quantiles = [
            entry
            for entry in only(body)["rows"]
            if entry["signal"].startswith("chow_quantile")
            and (entry["models"], entry["agreement"]) == (models, agreement)
        ]
        preset, best = sorted(quantiles, key=lambda entry: entry["maximum"])
        assert (preset["maximum"], best["maximum"]) == (False, True)
        assert best["auc"][0] >= preset["auc"][0]
        assert best["cheapest"] is None


def test_token_level_ensembles_have_both_policies(body: dict[str, Any]) -> None:
    """What the mean keeps, the maximum keeps, too; only when they defer differs."""
    for signal in ("chow_sum", "chow_avg"):
        most, mean = (row(body, kind="chow_ensemble", signal=signal, agreement=name) for name in ("max", "mean"))
        assert most["selected_quality"] == mean["selected_quality"]
        assert most["auc"][0] != pytest.approx(mean["auc"][0])


def test_budgets(body: dict[str, Any]) -> None:
    entry = row(body, kind="semantic", signal="rougeL", agreement="max")
    flops = entry["at"]["flops"]
    models = only(body)["models"]
    members = sum(models[name]["cost"]["flops"] for name in ("small", "tiny", "odd"))
    assert flops["target"] == pytest.approx(models["large"]["cost"]["flops"])
    assert members / flops["target"] < flops["floor"] < 0.4
    assert flops["bought"]["0.1"] is None  # the members alone cost more
    assert flops["bought"]["0.6"]["point"]["x"] <= 0.6 * flops["target"] * (1 + 1e-9)
    assert "usd" not in entry["at"]  # no model has a price
    assert entry["at"]["latency_s"]["floor"] > 1  # members that are as slow as the target save no time


def test_curves_have_their_ends(body: dict[str, Any]) -> None:
    for entry in only(body)["rows"]:
        curve = entry["curve"]
        assert (curve["rate"][0], curve["rate"][-1]) == (0, 1)
        assert curve["quality"][0] == pytest.approx(entry["selected_quality"])
        assert curve["quality"][-1] == pytest.approx(only(body)["baselines"]["target"][0])
        assert curve["threshold"][-1] == "inf"
        assert len({len(values) for values in curve.values()}) == 1


def test_every_row_is_signed(body: dict[str, Any]) -> None:
    signatures = [entry["signature"] for entry in only(body)["rows"] if not entry["maximum"]]
    assert len(set(signatures)) == len(signatures)
    digest = body["source"]["data_sha256"][:12]
    assert all(signature.startswith(f"data:{digest}|group:Synthetic|n:") for signature in signatures)


def test_what_is_looked_at_is_sorted_by_agreement(body: dict[str, Any]) -> None:
    shown = only(body)["looked_at"]
    most, least = ([example["agreement"] for example in shown[name]] for name in ("most", "least"))
    assert most == sorted(most, reverse=True)
    assert least == sorted(least)
    assert most[-1] > least[-1]
    assert set(shown["most"][0]["answers"]) == {"small", "tiny", "odd", "large"}


def test_the_seed_decides_everything(path: Path, body: dict[str, Any]) -> None:
    def timeless(report: Evaluation | dict[str, Any]) -> Any:  # the scorer's seconds are measured
        return [(entry["auc"], entry["by_selection"], entry["signature"]) for entry in only(report)["rows"]]

    assert timeless(evaluate(load(path))) == timeless(body)
    assert timeless(evaluate(load(path, seed=1))) != timeless(body)


def test_nothing_is_flagged_if_the_target_is_better_on_what_is_deferred(body: dict[str, Any]) -> None:
    entry = row(body, kind="semantic", signal="rougeL", agreement="max")
    assert entry["accepted"]["0.4"]["gain"][1] > 0
    assert entry["flags"] == []


def test_the_best_member_is_chosen_on_the_fit_examples(tmp_path: Path) -> None:
    """The small one is right on them, the tiny one on those that are reported."""
    examples = questions(120)
    fit = [hashed_share(example.id, 0) < 1 / 3 for example in examples]
    columns: dict[str, list[Answer]] = {
        "small": [
            generation(example.references[0] if first else "x") for example, first in zip(examples, fit, strict=True)
        ],
        "tiny": [
            generation("y" if first else example.references[0]) for example, first in zip(examples, fit, strict=True)
        ],
        "large": [generation(example.references[0]) for example in examples],
    }
    path = write_records(tmp_path / "r.jsonl", args(signal="exact"), examples, columns)
    cascade = only(evaluate(load(path, signals=("exact",))))
    members = cascade["baselines"]["members"]
    assert cascade["baselines"]["best_member"] == "small"
    assert members["tiny"]["random"][0] == 1
    for entry in cascade["rows"]:
        assert entry["by_selection"][0] == pytest.approx(entry["random"][0] - members["small"]["random"][0])
        assert entry["over_random_best"][0] == pytest.approx(entry["auc"][0] - members["small"]["random"][0])


def test_a_signal_is_the_metric_under_any_name_and_in_any_mix(tmp_path: Path) -> None:
    values = args(signal="mine")
    values["signals"] = {
        "mine": {"kind": "rougeL", "stemmer": True},
        "mixed": {"kind": "mix", "parts": [{"signal": "mine"}, {"signal": "rouge1"}]},
        "by_length": {"kind": "by_length", "cases": [{"signal": "exact", "max_characters": 9}, {"signal": "mixed"}]},
        "unlike": {"kind": "mix", "parts": [{"signal": "exact"}, {"signal": "rouge1"}]},
    }
    examples = questions(40)
    path = write_records(tmp_path / "r.jsonl", values, examples, answers(["small", "tiny", "large"], examples))
    evaluation = evaluate(load(path, metrics=("rougeL",), signals=("mine", "mixed", "by_length", "unlike", "exact")))
    assert evaluation.to_json()["groups"][0]["metrics"] == ["rougeL", "f1"]
    flags = {
        entry["signal"]: [flag for flag in entry["flags"] if "metric" in flag]
        for entry in only(evaluation)["rows"]
        if entry["kind"] == "semantic"
    }
    part = "The signal is in part the quality metric (rougeL): look at another metric, too."
    assert flags == {
        "mine": ["The signal is also the quality metric (rougeL): look at another metric, too."],
        "mixed": [part],
        "by_length": [part],
        "unlike": [],
        "exact": [],
    }


def test_ad_hoc_cascades(path: Path) -> None:
    cascade = only(evaluate(load(path, tiers=(("tiny", "odd"),), target="small")))
    assert (cascade["id"], cascade["tiers"]) == ("tiny+odd->small", [["tiny", "odd"], ["small"]])


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"tiers": ((),), "target": "large"}, UsageError, "A cascade needs a member beside its target"),
        ({"cascades": ("defalt",)}, UsageError, "no cascade 'defalt'. Did you mean 'default'?"),
        ({"tiers": (("tiny",),)}, UsageError, "needs both its members and a target"),
        ({"tiers": (("tiny", "ody"),), "target": "large"}, UsageError, "no model 'ody'. Did you mean 'odd'?"),
        ({"tiers": (("tiny", "large"),), "target": "large"}, UsageError, "A tier asks a model once"),
        ({"fixed": "ody"}, UsageError, "--fixed: no tier has a member 'ody'. Did you mean 'odd'?"),
        ({"fixed": "large"}, UsageError, "--fixed: no tier has a member 'large'. Available: odd, small, tiny."),
        (
            {"cascades": ("default",), "tiers": (("tiny",),), "target": "large"},
            UsageError,
            "--cascade names one of the config.*not both",
        ),
        ({"signals": ("rogueL",)}, UsageError, "no signal 'rogueL'. Did you mean 'rougeL'?"),
    ],
)
def test_what_is_not_in_the_records(path: Path, options: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        load(path, **options)


def test_examples_that_were_not_asked_are_left_out(tmp_path: Path) -> None:
    examples = questions(30)
    columns = answers(["small", "tiny", "large"], examples)
    path = write_records(tmp_path / "r.jsonl", args(), examples, columns)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-4]))
    dataset = load(path)
    assert (len(dataset), dataset.source.left_out) == (26, 4)
