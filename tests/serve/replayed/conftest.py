"""One application of scripted models for all tests of this folder: most of their time is its start.

A test that counts has a cascade of its own to count.
"""

from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from loadtests.ports import free_port
from tests.deployments.collector import Collector, collecting
from tests.models.bleurt_process import UNSCORABLE
from tests.serve.conftest import REPLAY, Served, serving
from tests.serve.replayed.taped import Taped, write_tapes

UNSCORABLE_ANSWERS = {
    "scored alike": (f"One {UNSCORABLE} of cats.", f"One {UNSCORABLE} of birds."),
    "scored apart": (f"One {UNSCORABLE} of cats.", "No bird."),
}
"""What the members answer to questions with these words; BLEURT fails to compare it."""
STAND_IN = {"signal": "rougeL", "threshold": 0.5}
BLEURT_ANSWERS = ("Lima is the capital of Peru.", "The capital of Peru is Lima, I believe.")


def scripted() -> dict[str, Any]:
    """Return the models of `REPLAY`, whose members also answer what tests of this folder ask."""
    models: dict[str, Any] = deepcopy(REPLAY["applications"][0]["args"]["models"])
    for number, (member, text) in enumerate(zip(("first", "second"), BLEURT_ANSWERS, strict=True)):
        models[member]["answers"][:0] = [
            *({"contains": words, "text": texts[number]} for words, texts in UNSCORABLE_ANSWERS.items()),
            {"contains": "a second", "text": "Agreed.", "first_token_s": 1.0},
            {"contains": "Peru", "text": text},
            {"contains": "at length", "text": "cat " * 700},
        ]
    return models


def config(url: str, collector: Collector, taped: Taped, bleurt: dict[str, Any]) -> dict[str, Any]:
    """Return the replayed application.

    Its cascades are to count (`observed`, `left`), to ask ahead, to nest, to shed, for BLEURT, for what stands in for
    it, and of recorded answers.
    """
    values = deepcopy(REPLAY)
    args = values["applications"][0]["args"]
    args["models"] = scripted()
    itself = {"engine": "openai_api", "base_url": f"{url}/v1", "keyless": True, "model": "inner"}
    args["models"]["whole"] = itself | {"input_usd": 1.0, "output_usd": 10.0}
    members, target = args["cascades"]["default"]["tiers"]
    narrow, bleurt_tier = {"models": ["narrow"]}, {"signal": "bleurt", "threshold": 0.0}
    args["cascades"] |= {
        "observed": {"tiers": [members | {"signal": "rouge2"}, target]},
        "left": {"tiers": [members, target]},
        "ahead": {"tiers": [members, target], "speculate": "always"},
        "inner": {"tiers": [members, target]},
        "outer": {"tiers": [members, {"models": ["whole"]}]},
        "lexical": {"tiers": [members, target]},
        "shed-calibrated": {"tiers": [members, narrow], "shed": {"hold_s": 0}},
        "shed-members": {"tiers": [members, narrow], "shed": {"by": "members", "hold_s": 0, "opt_out": True}},
        "bleurt": {"tiers": [members | bleurt_tier, target]},
        "stood-in": {"tiers": [members | bleurt_tier | {"on_scorer_failure": STAND_IN}, target]},
        "with-bleurt": {"tiers": [members | {"signal": "with-bleurt", "threshold": 0.0}, target]},
    }
    args["signals"] |= {
        "bleurt": {"kind": "bleurt"} | bleurt,
        "with-bleurt": {"kind": "mix", "parts": [{"signal": "bleurt"}, {"signal": "rougeL"}]},
    }
    for part, settings in taped.args(args["models"]).items():
        args[part] |= settings
    args["router"] |= {"tracing": {"endpoint": collector.url}}
    args["scorer"] = {"inline_characters": 0}  # so that the scorer is asked
    return values


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="package")
def taped(tmp_path_factory: pytest.TempPathFactory) -> Taped:
    return write_tapes(tmp_path_factory.mktemp("tapes"))


@pytest.fixture(scope="package")
def replayed(
    tmp_path_factory: pytest.TempPathFactory,
    collector: Collector,
    taped: Taped,
    bleurt_python: Path,
    bleurt_checkpoint: Path,
) -> Iterator[Served]:
    """Yield a cascade of scripted models on real Ray Serve. Its spans are sent when the router stops."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_metrics_report_interval_ms", "2000")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        bleurt = {"weights": str(bleurt_checkpoint), "environment": str(bleurt_python), "device": "cpu", "threads": 1}
        values = config(f"http://127.0.0.1:{port}", collector, taped, bleurt)
        with serving(values, tmp_path_factory.mktemp("replay"), port) as served:
            yield served


@pytest.fixture
async def client(replayed: Served) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{replayed.url}/v1", api_key="none", max_retries=0) as client:
        yield client
