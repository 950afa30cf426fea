import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve_app.core.cost import ModelCost
from serve_app.errors import DataError
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.header import ConfigFacts, Header
from tests.evaluation.records.headers import FACTS, header, write


def test_a_header_comes_back_as_it_was() -> None:
    assert Header.read(json.loads(json.dumps(header().body()))) == header()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"config": 5}, "config: must be an object, not 5"),
        ({"config": {"digest": "c"}}, "config.args: required, but missing"),
        ({"data": {"files": []}}, "data.digest: required, but missing"),
        ({"data": {"digest": "d", "files": None}}, "data.files: must be a list, not None"),
        ({"prompts": {"digest": "p", "texts": []}}, r"prompts.texts: must be an object, not \[\]"),
        ({"asked": {}}, "asked.through: required, but missing"),
        ({"versions": None}, "versions: must be an object, not None"),
        ({"created": 5}, "created: must be a string, not 5"),
        ({"models": {"a": 5}}, "models.a: must be an object, not 5"),
        ({"models": {"a": {}}}, "models.a.cost: required, but missing"),
        ({"models": {"a": {"cost": {"tokens": 5}}}}, "models.a.cost.tokens: no such field"),
        ({"models": {"a": {"cost": {"parameters": "5"}}}}, "models.a.cost.parameters: must be a number, not '5'"),
        ({"models": {"a": {"cost": {"devices": None}}}}, "models.a.cost.devices: must be a number, not None"),
    ],
)
def test_an_invalid_header(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    path = write(tmp_path / "r.jsonl", header().body() | change)
    with pytest.raises(DataError, match=rf":1: not a line of records: {sentence}"):
        Records.load(path)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        # Earlier versions wrote 0 for a price that nobody gave, and knew no price of devices.
        ({"parameters": 1e9, "input_usd": 0.0, "output_usd": 0.0}, ModelCost(1e9)),
        ({"parameters": 1e9, "input_usd": 0.5, "output_usd": 0.0}, ModelCost(1e9, 0.5, 0.0)),
        ({"input_usd": 0.0, "output_usd": None, "usd_per_device_hour": None}, ModelCost(None, 0.0)),
        ({"usd_per_device_hour": 2.0}, ModelCost(usd_per_device_hour=2.0)),
    ],
)
def test_a_price_that_nobody_gave_is_not_0(cost: dict[str, Any], expected: ModelCost) -> None:
    body = header().body() | {"models": {"a": {"cost": cost}}}
    assert Header.read(body).models["a"].cost == expected


def test_a_config_that_this_version_does_not_read(tmp_path: Path) -> None:
    models = {"a#1": FACTS, "t": FACTS}
    recorded = replace(header(), models=models, config=ConfigFacts("c", {**header().config.args, "rooter": {}}))
    problem = "The config in the records is not one that this version reads: config.args.rooter: unknown key."
    for read in (recorded.samples, lambda: Records.load(write(tmp_path / "r.jsonl", recorded.body())).config):
        with pytest.raises(DataError, match=f"^{problem}"):
            read()
