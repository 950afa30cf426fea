"""The quickstart's three real models on real Ray Serve, started once for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.serve.conftest import Served, serving

CONFIG = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
MEMBERS = ("qwen-0.5b", "smollm2-135m")
TARGET = "qwen-1.5b"

# The members agree on some of these and disagree on others; which is for them to say.
QUESTIONS = [
    "What is the capital of France? Answer in one word.",
    "What is the capital of Canada? Answer in one word.",
    "What is the capital of Peru? Answer in one word.",
    "What is the capital of Japan? Answer with the sentence: The capital of Japan is X.",
    "Repeat exactly: The sky is blue.",
    "Name the largest planet of the solar system in one word.",
]


@pytest.fixture(scope="package")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    values = yaml.safe_load(CONFIG.read_text())
    # Beside the other tests' process two threads would mostly wait for each other.
    values["applications"][0]["args"]["models"][TARGET]["threads"] = 1
    with serving(values, tmp_path_factory.mktemp("quickstart")) as served:
        yield served
