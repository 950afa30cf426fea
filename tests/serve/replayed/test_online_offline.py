"""The same answers come to the same decisions through a live server and through the records, and a calibration on the
records is what the server then decides under."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from math import inf, isfinite
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.calibrate.command import CalibrationRun, run
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.tasks import Prompts
from tests.evaluation.synthetic import write_records
from tests.patience import PATIENCE_S
from tests.serve.conftest import Served, until
from tests.serve.replayed.conftest import scripted
from tests.serve.replayed.taped import TARGET, Taped

pytestmark = pytest.mark.serve

AT_ONCE = 4


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, taped: Taped) -> Records:
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    return Records.load(write_records(path, taped.args(scripted()), taped.examples, taped.answers))


async def record(client: httpx.AsyncClient, id_: str, example: Example, **options: Any) -> dict[str, Any]:
    [message] = Prompts().messages(example.task, example.prompt_inputs)
    body = {"model": id_, "max_tokens": 64, "messages": [{"role": "user", "content": message.content}]} | options
    response = await client.post("/v1/chat/completions", json=body)
    response.raise_for_status()
    decision: dict[str, Any] = response.json()["cascade"]
    return decision


async def decided(url: str, id_: str, examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Return what a cascade of the server decides for each example."""
    turns = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:

        async def ask(example: Example) -> dict[str, Any]:
            async with turns:
                return await record(client, id_, example)

        return await asyncio.gather(*map(ask, examples))


def calibrated(recorded: Records, config: Path, output: Path) -> CalibrationRun:
    options = Options(cascades=("taped",), signals=())
    return run(recorded, options, Goal(rates=(0.5,)), fit=False, config=config, output=output)


async def test_every_decision_is_the_same(replayed: Served, recorded: Records) -> None:
    dataset = load_dataset(recorded, Options(signals=()))
    for id_ in recorded.config.cascades:
        tier = dataset.config.tiers(id_, dataset.config.thresholds()[id_])[0]
        assert tier.signal is not None
        chow = dataset.config.confidence_of(tier.signal)
        offline = await asyncio.to_thread(dataset.replay.decisions, tier, chow)
        online = await decided(replayed.url, id_, recorded.examples)
        assert len({decision["reason"] for decision in online}) >= 2
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
                served_decision = (first["reason"], first["agreement"], first["selected"])
                assert served_decision == (mine.reason, agreement, selected), (id_, example.id)
            assert theirs["answered_by"] == (selected if mine.accepted else TARGET)


@pytest.fixture
async def changed(replayed: Served) -> AsyncIterator[Served]:
    """Give the application the thresholds of its `args`, now and afterwards."""
    replayed.rewrite(lambda values: values["applications"][0].pop("deployments", None))
    config = replayed.path.read_text()
    yield replayed
    replayed.path.write_text(config)
    await asyncio.to_thread(replayed.deploy)
    async with httpx.AsyncClient(base_url=replayed.url, timeout=PATIENCE_S) as client:

        async def calibrations() -> dict[str, str]:
            ids: dict[str, str] = (await client.get("/readyz")).json()["calibrations"]
            return ids

        await until(calibrations, {})


async def test_a_calibration_is_deployed_and_named(changed: Served, recorded: Records, tmp_path: Path) -> None:
    replayed, output = changed, tmp_path / "calibrated.yaml"
    result = await asyncio.to_thread(calibrated, recorded, replayed.path, output)
    before = yaml.safe_load(replayed.path.read_text())["applications"][0]["args"]
    replayed.path.write_text(output.read_text())
    # Only the router's settings are new, so no replica is restarted.
    assert yaml.safe_load(output.read_text())["applications"][0]["args"] == before
    await asyncio.to_thread(replayed.deploy)
    async with httpx.AsyncClient(base_url=replayed.url, timeout=PATIENCE_S) as client:

        async def in_force() -> list[float]:
            thresholds: list[float] = (await client.get("/readyz")).json()["thresholds"]["taped"]
            return thresholds

        await until(in_force, [result.calibrated.thresholds[0]])
        [note] = result.user_config["calibrations"].values()
        example = recorded.examples[0]
        assert (await client.get("/readyz")).json()["calibrations"] == {"taped": note["id"]}
        assert (await record(client, "taped", example))["calibration"] == note["id"]
        assert "calibration" not in await record(client, "taped", example, cascade={"threshold": 0.1})
        assert "calibration" not in await record(client, "taped", example, cascade={"force": "defer"})
        assert "calibration" not in await record(client, "taped-chow", example)
