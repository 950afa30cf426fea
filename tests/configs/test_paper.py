"""The files of the paper's cascades: no row of its tables is missing."""

from collections.abc import Mapping
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from serve_app.config import AppConfig
from serve_app.signals import ChowConfig
from tests.configs.files import CONFIGS, PAPER, PAPERS, args_of, name
from tests.evaluation.paper_tables import ILLUSTRATIVE, SEMANTIC, TARGETS, TOKEN_LEVEL, TOKEN_LEVEL_ENSEMBLES

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
def by_cascade() -> Mapping[tuple[frozenset[str], str], list[Path]]:
    """Return the paper's files by members and target."""
    by_pair: dict[tuple[frozenset[str], str], list[Path]] = {}
    for path in PAPERS:
        (pair,) = {
            (frozenset(cascade.tiers[0].models), *cascade.tiers[1].models)
            for cascade in args_of(path).cascades.values()
        }
        by_pair.setdefault(pair, []).append(path)
    return by_pair


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
