"""Samples of one model from import through collection to decisions, which are the same when they are served."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from serve_app.config import AppConfig
from serve_app.config.serve_file import load
from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.run import Run
from serve_app.core.sampling import Sample, SampledModel
from serve_app.core.types.answer import Generation
from serve_app.core.types.prompt import Prompt, Sampling
from serve_app.core.types.scores import Scores
from serve_app.deployments.inline_scorer import InlineScorer
from serve_app.engines import load_engine
from serve_app.engines.replay.engine import ReplayEngine
from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options as Evaluated
from serve_app.evaluation.analysis.other_config import with_cascade, with_config
from serve_app.evaluation.calibrate.command import run as calibrate
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.choose.choose import find, tiers
from serve_app.evaluation.choose.output import snippet
from serve_app.evaluation.collect.collect import Options as Collected
from serve_app.evaluation.collect.collect import Plan, collect
from serve_app.evaluation.importing.command import Options, import_records
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.tasks import Prompts
from tests.api.engine_model import EngineModel
from tests.evaluation.collecting import question, write_examples
from tests.evaluation.importing.sources import write_list, zeroeval_row
from tests.evaluation.synthetic import serving_file

QUIET = Console(quiet=True)
N = 96
SAMPLES = {"model": "q", "samples": 3, "temperature": 0.7, "seed": 5}
VIEW = {"strip": ["code_fences"], "take": {"json": "answer"}}


def answer_text(value: int) -> str:
    return f'{{"answer": "{value}"}}'


def answered(number: int, value: int) -> dict[str, Any]:
    return zeroeval_row(number, answer_text(value), answer=answer_text(number))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write records of three samples of `q`, which differ at every third question, and of the target `t`."""
    folder = tmp_path_factory.mktemp("self-consistency")
    sources = [f"t={write_list(folder / 't.json', [answered(k, k) for k in range(N)])}"]
    for sample in (1, 2, 3):
        rows = [answered(k, k if k % 3 else 100 * sample) for k in range(N)]
        sources.append(f"org/q#{sample}={write_list(folder / f'{sample}.json', rows)}")
    import_records(sources, folder / "r.jsonl", Options(target="t"), QUIET)
    return folder / "r.jsonl"


def served(records: Path, **options: Any) -> dict[str, Any]:
    models = {
        name: {"engine": "replay", "records": str(records), "recorded_model": name, "parameters": size}
        for name, size in (("q", 1e9), ("t", 1e11))
    }
    tier = {"models": [SAMPLES | options], "signal": "exact", "threshold": 0.5, "compare": VIEW}
    return {"models": models, "cascades": {"default": {"tiers": [tier, {"models": ["t"]}]}}}


class NoScorer:
    """Every text is compared inside the router."""

    async def score(self, signal: str, texts: Any) -> Scores:
        raise AssertionError(signal)


def test_imported_samples_are_samples_of_one_model(recorded: Path) -> None:
    records = Records.load(recorded)
    assert set(records.models) == {"q#1", "q#2", "q#3", "t"}
    assert records.header.config.args["cascades"] == {
        "default": {
            "tiers": [
                {"models": [{"model": "q", "samples": 3}], "signal": "rougeL", "threshold": 0.5},
                {"models": ["t"]},
            ]
        }
    }
    assert list(records.header.config.models) == ["q", "t"]


def test_samples_to_import_are_complete_and_have_a_target(tmp_path: Path) -> None:
    rows = write_list(tmp_path / "x.json", [answered(0, 0)])
    for names, sentence in (
        (("q#1", "q#3", "t"), "There are answers of 'q#3', but none of 'q#2'."),
        (("q#1", "q#2"), "All answers are of samples of a model; the target, which is asked once, is missing."),
    ):
        with pytest.raises(DataError) as caught:
            import_records([f"{name}={rows}" for name in names], tmp_path / "r.jsonl", Options(), QUIET)
        assert str(caught.value) == sentence


def test_imported_samples_are_those_of_a_config(recorded: Path, tmp_path: Path) -> None:
    config = serving_file(tmp_path / "c.yaml", served(recorded))
    rows = write_list(tmp_path / "x.json", [answered(0, 0)])
    names = ("q#1", "q#2", "q#3", "t")
    import_records([f"{name}={rows}" for name in names], tmp_path / "r.jsonl", Options(config=config), QUIET)
    header = Records.load(tmp_path / "r.jsonl").header
    assert {name: facts.parameters for name, facts in header.models.items()} == dict.fromkeys(names[:3], 1e9) | {
        "t": 1e11
    }
    with pytest.raises(DataError, match=r"has no model 'q#4'\. Did you mean 'q#"):
        import_records([f"q#4={rows}"], tmp_path / "more.jsonl", Options(config=config), QUIET)


async def decisions_online(config: AppConfig, records: Records) -> list[tuple[Any, ...]]:
    models: dict[str, Any] = {name: EngineModel(await load_engine(model)) for name, model in config.models.items()}
    models |= {name: SampledModel(models[sample.base], sample) for name, sample in config.samples().items()}
    scorer = InlineScorer(config.similarities(), NoScorer(), 10**6)
    online = []
    for example in records.examples:
        prompt = Prompt(Prompts().messages(example.task, example.prompt_inputs))
        outcome = await run_cascade(Run(prompt, config.tiers("default", [0.5]), models, scorer))
        decision = outcome.tiers[0].decision
        online.append((decision.accepted, decision.agreement, decision.selected, outcome.answered_by))
    return online


def decisions_offline(records: Records) -> list[tuple[Any, ...]]:
    dataset = load_dataset(records, Evaluated(signals=(), metrics=("exact_match",)))
    [tier, target] = dataset.config.tiers("default", [0.5])
    return [
        (
            decision.accepted,
            decision.agreement,
            decision.selected,
            tier.models[decision.selected or 0] if decision.accepted else target.models[0],
        )
        for decision in dataset.replay.decisions(tier)
    ]


async def test_samples_are_decided_alike_online_and_offline(recorded: Path, tmp_path: Path) -> None:
    records = with_config(Records.load(recorded), serving_file(tmp_path / "c.yaml", served(recorded)))
    online = await decisions_online(records.config, records)
    assert online == [(True, 1.0, 0, "q#1") if k % 3 else (False, 0.0, 0, "t") for k in range(N)]
    assert await asyncio.to_thread(decisions_offline, records) == online
    # Each of three samples costs what an answer of the model does.
    assert {facts.parameters for name, facts in records.header.models.items() if name != "t"} == {1e9}


def test_samples_are_collected_as_they_are_served(recorded: Path, tmp_path: Path, monkeypatch: Any) -> None:
    samplings: dict[int | None, list[Sampling]] = {}
    loaded: list[str] = []
    generate = ReplayEngine.generate

    async def noted(engine: ReplayEngine, prompt: Prompt, meter: Any) -> Generation:
        samplings.setdefault(prompt.sampling.sample, []).append(prompt.sampling)
        return await generate(engine, prompt, meter)

    async def loading(config: Any, weights: Any) -> Any:
        loaded.append(config.recorded_model)
        return await load_engine(config, weights)

    monkeypatch.setattr(ReplayEngine, "generate", noted)
    monkeypatch.setattr("serve_app.evaluation.collect.sources.load_engine", loading)
    expected = Records.load(recorded)
    data, out = write_examples(tmp_path / "d.jsonl", expected.examples), tmp_path / "r.jsonl"
    config = serving_file(tmp_path / "c.yaml", served(recorded))
    collect(config, [str(data)], out, Collected(max_tokens=50), QUIET)
    assert loaded == ["q", "t"]  # once for all samples
    drawn = {sample: set(settings) for sample, settings in samplings.items()}
    assert drawn == {
        None: {Sampling(50, temperature=0.0, logprobs=True)},
        1: {Sampling(50, temperature=0.7, seed=5, logprobs=True, sample=1)},
        2: {Sampling(50, temperature=0.7, seed=6, logprobs=True, sample=2)},
        3: {Sampling(50, temperature=0.7, seed=7, logprobs=True, sample=3)},
    }
    records = Records.load(out)
    assert records.models == ("q#1", "q#2", "q#3", "t")
    assert [facts.parameters for facts in records.header.models.values()] == [1e9, 1e9, 1e9, 1e11]
    for name in records.models:
        assert texts(records, name) == texts(expected, name)
    # More samples go on from there; other ones do not fit.
    collect(serving_file(config, served(recorded, samples=4)), [str(data)], out, Collected(max_tokens=50), QUIET)
    assert "q#4" in Records.load(out).models
    serving_file(config, served(recorded, samples=4, temperature=0.5))
    with pytest.raises(DataError, match=r"temperature of 'q#1' was 0\.7, now 0\.5; temperature of 'q#2' was"):
        collect(config, [str(data)], out, Collected(max_tokens=50), QUIET)


def test_what_is_chosen_of_samples_is_a_config(recorded: Path, tmp_path: Path) -> None:
    records = with_config(Records.load(recorded), serving_file(tmp_path / "c.yaml", served(recorded)))
    members, target = tiers(records, None, None)
    options = Evaluated(tiers=members, target=target, signals=("exact",), metrics=("exact_match",), resamples=10)
    selection = find(load_dataset(records, options), None)
    shown = [yaml.safe_load(snippet(cascade))["tiers"][0] for cascade in selection.front if cascade.tiers]
    # A sample alone is cheaper than the target, but only the model itself could be served alone.
    assert {cascade.target for cascade in selection.front} == {"t"}
    # Where two samples agree a third says the same, so two are enough, whether all or only those are accepted.
    assert [tier["models"] for tier in shown] == [[SAMPLES | {"samples": 2}]] * 2


def test_a_ladder_of_samples_is_calibrated_into_its_config(recorded: Path, tmp_path: Path) -> None:
    args = served(recorded)
    [three, target] = args["cascades"]["default"]["tiers"]
    two = three | {"models": [SAMPLES | {"samples": 2}]}
    args["cascades"]["default"]["tiers"] = [two, three, target]
    config, out = serving_file(tmp_path / "c.yaml", args), tmp_path / "out.yaml"
    records = with_config(Records.load(recorded), config)
    options = Evaluated(cascades=("default",), metrics=("exact_match",), resamples=10)
    ended = calibrate(records, options, Goal(quality=1.0), fit=False, config=config, output=out)
    assert ended.output == out
    written = load(out)
    assert written.raw()["applications"][0]["args"]["cascades"] == args["cascades"]
    assert written.thresholds() == {"default": list(ended.calibrated.thresholds)}
    assert all(threshold > 0 for threshold in ended.calibrated.thresholds)
    # Samples drawn otherwise would be other answers.
    for tier in (two, three):
        [samples] = tier["models"]
        samples["temperature"] = 1.0
    serving_file(config, args)
    drawn = r"temperature of 'q#1' is 1\.0, but its answers were drawn at 0\.7\.$"
    with pytest.raises(DataError, match=drawn):
        with_config(records, config)
    with pytest.raises(DataError, match=drawn):
        with_cascade(records, config, "default")
    for tier in (two, three):
        del tier["models"][0]["temperature"]
    with pytest.raises(DataError, match=r"temperature of 'q#1' is not set, but its answers were drawn at 0\.7\.$"):
        with_config(records, serving_file(config, args))
    with pytest.raises(ConfigError, match="the cascade 'default' is not the one in the records"):
        calibrate(records, options, Goal(quality=1.0), fit=False, config=config, output=out)


def test_without_a_temperature_samples_are_collected_at_their_models_own() -> None:
    plan = Plan(Prompts(), Collected(max_tokens=50))
    assert plan.prompt(question(0), False, Sample("q", 2)).sampling == Sampling(50, sample=2)
    assert plan.prompt(question(0), False).sampling == Sampling(50, temperature=0.0)


def texts(records: Records, model: str) -> list[str | None]:
    return [answer.text if isinstance(answer, Generation) else None for answer in records.answers[model]]
