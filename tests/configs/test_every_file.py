"""Every file in configs/ loads and is what its name says."""

from pathlib import Path

import pytest

from serve_app.config import VllmModel
from serve_app.planning.feasibility import NodeGroup, fits
from serve_app.planning.plan import cautions
from tests.configs.files import ALL, CONFIGS, args_of, loaded, name, planned


@pytest.mark.parametrize("path", ALL, ids=name)
def test_every_config_loads_and_plans(path: Path) -> None:
    args = args_of(path)
    for id_, thresholds in loaded(path).thresholds().items():
        assert args.tiers(id_, thresholds)
    plan = planned(path)
    assert cautions(plan) == []
    assert {placement.name for placement in plan} >= {*args.models, "Scorer", "Router"}
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize(
    ("file", "tiers", "gpus"),
    [
        ("gpu-24gb.yaml", {"default": ["qwen2.5-1.5b gemma-3-1b llama-3.2-1b", "qwen2.5-7b"]}, 0.98),
        ("gpu-80gb.yaml", {"default": ["llama-3.2-3b qwen2.5-3b gemma-3-1b", "llama-3.1-70b"]}, 1),
        ("gpu-80gb-drafts.yaml", {"default": ["llama-3.2-3b qwen2.5-3b gemma-3-1b", "llama-3.1-70b"]}, 1),
        ("api-only.yaml", {"default": ["gpt-4o-mini llama-3.1-8b qwen2.5-7b", "gpt-4o"]}, 0),
        ("local-members-api-target.yaml", {"default": ["qwen-0.5b smollm2-135m", "target"]}, 0),
        ("three-tiers.yaml", {"default": ["qwen2.5-1.5b qwen2.5-0.5b", "qwen2.5-7b", "llama-3.1-70b"]}, 6),
        (
            "self-consistency.yaml",
            {"default": ["qwen-0.5b#1 qwen-0.5b#2", "qwen-0.5b#1 qwen-0.5b#2 qwen-0.5b#3", "qwen-1.5b"]},
            0,
        ),
        (
            "shared-models.yaml",
            {
                "translation": ["qwen2.5-1.5b gemma-3-1b flan-t5-large", "qwen2.5-7b"],
                "qa": ["qwen2.5-1.5b flan-t5-large gemma-3-1b", "qwen2.5-7b"],
                "summarization": ["qwen2.5-1.5b gemma-3-1b", "qwen2.5-7b"],
            },
            2,
        ),
    ],
)
def test_the_common_situations(file: str, tiers: dict[str, list[str]], gpus: float) -> None:
    path = CONFIGS / file
    cascades = args_of(path).cascades
    assert {id_: [" ".join(tier.models) for tier in cascade.tiers] for id_, cascade in cascades.items()} == tiers
    plan = planned(path)
    assert plan.totals("max").get("GPU", 0) == pytest.approx(gpus)
    fit = fits(plan, [NodeGroup("one", {"CPU": 16, "GPU": max(1, -(-gpus // 1))})])
    assert (fit.impossible, fit.warnings) == ((), ())


def test_what_an_api_costs_is_in_the_config() -> None:
    for file, api in (
        ("api-only.yaml", {"gpt-4o-mini", "llama-3.1-8b", "qwen2.5-7b", "gpt-4o"}),
        ("local-members-api-target.yaml", {"target"}),
    ):
        models = args_of(CONFIGS / file).models
        assert {id_ for id_, model in models.items() if model.engine == "openai_api"} == api
        assert all(models[id_].input_usd > 0 and models[id_].output_usd > 0 for id_ in api)


def test_shared_models_are_judged_by_bleurt_and_rouge() -> None:
    cascades = args_of(CONFIGS / "shared-models.yaml").cascades
    signals = {id_: cascade.tiers[0].signal for id_, cascade in cascades.items()}
    assert signals == {"translation": "bleurt", "qa": "rougeL", "summarization": "rouge2"}


@pytest.mark.vllm
def test_ray_and_vllm_know_all_that_is_said_of_vllm_models() -> None:
    from dataclasses import fields

    from ray.serve.llm import LLMConfig
    from vllm.engine.arg_utils import AsyncEngineArgs

    from serve_app.deployments.vllm.options import llm_arguments

    field_names = {field.name for field in fields(AsyncEngineArgs)}
    for path in ALL:
        for id_, model in args_of(path).models.items():
            if isinstance(model, VllmModel):
                arguments = llm_arguments(id_, model, model.weights)
                assert LLMConfig(**arguments).engine_kwargs == arguments["engine_kwargs"]
                assert {*arguments["engine_kwargs"]} <= field_names
