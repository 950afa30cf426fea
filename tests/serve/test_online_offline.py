"""The same answers, through a live server and through the records, come to the same decisions; and a calibration that
was found on the records is what the server then decides under."""

import asyncio
from collections.abc import Iterator
from math import inf, isfinite
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.calibrate.command import CalibrationRun, run
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.tasks import Prompts
from tests.evaluation.synthetic import answers, args, questions, tape, write_records
from tests.serve.conftest import PATIENCE_S, Served, serving, until

pytestmark = pytest.mark.serve

MEMBERS = ["small", "tiny", "odd"]
COUNT = 60


def cascade(**tier: Any) -> dict[str, Any]:
    return {"tiers": [{"models": MEMBERS} | tier, {"models": ["large"]}]}


def config(tapes: dict[str, Path]) -> dict[str, Any]:
    values = args(MEMBERS)
    for name, path in tapes.items():
        values["models"][name] = {"engine": "replay", "records": str(path), "parameters": 1e9}
    zscores = {name: {"mean": -0.5 - 0.1 * k, "std": 0.4 + 0.1 * k} for k, name in enumerate(MEMBERS)}
    values["signals"] = {
        "mixed": {"kind": "mix", "parts": [{"signal": "rouge1", "weight": 3}, {"signal": "exact"}]},
        "sure": {"kind": "chow_avg", "zscores": zscores},
        "contrary": {"kind": "veto", "signal": "rouge1", "floor": 0.1},
        "both": {"kind": "blend", "agreement": "mixed", "confidence": "sure"},
    }
    values["cascades"] = {
        "default": cascade(signal="rougeL", threshold=0.5),
        "strict": cascade(signal="chrf", threshold=0.35, agreement="mean", truncated="discard", min_answers=3),
        "fixed": cascade(signal="mixed", threshold=0.5, select="tiny", direction="hypothesis"),
        "viewed": cascade(signal="contrary", threshold=0.5, compare={"take": {"after": "the "}, "normalise": ["case"]}),
        "sure": cascade(signal="sure", threshold=0.2),
        "both": cascade(signal="both", threshold=0.8),
    }
    return values


@pytest.fixture(scope="module")
def given() -> tuple[list[Example], dict[str, list[Answer]]]:
    """Some answers are failures, some empty, some cut short; the target always answers."""
    examples = questions(COUNT)
    columns = answers([*MEMBERS, "large"], examples, seed=3)
    columns["large"] = [
        Generation("large", "stop", 1, 1) if isinstance(answer, Failure) else answer for answer in columns["large"]
    ]
    return examples, columns


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory, given: Any) -> dict[str, Any]:
    folder, (examples, columns) = tmp_path_factory.mktemp("tapes"), given
    return config({name: tape(folder / f"{name}.jsonl", examples, column) for name, column in columns.items()})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> Iterator[Served]:
    application = {"name": "cascade", "import_path": "serve_app.app:build_app", "args": values}
    with serving({"applications": [application]}, tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any], given: Any) -> Records:
    return Records.load(write_records(tmp_path_factory.mktemp("records") / "records.jsonl", values, *given))


async def record(client: httpx.AsyncClient, id_: str, example: Example, **options: Any) -> dict[str, Any]:
    [message] = Prompts().messages(example.task, example.prompt_inputs)
    body = {"model": id_, "max_tokens": 64, "messages": [{"role": "user", "content": message.content}]} | options
    response = await client.post("/v1/chat/completions", json=body)
    response.raise_for_status()
    found: dict[str, Any] = response.json()["cascade"]
    return found


def calibrated(recorded: Records, config: Path, output: Path) -> CalibrationRun:
    options = Options(cascades=("default",), signals=())
    return run(recorded, options, Goal(rates=(0.5,)), fit=False, config=config, output=output)


async def test_every_decision_is_the_same(served: Served, recorded: Records) -> None:
    dataset = load_dataset(recorded, Options(signals=()))
    for id_ in recorded.config.cascades:
        tier = dataset.config.tiers(id_, dataset.config.thresholds()[id_])[0]
        assert tier.signal is not None
        chow = dataset.config.confidence_of(tier.signal)
        offline = await asyncio.to_thread(dataset.replay.decisions, tier, chow)
        async with httpx.AsyncClient(base_url=served.url, timeout=PATIENCE_S) as client:
            online = [await record(client, id_, example) for example in recorded.examples]
        assert len({one["reason"] for one in online}) >= 2
        for example, mine, theirs in zip(recorded.examples, offline, online, strict=True):
            first = theirs["tiers"][0]
            assert first["accepted"] == mine.accepted, (id_, example.id)
            selected = None if mine.selected is None else tier.models[mine.selected]
            # A server stops members once their tier is lost or settled, so there an answer may be missing that the
            # records have; of a tier that was settled before its last answer only the agreement's bounds are known.
            if (bounds := first.get("agreement_bounds")) is not None:
                low, high = -inf if bounds[0] is None else bounds[0], inf if bounds[1] is None else bounds[1]
                assert mine.agreement is None or low <= mine.agreement <= high, (id_, example.id)
                assert first["agreement"] is None
            elif all(call["status"] != "cancelled" for call in theirs["models"].values()):
                # JSON has no minus infinity, which a token-level signal says of an answer without tokens.
                agreement = mine.agreement if mine.agreement is not None and isfinite(mine.agreement) else None
                found = (first["reason"], first["agreement"], first["selected"])
                assert found == (mine.reason, agreement, selected), (id_, example.id)
            assert theirs["answered_by"] == (selected if mine.accepted else "large")


async def test_a_calibration_is_deployed_and_named(served: Served, recorded: Records, tmp_path: Path) -> None:
    output = tmp_path / "calibrated.yaml"
    done = await asyncio.to_thread(calibrated, recorded, served.path, output)
    before = yaml.safe_load(served.path.read_text())["applications"][0]["args"]
    served.path.write_text(output.read_text())
    # Only the router's settings are new, so no replica is restarted.
    assert yaml.safe_load(output.read_text())["applications"][0]["args"] == before
    await asyncio.to_thread(served.deploy)
    async with httpx.AsyncClient(base_url=served.url, timeout=PATIENCE_S) as client:

        async def in_force() -> list[float]:
            thresholds: list[float] = (await client.get("/readyz")).json()["thresholds"]["default"]
            return thresholds

        await until(in_force, [done.calibrated.thresholds[0]])
        [note] = done.user_config["calibrations"].values()
        example = recorded.examples[0]
        assert (await client.get("/readyz")).json()["calibrations"] == {"default": note["id"]}
        assert (await record(client, "default", example))["calibration"] == note["id"]
        assert "calibration" not in await record(client, "default", example, cascade={"threshold": 0.1})
        assert "calibration" not in await record(client, "default", example, cascade={"force": "defer"})
        assert "calibration" not in await record(client, "sure", example)
