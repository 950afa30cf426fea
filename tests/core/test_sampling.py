"""Samples of one model: their names, and what each is asked."""

import pytest

from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.run import Run
from serve_app.core.sampling import Sample, SampledModel, are_first, base_name, parsed_name, reseeded, sampled
from serve_app.core.types.answer import Generation
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Message, Prompt, Sampling
from tests.core.scripted import Fake, Judge, reply

HI = (Message("user", "Hi"),)


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("q#1", ("q", 1)),
        ("qwen-2.5#12", ("qwen-2.5", 12)),
        ("q", None),
        ("q#", None),
        ("q#0", None),
        ("q#01", None),
        ("#1", None),
    ],
)
def test_a_samples_name_is_its_models_and_a_number(name: str, parsed: tuple[str, int] | None) -> None:
    assert parsed_name(name) == parsed
    assert base_name(name) == (parsed[0] if parsed else name)
    assert parsed is None or Sample(*parsed).name == name


@pytest.mark.parametrize(
    ("names", "first"),
    [
        ("q#1", True),
        ("q#1 q#2", True),
        ("q#2", False),
        ("q#1 q#3", False),
        ("a q", True),
        ("a q#1 p#2", True),
        ("q#1 p#4", False),
        ("q p#2 p#4", True),
    ],
)
def test_samples_are_alike_so_the_first_stand_for_all(names: str, first: bool) -> None:
    assert are_first(names.split(), ["a", "q", "q#1", "q#2", "q#3", "p#2", "p#4"]) == first


@pytest.mark.parametrize(
    ("original", "sample", "drawn"),
    [
        # The tier's temperature and top_p win, what the tier leaves open stays the request's.
        (
            Sampling(temperature=0.0, top_p=0.5, max_tokens=9, stop=("x",)),
            Sample("q", 2, temperature=0.7, top_p=0.9),
            Sampling(temperature=0.7, top_p=0.9, max_tokens=9, stop=("x",), sample=2),
        ),
        (Sampling(temperature=0.3), Sample("q", 1), Sampling(temperature=0.3, sample=1)),
        # The request's seed wins, and each sample has the next one.
        (Sampling(seed=5), Sample("q", 1, 0.7, seed=100), Sampling(temperature=0.7, seed=5, sample=1)),
        (Sampling(seed=5), Sample("q", 3, 0.7, seed=100), Sampling(temperature=0.7, seed=7, sample=3)),
        (Sampling(), Sample("q", 3, 0.7, seed=100), Sampling(temperature=0.7, seed=102, sample=3)),
        (Sampling(), Sample("q", 3, 0.7), Sampling(temperature=0.7, sample=3)),
        (Sampling(seed=0), Sample("q", 2, seed=9), Sampling(seed=1, sample=2)),
        (Sampling(seed=2**63 - 1), Sample("q", 2), Sampling(seed=-(2**63), sample=2)),
    ],
)
def test_what_a_sample_is_asked(original: Sampling, sample: Sample, drawn: Sampling) -> None:
    prompt = sampled(Prompt(HI, sampling=original, timeout_s=3.0), sample)
    assert prompt == Prompt(HI, sampling=drawn, timeout_s=3.0)


def test_the_seed_is_the_nth_next_within_64_bits() -> None:
    assert reseeded(Sampling(seed=2**63 - 2), 3) == Sampling(seed=-(2**63) + 1)
    assert reseeded(Sampling(temperature=1.0), 3) == Sampling(temperature=1.0)


async def test_one_model_asked_three_times_is_a_tier_of_three() -> None:
    model, target = Fake(reply("Paris")), Fake(reply("Rome"))
    samples = [Sample("q", number, temperature=0.7) for number in (1, 2, 3)]
    models = {sample.name: SampledModel(model, sample) for sample in samples} | {"t": target}
    tier = Tier(("q#1", "q#2", "q#3"), signal="exact", threshold=0.5)
    run = Run(Prompt(HI, sampling=Sampling(temperature=0.0, seed=4)), (tier, Tier(("t",))), models, Judge())
    outcome = await run_cascade(run)
    assert (outcome.answered_by, outcome.deferred) == ("q#1", False)
    assert [call.model for call in run.calls] == ["q#1", "q#2", "q#3"]
    drawn = [(prompt.sampling.temperature, prompt.sampling.seed, prompt.sampling.sample) for prompt in model.prompts]
    assert drawn == [(0.7, 4, 1), (0.7, 5, 2), (0.7, 6, 3)]
    assert not target.prompts


async def test_a_stream_is_asked_as_a_whole_answer_is() -> None:
    model = Fake(Generation("Paris", "stop", 12, 2))
    [answer] = [item async for item in SampledModel(model, Sample("q", 2, 0.7)).stream(Prompt(HI))]
    assert answer == Generation("Paris", "stop", 12, 2)
    assert [prompt.sampling for prompt in model.prompts] == [Sampling(temperature=0.7, sample=2)]
