"""Every file in configs/: it loads, its plan equals figures worked by hand, and no row of the paper is missing."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serve_app.cli.main import app
from serve_app.config import AppConfig, VllmModel
from serve_app.config.serve_file import ServeFile, load
from serve_app.planning.feasibility import NodeGroup, fits
from serve_app.planning.plan import Plan, cautions, plan_of
from serve_app.signals import ChowConfig
from tests.evaluation.paper_tables import ILLUSTRATIVE, SEMANTIC, TARGETS, TOKEN_LEVEL, TOKEN_LEVEL_ENSEMBLES

CONFIGS = Path(__file__).parents[1] / "configs"
PAPER = CONFIGS / "paper"
ALL = sorted(CONFIGS.rglob("*.yaml"))
PAPERS = sorted(PAPER.glob("*.yaml"))

IDS = {
    "Qwen2.5-7B": "qwen2.5-7b",
    "Qwen2.5-3B": "qwen2.5-3b",
    "Qwen2.5-1.5B": "qwen2.5-1.5b",
    "Qwen2.5-0.5B": "qwen2.5-0.5b",
    "Llama-3.1-8B": "llama-3.1-8b",
    "Llama-3.2-3B": "llama-3.2-3b",
    "Llama-3.2-1B": "llama-3.2-1b",
    "mT0 Large": "mt0-large",
    "FLAN-T5 Large": "flan-t5-large",
    "Gemma3-1B": "gemma-3-1b",
}
DATA = {
    "WMT19 DE-FR": "wmt19_de_fr",
    "WMT14 FR-EN": "wmt14_fr_en",
    "WMT14 EN-FR": "wmt14_en_fr",
    "CNN/DailyMail": "cnn_dailymail",
    "XLSum": "xlsum",
    "SQuAD1.1": "squad",
    "TriviaQA": "triviaqa",
}
SIGNALS = {
    "BLEU": "bleu",
    "ROUGE-1": "rouge1",
    "ROUGE-2": "rouge2",
    "ROUGE-L": "rougeL",
    "BLEURT": "bleurt",
    "SBERT": "sbert_mbert",
}
TABLES_2_TO_4 = {
    "qwen2.5-7b": ("vllm", "hf://Qwen/Qwen2.5-7B-Instruct", 7.62e9),
    "qwen2.5-3b": ("vllm", "hf://Qwen/Qwen2.5-3B-Instruct", 3.09e9),
    "qwen2.5-1.5b": ("vllm", "hf://Qwen/Qwen2.5-1.5B-Instruct", 1.54e9),
    "qwen2.5-0.5b": ("vllm", "hf://Qwen/Qwen2.5-0.5B-Instruct", 494e6),
    "llama-3.1-8b": ("vllm", "hf://meta-llama/Llama-3.1-8B-Instruct", 8.03e9),
    "llama-3.2-3b": ("vllm", "hf://meta-llama/Llama-3.2-3B-Instruct", 3.21e9),
    "llama-3.2-1b": ("vllm", "hf://meta-llama/Llama-3.2-1B-Instruct", 1.24e9),
    "gemma-3-1b": ("vllm", "hf://google/gemma-3-1b-it", 1.00e9),
    "flan-t5-large": ("seq2seq", "hf://google/flan-t5-large", 783e6),
    "mt0-large": ("seq2seq", "hf://bigscience/mt0-large", 1.23e9),
    "llama-3.1-70b": ("vllm", "hf://meta-llama/Llama-3.1-70B-Instruct", 70.6e9),  # in no table; by its model card
}


@cache
def loaded(path: Path) -> ServeFile:
    return load(path)


def args_of(path: Path) -> AppConfig:
    return loaded(path).application.args


def planned(path: Path) -> Plan:
    return plan_of(loaded(path))


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


@cache
def by_cascade() -> Mapping[tuple[frozenset[str], str], list[Path]]:
    """The paper's files by members and target."""
    found: dict[tuple[frozenset[str], str], list[Path]] = {}
    for path in PAPERS:
        (pair,) = {
            (frozenset(cascade.tiers[0].models), *cascade.tiers[1].models)
            for cascade in args_of(path).cascades.values()
        }
        found.setdefault(pair, []).append(path)
    return found


def paper_args(members: tuple[str, ...], target: str) -> AppConfig:
    (path,) = by_cascade()[frozenset(IDS[member] for member in members), IDS[target]]
    return args_of(path)


def rows(tables: Mapping[str, Mapping[tuple[str, ...], Any]]) -> list[Any]:
    return [
        pytest.param(task, members, row, id=f"{task}: {', '.join(members)}")
        for task, table in tables.items()
        for members, row in table.items()
    ]


def generated() -> dict[str, str]:
    spec = spec_from_file_location("generate", PAPER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    files: dict[str, str] = module.files()
    return files


@pytest.mark.parametrize("path", ALL, ids=name)
def test_every_config_loads_and_plans(path: Path) -> None:
    args = args_of(path)
    for id_, thresholds in loaded(path).thresholds().items():
        assert args.tiers(id_, thresholds)
    plan = planned(path)
    assert cautions(plan) == []
    assert {placement.name for placement in plan} >= {*args.models, "Scorer", "Router"}
    assert path.read_text().startswith("# ")


def test_the_papers_files_are_what_the_script_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    assert {path.name: path.read_text() for path in PAPERS} == generated()


@pytest.mark.parametrize(("task", "members", "row"), rows(TOKEN_LEVEL) + rows(TOKEN_LEVEL_ENSEMBLES))
def test_token_level_rows(task: str, members: tuple[str, ...], row: Mapping[str, Any]) -> None:
    args = paper_args(members, TARGETS[task])
    for rule in ("chow_sum", "chow_avg", "chow_quantile"):
        tier = args.cascades[f"{DATA[task]}_{rule}"].tiers[0]
        assert tier.signal is not None
        signal = args.all_signals()[tier.signal]
        assert isinstance(signal, ChowConfig)
        assert signal.kind == rule
        assert signal.q == (float(row["Best Quantile"]) if rule == "chow_quantile" else 0)
        assert {*signal.zscores} == ({*tier.models} if len(members) > 1 else set())


@pytest.mark.parametrize(("task", "members", "row"), rows(SEMANTIC))
def test_semantic_rows(task: str, members: tuple[str, ...], row: Mapping[str, Any]) -> None:
    args = paper_args(members, TARGETS[task])
    tier = args.cascades[DATA[task]].tiers[0]
    best = {SIGNALS[column] for column, area in row.items() if area == max(row.values())}
    assert tier.signal in best
    assert set(SIGNALS.values()) <= {*args.selectable()}
    (bleurt,) = args.isolated().values()
    assert bleurt.weights == "hf://lucadiliello/BLEURT-20"


def test_the_rows_of_table_1() -> None:
    for task, semantic, token_level, *_ in ILLUSTRATIVE:
        assert DATA[task] in paper_args(semantic, TARGETS[task]).cascades
        assert f"{DATA[task]}_chow_avg" in paper_args((token_level,), TARGETS[task]).cascades


@pytest.mark.parametrize(
    ("members", "target", "ids"),
    [
        # Figure 2 (b): translation from German, to Qwen2.5-7B.
        ("qwen2.5-1.5b gemma-3-1b flan-t5-large", "qwen2.5-7b", ["wmt19_de_fr"]),
        ("qwen2.5-3b", "qwen2.5-7b", ["wmt19_de_fr_chow_sum", "wmt19_de_fr_chow_avg", "wmt19_de_fr_chow_quantile"]),
        # Figure 3 (b)
        ("llama-3.2-3b", "qwen2.5-7b", ["squad_chow_quantile"]),
        # Figure 4 (b)
        ("qwen2.5-1.5b gemma-3-1b mt0-large", "qwen2.5-7b", ["squad"]),
        # Appendix C
        ("qwen2.5-1.5b qwen2.5-0.5b", "qwen2.5-7b", ["wmt19_de_fr", "wmt14_fr_en", "wmt14_en_fr"]),
        ("qwen2.5-1.5b", "qwen2.5-7b", ["wmt19_de_fr_chow_avg", "wmt14_fr_en_chow_avg", "wmt14_en_fr_chow_avg"]),
        # Figure 3 of the conference version: everything defers to the 70B model.
        ("qwen2.5-1.5b gemma-3-1b flan-t5-large", "llama-3.1-70b", ["wmt19_de_fr"]),
        ("qwen2.5-1.5b", "llama-3.1-70b", ["wmt19_de_fr_chow_avg"]),
        ("gemma-3-1b", "llama-3.1-70b", ["wmt19_de_fr_chow_avg"]),
        ("flan-t5-large", "llama-3.1-70b", ["wmt19_de_fr_chow_avg"]),
        ("qwen2.5-3b", "llama-3.1-70b", ["wmt19_de_fr_chow_avg"]),
        ("llama-3.2-3b qwen2.5-3b flan-t5-large", "llama-3.1-70b", ["squad"]),
        ("llama-3.1-8b", "llama-3.1-70b", ["squad_chow_avg"]),
    ],
)
def test_what_only_figures_show(members: str, target: str, ids: list[str]) -> None:
    paths = by_cascade()[frozenset(members.split()), target]
    over_8_too = target == "llama-3.1-70b" and " " in members
    assert len(paths) == (2 if over_8_too else 1)
    for path in paths:
        assert {*ids} <= {*args_of(path).cascades}


def test_the_ladder_is_the_quickstart_rung_by_rung() -> None:
    args, quickstart = args_of(CONFIGS / "ladder.yaml"), args_of(CONFIGS / "quickstart.yaml")
    assert (args.models, args.signals) == (quickstart.models, quickstart.signals)
    assert args.cascades["default"].newly_asked() == [("qwen-0.5b",), ("smollm2-135m",), ("qwen-1.5b",)]


def test_appendix_c_always_keeps_the_answer_of_the_larger_member() -> None:
    args = args_of(PAPER / "qwen2.5-1.5b_qwen2.5-0.5b_to_qwen2.5-7b.yaml")
    assert {cascade.tiers[0].select for cascade in args.cascades.values()} == {"qwen2.5-1.5b"}


@pytest.mark.parametrize("path", PAPERS, ids=name)
def test_models_are_those_of_tables_2_to_4(path: Path) -> None:
    for id_, model in args_of(path).models.items():
        assert (model.engine, getattr(model, "weights", None), model.parameters) == TABLES_2_TO_4[id_]


def test_every_model_of_tables_2_to_4_is_served() -> None:
    assert {id_ for path in PAPERS for id_ in args_of(path).models} == {*TABLES_2_TO_4}


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
    found = {
        entry["name"]: [bundle["GPU"] for bundle in entry["bundles"]]
        for entry in plan["deployments"]
        if "GPU" in entry["resources"]
    }
    assert found == lists
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
    found = {id_: cascade.tiers[0].signal for id_, cascade in cascades.items()}
    assert found == {"translation": "bleurt", "qa": "rougeL", "summarization": "rouge2"}


@pytest.mark.vllm
def test_ray_and_vllm_know_all_that_is_said_of_vllm_models() -> None:
    from dataclasses import fields

    from ray.serve.llm import LLMConfig
    from vllm.engine.arg_utils import AsyncEngineArgs

    from serve_app.deployments.vllm.options import llm_arguments

    known = {field.name for field in fields(AsyncEngineArgs)}
    for path in ALL:
        for id_, model in args_of(path).models.items():
            if isinstance(model, VllmModel):
                arguments = llm_arguments(id_, model, model.weights)
                assert LLMConfig(**arguments).engine_kwargs == arguments["engine_kwargs"]
                assert {*arguments["engine_kwargs"]} <= known
