"""A cascade of a base and its LoRA adapters over one vLLM deployment (CPU), held against transformers."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.models.lora_adapters import greedy, make, merged
from tests.patience import PATIENCE_S
from tests.serve.conftest import Served, serving
from tests.serve.test_vllm_graph import QUESTION, TOOL, ask, model

pytestmark = [pytest.mark.serve, pytest.mark.models, pytest.mark.vllm]

LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ADAPTERS: dict[str, dict[str, Any]] = {
    "attentive": {"rank": 4, "modules": ("q_proj", "v_proj"), "seed": 1, "scale": 0.08},
    "thorough": {"rank": 12, "modules": LAYERS, "seed": 7, "scale": 0.07},
}
TOLERANCE = 2e-4
"""Of a log-probability; both sides compute in float32 (2.3e-5 was seen)."""


@pytest.fixture(scope="module")
def base() -> Path:
    from tests.models.vllm_models import folder

    return folder("smollm2-135m")


@pytest.fixture(scope="module")
def folders(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {name: make(root / name, base, **options) for name, options in ADAPTERS.items()}


@pytest.fixture(scope="module")
def served(base: Path, folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    adapters = {
        name: {"engine": "vllm_lora", "base": "smollm2", "weights": str(folder)} for name, folder in folders.items()
    }
    args = {
        "models": {"smollm2": model(base, dtype="float32", parameters=135e6), **adapters},
        "cascades": {
            "default": {
                "tiers": [
                    {"models": ["smollm2", "attentive"], "signal": "exact", "threshold": 0.5},
                    {"models": ["thorough"]},
                ]
            }
        },
    }
    application = {"name": "cascade", "import_path": "serve_app.app:build_app", "args": args}
    with serving({"applications": [application]}, tmp_path_factory.mktemp("vllm-lora")) as served:
        yield served


@pytest.fixture
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE_S
    ) as client:
        yield client


async def test_each_model_answers_as_itself(base: Path, folders: dict[str, Path], client: openai.AsyncOpenAI) -> None:
    """As transformers with the adapter merged into plain weights."""
    answers = set()
    for name, folder in {"smollm2": None, **folders}.items():
        text, logprobs = greedy(merged(base, folder), base, QUESTION, 16)
        response = await client.chat.completions.create(**ask(QUESTION, model=name, max_tokens=16), logprobs=True)
        (choice,) = response.choices
        assert choice.message.content == text
        assert [token.logprob for token in choice.logprobs.content] == pytest.approx(logprobs, abs=TOLERANCE)
        assert response.model_extra["cascade"]["answered_by"] == name
        answers.add(text)
    assert len(answers) == 3


async def test_one_set_of_replicas_serves_all(served: Served, client: openai.AsyncOpenAI) -> None:
    listed = {card.id: card.model_extra for card in (await client.models.list()).data}
    assert listed.keys() == {"default", "smollm2", "attentive", "thorough"}
    async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as http:
        ready = await http.get(f"{served.url}/readyz")
    assert ready.status_code == 200
    assert ready.json()["replicas"] == {"smollm2": 1, "Scorer": 1, "Router": 1}


async def test_members_and_target_of_one_cascade(served: Served, client: openai.AsyncOpenAI) -> None:
    before = (await served.counters("smollm2")).requests
    response = await client.chat.completions.create(**ask(QUESTION, max_tokens=16))
    assert (await served.counters("smollm2")).requests == before + 3
    record = response.model_extra["cascade"]
    assert [tier["models"] for tier in record["tiers"]] == [["smollm2", "attentive"], ["thorough"]]
    assert (record["deferred"], record["answered_by"], record["tiers"][0]["agreement"]) == (True, "thorough", 0)
    assert {name: call["status"] for name, call in record["models"].items()} == {
        "smollm2": "ok",
        "attentive": "ok",
        "thorough": "ok",
    }
    # Size is the base's: FLOPs are 2 x parameters x tokens.
    tokens = sum(call["prompt_tokens"] + call["completion_tokens"] for call in record["models"].values())
    assert record["cost"]["flops"] == pytest.approx(2 * 135e6 * tokens)


async def test_an_adapter_streams(client: openai.AsyncOpenAI) -> None:
    plain = await client.chat.completions.create(**ask(QUESTION, model="thorough", max_tokens=16))
    stream = await client.chat.completions.create(**ask(QUESTION, model="thorough", max_tokens=16), stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert len(pieces) > 2
    assert "".join(pieces) == plain.choices[0].message.content


async def test_an_adapter_can_what_its_base_can(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="tools are not honoured by 'attentive'"):
        await client.chat.completions.create(**ask(QUESTION, model="attentive"), tools=[TOOL])
    answer = await client.chat.completions.create(
        **ask("Tell me about Paris.", model="attentive", max_tokens=60), response_format={"type": "json_object"}
    )
    assert answer.choices[0].message.content.startswith("{")
