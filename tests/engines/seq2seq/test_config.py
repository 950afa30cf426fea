"""An encoder-decoder in a serving config."""

import pytest

from serve_app.config import AppConfig

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_in_a_serving_config() -> None:
    model = {"engine": "seq2seq", "weights": "hf://google/flan-t5-large", "dtype": "bfloat16", "parameters": 783e6}
    config = AppConfig.model_validate(
        {"models": {"flan-t5": model}, "cascades": {"c": {"tiers": [{"models": ["flan-t5"]}]}}}
    )
    assert config.weights() == [("flan-t5", "hf://google/flan-t5-large", None)]
