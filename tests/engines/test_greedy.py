"""Whether an engine decodes at temperature 0, by its config and the request: what may be kept in a cache."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from serve_app.config.models import ModelConfig
from serve_app.core.types.prompt import Sampling

SOURCE = {"weights": "./folder"}
OPENAI = {"engine": "openai_api", "model": "m"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # By default, and if the request names temperature 0 or 0.7.
        ({"engine": "llama_cpp"} | SOURCE, (True, True, False)),
        ({"engine": "llama_cpp", "temperature": 0.7} | SOURCE, (False, True, False)),
        ({"engine": "seq2seq"} | SOURCE, (True, True, False)),
        ({"engine": "vllm"} | SOURCE, (True, True, False)),
        ({"engine": "vllm", "temperature": 0.7} | SOURCE, (False, True, False)),
        (OPENAI, (False, True, False)),  # the endpoint's own default is unknown
        (OPENAI | {"temperature": 0}, (True, True, False)),
        (OPENAI | {"temperature": 0.7}, (False, True, False)),
        ({"engine": "replay"}, (True, True, True)),  # a recorded answer stays the same
    ],
)
def test_which_requests_are_decoded_at_temperature_0(config: dict[str, Any], expected: tuple[bool, ...]) -> None:
    model = TypeAdapter[Any](ModelConfig).validate_python(config)
    samplings = [Sampling(temperature=temperature) for temperature in (None, 0.0, 0.7)]
    assert tuple(model.greedy(sampling) for sampling in samplings) == expected
