"""A tier's samples of one model: the members that they become, and what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.config import AppConfig, TierConfig
from serve_app.config.explain import explain
from serve_app.core.sampling import Sample
from serve_app.core.types.policy import Tier

LLAMA = {"engine": "llama_cpp", "weights": "x.gguf", "parameters": 7e9}
API = {"engine": "openai_api", "model": "x", "keyless": True, "base_url": "http://127.0.0.1:1/v1"}
VLLM = {"engine": "vllm", "weights": "hf://a/b@0123456789012345678901234567890123456789"}
MODELS: dict[str, Any] = {"q": LLAMA, "api": API, "t": {"engine": "replay"}}
TARGET = {"models": ["t"]}
THRICE = {"model": "q", "samples": 3, "temperature": 0.7}


def tier(*members: Any, **options: Any) -> dict[str, Any]:
    return {"models": list(members), "signal": "exact", "threshold": 0.5} | options


def config(*tiers: dict[str, Any], models: dict[str, Any] = MODELS, **cascades: Any) -> dict[str, Any]:
    own = {"default": {"tiers": [*tiers, TARGET]}} if tiers else {}
    return {
        "models": models,
        "cascades": own | {id_: {"tiers": [first_tier, TARGET]} for id_, first_tier in cascades.items()},
    }


def read(*tiers: dict[str, Any], **parts: Any) -> AppConfig:
    return AppConfig.model_validate(config(*tiers, **parts))


def problems(values: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        AppConfig.model_validate(values)
    return explain(caught.value, AppConfig)


def test_one_model_asked_three_times_is_three_members() -> None:
    args = read(tier(THRICE))
    assert args.cascades["default"].tiers[0].models == ["q#1", "q#2", "q#3"]
    [members, _] = args.tiers("default", [0.5])
    assert members == Tier(("q#1", "q#2", "q#3"), "exact", 0.5, min_answers=2, timeout_s=120.0)
    assert args.samples() == {
        "q#1": Sample("q", 1, temperature=0.7),
        "q#2": Sample("q", 2, temperature=0.7),
        "q#3": Sample("q", 3, temperature=0.7),
    }


def test_samples_stand_beside_models_and_may_be_selected() -> None:
    args = read(tier("api", THRICE, "q", select="q#2"))
    [members, _] = args.tiers("default", [0.5])
    assert (members.models, members.select) == (("api", "q#1", "q#2", "q#3", "q"), "q#2")


def test_a_sample_has_its_models_config_and_deployment() -> None:
    adapter = {"engine": "vllm_lora", "base": "v", "weights": "hf://a/c@0123456789012345678901234567890123456789"}
    models = MODELS | {"v": VLLM, "l": adapter}
    args = read(tier(THRICE, {"model": "l", "samples": 1}), models=models)
    assert [args.served_by(name) for name in ("q#2", "q", "l#1", "l", "t")] == ["q", "q", "v", "v", "t"]
    assert args.model("q#2") is args.models["q"]
    assert list(args.models_and_samples()) == ["q", "api", "t", "v", "l", "q#1", "q#2", "q#3", "l#1"]
    assert set(args.deployed()) == {"q", "api", "t", "v"}
    assert args.without_logprobs(["q#1", "q#2", "api", "t"]) == ["api"]


def test_a_seed_of_the_model_becomes_the_samples_lest_they_are_all_the_same() -> None:
    models = MODELS | {"q": LLAMA | {"seed": 7}}
    assert read(tier(THRICE), models=models).samples()["q#3"] == Sample("q", 3, temperature=0.7, seed=7)
    seeded = read(tier(THRICE | {"seed": 1, "top_p": 0.9}), models=models)
    assert seeded.samples()["q#3"] == Sample("q", 3, temperature=0.7, top_p=0.9, seed=1)


def test_a_config_is_written_as_it_was_read() -> None:
    written = config(tier("api", THRICE))
    args = AppConfig.model_validate(written)
    assert args.model_dump(mode="json", exclude_unset=True)["cascades"] == written["cascades"]
    assert AppConfig.model_validate(args.model_dump(mode="json", exclude_unset=True)) == args
    assert TierConfig(models=["q"], signal="exact", threshold=0.5).model_dump(exclude_unset=True)["models"] == ["q"]


WHERE = "cascades.default.tiers[0].models[0]"


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        ({"model": "q"}, f"{WHERE}.samples: required, but missing."),
        (THRICE | {"samples": 0}, f"{WHERE}.samples: must be greater than or equal to 1, got 0."),
        (THRICE | {"samples": 65}, f"{WHERE}.samples: must be less than or equal to 64, got 65."),
        (
            THRICE | {"temprature": 1},
            f"{WHERE}.temprature: unknown key. Did you mean 'temperature'? "
            "Available: model, samples, seed, temperature, top_p.",
        ),
        (
            THRICE | {"temperature": 0},
            f"{WHERE}.temperature: all samples would be the same answer; it must be greater than 0.",
        ),
        (
            {"model": "q", "samples": 2},
            f"{WHERE}.temperature: must be set, since 'q' is greedy and all samples would be the same answer.",
        ),
        (THRICE | {"model": "p"}, f"{WHERE}.model: no model 'p'. Available: api, q, t."),
        (
            "q#1",
            f"{WHERE}: no model 'q#1'. Samples are written {{model: q, samples: 1}}.",
        ),
        (
            3,
            f"{WHERE}: must be the name of a model, or a mapping such as "
            "{model: NAME, samples: 3, temperature: .7}, got 3.",
        ),
    ],
)
def test_what_is_refused(member: Any, sentence: str) -> None:
    assert problems(config(tier(member, "api"))) == [sentence]


def test_a_model_with_a_temperature_of_its_own_needs_none_in_the_tier() -> None:
    twice = {"model": "q", "samples": 2}
    assert read(tier(twice), models=MODELS | {"q": LLAMA | {"temperature": 0.5}}).samples()["q#2"] == Sample("q", 2)
    assert read(tier(twice | {"model": "api"})).samples()["api#2"] == Sample("api", 2)
    # One greedy answer is no copy of another.
    assert read(tier({"model": "q", "samples": 1}, "api")).samples() == {"q#1": Sample("q", 1)}


def test_the_same_samples_in_two_cascades_are_drawn_in_the_same_way() -> None:
    assert list(read(tier(THRICE), other=tier(THRICE | {"samples": 2})).samples()) == ["q#1", "q#2", "q#3"]
    values = config(tier("api", THRICE), other=tier(THRICE | {"temperature": 1.0, "samples": 2}))
    assert problems(values) == [
        "cascades.other.tiers[0].models[0].temperature: is 1.0 here and 0.7 in cascades.default.tiers[0].models[1], "
        "but 'q#1' is one member."
    ]
    assert problems(config(tier(THRICE), other=tier(THRICE | {"seed": 3}))) == [
        "cascades.other.tiers[0].models[0].seed: is 3 here and not set in cascades.default.tiers[0].models[0], "
        "but 'q#1' is one member."
    ]


def test_the_target_is_asked_once() -> None:
    values = config(tier("q", "api"))
    values["cascades"]["default"]["tiers"][1] = {"models": [THRICE | {"samples": 1}]}
    assert problems(values) == [
        "cascades.default.tiers[1]: the target is one model, which is asked once, so write its name alone."
    ]


def test_a_models_own_name_has_no_number_sign() -> None:
    assert problems(config(tier("q", "api"), models=MODELS | {"q#1": LLAMA})) == [
        "models.q#1: a name cannot have '#', which tells samples apart: qwen-7b#2 is the second of qwen-7b, got 'q#1'."
    ]


def test_a_signal_over_samples_compares_answers() -> None:
    assert read(tier(THRICE, signal="rougeL"))
    [sentence] = problems(config(tier(THRICE | {"samples": 1}, signal="rougeL")))
    assert "'rougeL' compares answers, and there is one model" in sentence
