"""Encoder-decoders of three families, loaded for real, and what transformers itself makes of them."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from serve_app.engines import Engine
from serve_app.torch_models import quiet
from tests.engines import tiny_seq2seq
from tests.engines.conftest import load_seq2seq
from tests.engines.seq2seq.prompts import TOKENS


@dataclass
class Reference:
    """The same model, called plainly."""

    model: Any
    tokenizer: Any

    def tokens(self, text: str, max_tokens: int = TOKENS) -> list[int]:
        """Return a greedy answer by `generate`, including the end token."""
        ids = self.tokenizer(text, return_tensors="pt")
        begun = len(self.beginning())
        limit = max_tokens + begun - 1
        answer = self.model.generate(**ids, max_new_tokens=limit, do_sample=False, num_beams=1)
        return answer[0, begun:].tolist()

    def beginning(self) -> list[int]:
        config = self.model.generation_config
        forced = config.forced_bos_token_id
        return [config.decoder_start_token_id, *([] if forced is None else [forced])]

    def logprobs(self, text: str, tokens: list[int]) -> list[float]:
        """Return the log-probabilities of one forward pass over the whole answer."""
        begun = self.beginning()
        ids = self.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            logits = self.model(**ids, decoder_input_ids=torch.tensor([begun + tokens])).logits[0, len(begun) - 1 : -1]
        return logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()


MAKERS: dict[str, Callable[[Path], Path]] = {"mt5": tiny_seq2seq.random_mt5, "bart": tiny_seq2seq.random_bart}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: on a busy machine, two with so little work mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=["t5", "mt5", "bart"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "t5":
        return request.getfixturevalue("tiny_t5")
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    with quiet():
        return Reference(AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def engine(folder: Path) -> AsyncIterator[Engine]:
    engine = await load_seq2seq(folder, slots=8, context_tokens=128)
    yield engine
    await engine.close()
