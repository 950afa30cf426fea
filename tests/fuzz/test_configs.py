"""Generated config files: valid, or refused with sentences; never another error, never slow, never kept in memory."""

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from serve_app.config import AppConfig
from serve_app.config.checking.report import report
from serve_app.config.ray_rules import load
from serve_app.errors import ConfigError
from tests.fuzz.measures import refused, tally
from tests.fuzz.mutations import changed_anywhere, damaged
from tests.fuzz.values import Generator, anything

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("CASCADE_TEST_CONFIGS", "1000"))
ROOT = Path(__file__).parents[2]
SHIPPED = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "configs").glob("*.yaml"))]
VALUES = [yaml.safe_load(text) for text in SHIPPED]
HOSTILE = (
    "applications: &a [*a, *a]\n",
    "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: [*c, *c, *c, *c]\n",
    "applications: !!python/object/apply:os.system ['true']\n",
    "applications: [" * 3000,
    "? [a, b]\n: c\n",
    "? {a: b}\n: c\n",
    "<<: [1, 2]\n",
    "<<: {applications: 3}\napplications: []\n",
    "applications:\n\t- name: x\n",
    "--- 1\n--- 2\n",
    "applications: 2026-11-30\n",
    "applications: 0x" + "f" * 5000 + "\n",
    "applications: " + "9" * 5000 + "\n",
    "applications: !!binary |\n  ////\n",
    "applications: .inf\nhttp_options: .nan\n",
    "%YAML 9.9\n---\napplications: []\n",
    "",
    "\x00",
    "\ufeff\ufeff",
)


def config_text(number: int, generator: Generator) -> bytes:
    random = Random(number)
    if random.random() < 0.05:
        return random.choice(HOSTILE).encode()
    if random.random() < 0.05:
        return yaml.safe_dump(anything(random)).encode()
    if random.random() < 0.2:
        return damaged(random.choice(SHIPPED).encode(), random)
    values: Any = random.choice(VALUES)
    for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
        values = changed_anywhere(values, random, lambda: generator.field(random))
    # JSON is YAML, too, and much faster to write.
    return (yaml.safe_dump(values) if random.random() < 0.1 else json.dumps(values)).encode()


def test_every_config_is_valid_or_refused_with_sentences(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    generator = Generator(AppConfig.model_json_schema())

    def check(number: int) -> str:
        path.write_bytes(config_text(number, generator))
        try:
            config_report = report("config.yaml", load(path))
        except ConfigError as error:
            return refused(error)
        assert config_report.lines[-1].startswith("config.yaml is valid: ")
        return "valid"

    ways = tally(COUNT, check)
    assert ways["valid"] > COUNT / 10
    assert ways["refused"] > COUNT / 3
