"""Views offline: matrices of what each view shows, and the same decisions as online."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.config import AppConfig
from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.core.types.prompt import Message, Prompt
from serve_app.core.types.scores import Scores
from serve_app.errors import UsageError
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.records.file import Records
from serve_app.signals import CompositeScorer, build_signal
from tests.core.scripted import Fake
from tests.evaluation.synthetic import args, questions, write_records

ANSWERED = ["It is 18.0", "$18", "so 7", "none", "\\boxed{7}", "```\n7\n```", "", "It is 7"]
VIEW = {"strip": ["code_fences"], "take": ["boxed", "last_number"], "normalise": ["numbers"]}
MIXED = {"kind": "mix", "parts": [{"signal": "rouge1"}, {"signal": "exact", "weight": 3}]}


def config() -> dict[str, Any]:
    values = args(["small", "tiny", "odd"], signal="exact", threshold=0.5)
    tier, target = values["cascades"]["default"]["tiers"]
    values["signals"] = {"mixed": MIXED, "strict": {"kind": "veto", "signal": "rouge1"}}
    values["cascades"] = {
        "default": {"tiers": [tier, target]},
        "viewed": {"tiers": [tier | {"compare": VIEW}, target]},
        "strict": {"tiers": [tier | {"signal": "strict", "threshold": 0.4}, target]},
        "mixed": {"tiers": [tier | {"compare": VIEW, "signal": "mixed", "agreement": "mean"}, target]},
    }
    return values


def columns() -> dict[str, list[Answer]]:
    """Return every pair of answers, and some failures."""
    pairs = [(first, second) for first in ANSWERED for second in ANSWERED]
    small, tiny = ([Generation(text, "stop", 5, 5) for text in column] for column in zip(*pairs, strict=True))
    odd: list[Answer] = [small[0] if k % 3 else Failure("error", "It broke.") for k in range(len(pairs))]
    return {"small": [*small], "tiny": [*tiny], "odd": odd, "large": [*small]}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path: Path = tmp_path_factory.mktemp("records") / "r.jsonl"
    answers = columns()
    write_records(path, config(), questions(len(answers["small"])), answers)
    return load_dataset(Records.load(path), Options(signals=("exact", "mixed", "strict")))


class Local:
    """Computes plain signals as a server's scorer does."""

    async def score(self, signal: str, texts: list[str], since: int = 0) -> Scores:
        [scores] = build_signal(AppConfig.model_validate(config()).similarities()[signal]).similarities([texts])
        return scores


@pytest.mark.parametrize("cascade", ["default", "viewed", "strict", "mixed"])
async def test_online_equals_offline(dataset: Dataset, cascade: str) -> None:
    loaded = AppConfig.model_validate(config())
    tiers = loaded.tiers(cascade, [0.5])
    offline = dataset.replay
    scorer = CompositeScorer(Local(), loaded.composites())
    decisions = []
    for k, example in enumerate(dataset.examples):
        models = {model: Fake(offline.answers(model)[k]) for model in dataset.models}
        prompt = Prompt((Message("user", example.prompt_inputs["question"]),))
        outcome = await run_cascade(Run(prompt, tiers, models, scorer))
        decisions.append(outcome.tiers[0].decision)
    assert decisions == await asyncio.to_thread(offline.decisions, tiers[0])


def test_each_view_has_matrices_of_its_own(dataset: Dataset) -> None:
    tiers = {id_: dataset.config.tiers(id_, [0.5])[0] for id_ in dataset.config.cascades}
    whole, viewed = (dataset.replay.similarities[tiers[id_].compare]["exact"] for id_ in ("default", "viewed"))
    first = ANSWERED.index("It is 18.0") * len(ANSWERED) + ANSWERED.index("$18")
    assert (whole.matrices[first, 0, 1], viewed.matrices[first, 0, 1]) == (0, 1)
    boxed = ANSWERED.index("\\boxed{7}") * len(ANSWERED) + ANSWERED.index("```\n7\n```")
    assert (whole.matrices[boxed, 0, 1], viewed.matrices[boxed, 0, 1]) == (0, 1)


def test_a_veto_is_shown_beside_its_base_and_lowers_it(dataset: Dataset) -> None:
    assert list(dataset.signals) == ["exact", "mixed", "rouge1", "strict"]
    tier = replace(dataset.config.tiers("strict", [0.5])[0], models=("small", "tiny"))
    base, strict = (dataset.replay.score(replace(tier, signal=name)).scores for name in ("rouge1", "strict"))
    assert not (strict > base).any()
    contrary = ANSWERED.index("It is 18.0") * len(ANSWERED) + ANSWERED.index("It is 7")
    assert (base[contrary], strict[contrary]) == (pytest.approx(4 / 7), 0)  # "it is" of four and of three words


def test_scores_of_a_tier_are_those_of_its_view(dataset: Dataset) -> None:
    tier = dataset.config.tiers("viewed", [0.5])[0]
    assert dataset.replay.score(tier).scores[1] == 1
    assert dataset.replay.score(replace(tier, compare=None)).scores[1] < 1
    assert not np.isnan(dataset.tier_cost(tier)["device_s"]).any()  # type: ignore[arg-type]


def test_a_new_cascade_of_a_tiers_members_keeps_its_view(tmp_path: Path) -> None:
    values = config()
    values["cascades"] = {"viewed": values["cascades"]["viewed"]}
    answers = columns()
    path = write_records(tmp_path / "r.jsonl", values, questions(len(answers["small"])), answers)
    options = Options(tiers=(("small", "tiny"),), target="large", signals=("exact",))
    loaded = load_dataset(Records.load(path), options).config
    [id_] = loaded.cascades
    assert loaded.tiers(id_, [0.5])[0].compare == AppConfig.model_validate(values).tiers("viewed", [0.5])[0].compare


def test_a_new_cascade_takes_the_view_that_all_tiers_with_its_members_share(tmp_path: Path) -> None:
    values = config()
    viewed = values["cascades"]["viewed"]["tiers"]
    values["cascades"] = {
        "one": {"tiers": [viewed[0] | {"models": ["small", "tiny"]}, viewed[1]]},
        "two": {"tiers": [viewed[0] | {"models": ["small", "odd"]}, viewed[1]]},
    }
    answers = columns()
    path = write_records(tmp_path / "r.jsonl", values, questions(len(answers["small"])), answers)
    options = Options(tiers=(("small", "tiny", "odd"),), target="large", signals=("exact",))
    [cascade] = load_dataset(Records.load(path), options).config.cascades.values()
    assert cascade.tiers[0].compare is not None
    assert cascade.tiers[0].compare.view() == AppConfig.model_validate(values).tiers("one", [0.5])[0].compare

    del values["cascades"]["two"]["tiers"][0]["compare"]
    mixed = write_records(tmp_path / "mixed.jsonl", values, questions(len(answers["small"])), answers)
    with pytest.raises(UsageError, match="The tiers with small, tiny, odd compare different views of answers"):
        load_dataset(Records.load(mixed), options)
