"""Plans of the files in configs/ equal figures worked by hand."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serve_app.cli.commands import app
from serve_app.config import VllmModel
from serve_app.planning.feasibility import NodeGroup, fits
from tests.configs.files import CONFIGS, PAPER, PAPERS, args_of, name, planned

Gpus = dict[str, float | list[float]]


@pytest.mark.parametrize(
    ("file", "gpus", "cpus"),
    [
        # Members and BLEURT share a GPU: 0.25 + 0.2 + 0.2 + 0.15 = 0.8. CPUs: one a worker, mT0, BLEURT; two SBERT.
        (
            "qwen2.5-1.5b_gemma-3-1b_mt0-large_to_llama-3.1-8b",
            {"qwen2.5-1.5b": 0.25, "gemma-3-1b": 0.2, "mt0-large": 0.2, "llama-3.1-8b": 1, "bleurt": 0.15},
            7.1,
        ),
        # Four members and BLEURT fill it: 0.25 + 0.2 + 0.2 + 0.2 + 0.15 = 1.
        (
            "qwen2.5-1.5b_gemma-3-1b_mt0-large_flan-t5-large_to_qwen2.5-7b",
            {
                "qwen2.5-1.5b": 0.25,
                "gemma-3-1b": 0.2,
                "mt0-large": 0.2,
                "flan-t5-large": 0.2,
                "qwen2.5-7b": 1,
                "bleurt": 0.15,
            },
            8.1,
        ),
        # Token-level only: no BLEURT, a scorer without a model (0.1 CPUs).
        ("llama-3.2-1b_mt0-large_to_llama-3.1-8b", {"llama-3.2-1b": 0.2, "mt0-large": 0.2, "llama-3.1-8b": 1}, 3.2),
        # One member has a GPU to itself.
        ("qwen2.5-3b_to_qwen2.5-7b", {"qwen2.5-3b": 1, "qwen2.5-7b": 1}, 2.2),
        ("mt0-large_to_qwen2.5-7b", {"mt0-large": 1, "qwen2.5-7b": 1}, 2.2),
        ("llama-3.1-8b_to_llama-3.1-70b-tp4", {"llama-3.1-8b": 1, "llama-3.1-70b": [1, 1, 1, 1]}, 5.2),
        (
            "qwen2.5-1.5b_gemma-3-1b_flan-t5-large_to_llama-3.1-70b-tp4",
            {
                "qwen2.5-1.5b": 0.25,
                "gemma-3-1b": 0.2,
                "flan-t5-large": 0.2,
                "llama-3.1-70b": [1, 1, 1, 1],
                "bleurt": 0.15,
            },
            10.1,
        ),
        (
            "llama-3.2-3b_qwen2.5-3b_flan-t5-large_to_llama-3.1-70b-tp8",
            {
                "llama-3.2-3b": 0.3,
                "qwen2.5-3b": 0.3,
                "flan-t5-large": 0.2,
                "llama-3.1-70b": [1, 1, 1, 1, 1, 1, 1, 1],
                "bleurt": 0.15,
            },
            14.1,
        ),
    ],
)
def test_plans_worked_by_hand(file: str, gpus: Gpus, cpus: float) -> None:
    result = CliRunner().invoke(app, ["plan", str(PAPER / f"{file}.yaml"), "--json"])
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    lists = {id_: share if isinstance(share, list) else [share] for id_, share in gpus.items()}
    bundle_gpus = {
        entry["name"]: [bundle["GPU"] for bundle in entry["bundles"]]
        for entry in plan["deployments"]
        if "GPU" in entry["resources"]
    }
    assert bundle_gpus == lists
    in_all = pytest.approx(sum(map(sum, lists.values())))
    for when in ("min", "initial", "max"):
        assert plan["totals"][when] == {"CPU": cpus, "GPU": in_all}


@pytest.mark.parametrize(
    ("file", "number", "bytes_", "per_gpu"),
    [
        ("llama-3.1-8b_to_llama-3.1-70b-tp4", 4, 141_200_000_000, 35_300_000_000),
        ("qwen2.5-1.5b_gemma-3-1b_flan-t5-large_to_llama-3.1-70b-tp8", 8, 141_200_000_000, 17_650_000_000),
    ],
)
def test_the_70b_target(file: str, number: int, bytes_: int, per_gpu: int) -> None:
    path = PAPER / f"{file}.yaml"
    target = args_of(path).models["llama-3.1-70b"]
    assert isinstance(target, VllmModel)
    assert (target.tensor_parallel_size, target.pipeline_parallel_size, target.devices) == (number, 1, number)
    (placement,) = (placement for placement in planned(path) if placement.name == "llama-3.1-70b")
    assert placement.strategy == "STRICT_PACK"
    assert placement.weights is not None
    assert (placement.weights.bytes, placement.weights.bytes_per_gpu) == (bytes_, per_gpu)


@pytest.mark.parametrize("path", PAPERS, ids=name)
def test_shares_of_one_gpu_and_gpus_of_a_target(path: Path) -> None:
    """The whole fits one machine, or two where the types differ; without types, members and target share no GPU."""
    args, plan = args_of(path), planned(path)
    shares = [p.resources["GPU"] for p in plan if p.resources.get("GPU", 0) and p.name not in args.later_models()]
    assert sum(shares) == pytest.approx(1) if len(shares) == 1 else sum(shares) <= 1
    (target,) = (p for p in plan if p.name in args.later_models())
    model = args.models[target.name]
    assert isinstance(model, VllmModel)
    assert target.resources["GPU"] == len(target.bundles) == model.tensor_parallel_size == model.devices
    gpus = model.tensor_parallel_size
    if target.accelerator_type is None:
        nodes = [NodeGroup("one", {"CPU": 32, "GPU": gpus + 1})]
    else:
        (beside,) = {p.accelerator_type for p in plan if p.accelerator_type} - {target.accelerator_type}
        nodes = [
            NodeGroup("ensemble", {"CPU": 16, "GPU": 1, f"accelerator_type:{beside}": 1}),
            NodeGroup("target", {"CPU": 16, "GPU": gpus, f"accelerator_type:{target.accelerator_type}": 1}),
        ]
    fit = fits(plan, nodes)
    assert (fit.impossible, fit.warnings) == ((), ())


GIGABYTES = {"gpu-24gb.yaml": 24, "gpu-80gb.yaml": 80, "shared-models.yaml": 24, "three-tiers.yaml": 24}
GIGABYTES |= {"gpu-80gb-drafts.yaml": 80}
QUANTIZED = {"qwen2.5-7b": 5.6e9, "llama-3.1-70b": 39.8e9}
"""Bytes of the AWQ weights, of 4 bits and some that are not quantized, as the hub lists them."""
DRAFTS = {None: 0.0, "meta-llama/Llama-3.2-1B-Instruct": 2.5e9}
"""Bytes of the weights of models that draft for another."""
BESIDE = 1.0e9
"""For activations, CUDA graphs and the context of CUDA."""


@pytest.mark.parametrize("path", [*PAPERS, *(CONFIGS / file for file in GIGABYTES)], ids=name)
def test_what_shares_a_gpu_has_room_there(path: Path) -> None:
    """Weights, KV cache and a gigabyte fit the share of a vLLM model that is not alone, and Ray counts that share."""
    large = {"llama-3.2-3b", "qwen2.5-3b"} <= {*args_of(path).models}
    gigabytes = GIGABYTES.get(path.name, 48 if large else 24)
    for id_, model in args_of(path).models.items():
        share = model.placed().bundles()[0].get("GPU", 0)
        assert model.devices == share * (model.tensor_parallel_size if isinstance(model, VllmModel) else 1)
        if not isinstance(model, VllmModel) or share == 1:
            continue
        assert model.parameters is not None
        weights = QUANTIZED[id_] if model.quantization else model.parameters * 2
        weights += DRAFTS[model.draft_model]
        needed = weights + model.engine_kwargs["kv_cache_memory_bytes"] + BESIDE
        assert needed <= model.gpu_memory_utilization * gigabytes * 1e9
        assert share - 0.021 <= model.gpu_memory_utilization <= share
