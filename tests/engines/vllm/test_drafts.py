"""Speculative decoding as our configs and pages write it, against the installed vLLM's own words."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "configuration.md"

pytestmark = pytest.mark.vllm


def written(values: Any) -> Iterator[dict[str, Any]]:
    """Return every `speculative_config` anywhere in the values."""
    if isinstance(values, dict):
        if "speculative_config" in values:
            yield values["speculative_config"]
        values = list(values.values())
    for value in values if isinstance(values, list) else ():
        yield from written(value)


def drafts() -> list[dict[str, Any]]:
    blocks = [part.partition("```")[0] for part in PAGE.read_text(encoding="utf-8").split("```yaml\n")[1:]]
    texts = [*blocks, *(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("configs/*.yaml")))]
    return [config for text in texts for config in written(yaml.safe_load(text))]


def test_every_name_is_one_of_vllms() -> None:
    from vllm.config.speculative import SpeculativeConfig, SpeculativeMethod

    assert {config["method"] for config in drafts()} == {"ngram", "suffix", "draft_model"}
    assert {config["method"] for config in drafts()} <= set(get_args(SpeculativeMethod))
    assert {name for config in drafts() for name in config} <= {field.name for field in fields(SpeculativeConfig)}
