"""Encoder-decoders of three families, loaded for real: every answer is compared with what transformers makes of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio
import sentencepiece
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    ByT5Tokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from serve_app.config import AppConfig
from serve_app.core.types import Generation, Message, Prompt
from serve_app.engines import Engine, Meter, Seq2SeqConfig, load_engine
from serve_app.engines.seq2seq.batch import choose
from serve_app.engines.seq2seq.call import Detokeniser
from serve_app.engines.seq2seq.loop import DecodingLoop
from serve_app.engines.seq2seq.model import LoadedModel
from serve_app.errors import EngineError
from serve_app.torch_models import quiet
from tests.engines import tiny_seq2seq
from tests.engines.asking import chat, generate, idle, raw, stream, until
from tests.engines.conftest import load_seq2seq

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROMPTS = [
    "The capital of France is",
    "story " * 40,
    "Hello",
    "Tell me a long story about a dog.",
    "Repeat: 你好 世界 🎉🚀 你好 世界 🎉🚀 你好",
    "filler dog France word",
]
TOKENS = 24


@dataclass
class Reference:
    """The same model, called plainly."""

    model: Any
    tokenizer: Any

    def tokens(self, text: str, max_tokens: int = TOKENS) -> list[int]:
        """A greedy answer by `generate`, the end token included."""
        ids = self.tokenizer(text, return_tensors="pt")
        begun = len(self.beginning())
        limit = max_tokens + begun - 1
        answer = self.model.generate(**ids, max_new_tokens=limit, do_sample=False, num_beams=1)
        return answer[0, begun:].tolist()

    def beginning(self) -> list[int]:
        wanted = self.model.generation_config
        forced = wanted.forced_bos_token_id
        return [wanted.decoder_start_token_id, *([] if forced is None else [forced])]

    def logprobs(self, text: str, tokens: list[int]) -> list[float]:
        """By one forward pass over the whole answer."""
        begun = self.beginning()
        ids = self.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            logits = self.model(**ids, decoder_input_ids=torch.tensor([begun + tokens])).logits[0, len(begun) - 1 : -1]
        return logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()


MAKERS: dict[str, Callable[[Path], Path]] = {"mt5": tiny_seq2seq.random_mt5, "bart": tiny_seq2seq.random_bart}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """On a busy machine two threads with so little work wait for each other most of the time."""
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


@pytest.fixture(scope="module")
def expected(reference: Reference) -> list[list[int]]:
    """Greedy answers to the prompts, as tokens."""
    return [reference.tokens(text) for text in PROMPTS]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def engine(folder: Path) -> AsyncIterator[Engine]:
    engine = await load_seq2seq(folder, slots=8, context_tokens=128)
    yield engine
    await engine.close()


async def together(engine: Engine, prompts: list[Prompt]) -> list[Generation]:
    """The answers to prompts that join one after the other, each while those before it are being decoded."""
    tasks = []
    for prompt in prompts:
        meter = Meter()
        tasks.append(asyncio.create_task(engine.generate(prompt, meter)))
        await until(lambda meter=meter: meter.completion_tokens >= 2)
    return await asyncio.gather(*tasks)


def untimed(answer: Generation) -> tuple[Any, ...]:
    """All but timings and the last digits of log-probabilities."""
    assert answer.logprobs is not None
    tokens = [(entry.token, pytest.approx(entry.logprob, abs=1e-5)) for entry in answer.logprobs]
    return answer.text, answer.finish_reason, answer.prompt_tokens, answer.completion_tokens, tokens


async def test_greedy_answers_and_logprobs_are_transformers_own(
    engine: Engine, reference: Reference, expected: list[list[int]]
) -> None:
    prompts = [raw(text, max_tokens=TOKENS, temperature=0.0, logprobs=True) for text in PROMPTS]
    alone = [await generate(engine, prompt) for prompt in prompts]
    at_once = await asyncio.gather(*(generate(engine, prompt) for prompt in prompts))
    staggered = await together(engine, prompts)
    for text, tokens, *answers in zip(PROMPTS, expected, alone, at_once, staggered, strict=True):
        ended = tokens[-1] == reference.model.generation_config.eos_token_id
        shown = tokens[:-1] if ended else tokens
        logprobs = reference.logprobs(text, tokens)[: len(shown)]
        for answer in answers:
            assert answer.text == reference.tokenizer.decode(tokens, skip_special_tokens=True)
            assert answer.prompt_tokens == len(reference.tokenizer(text)["input_ids"])
            assert (answer.completion_tokens, answer.finish_reason) == (len(tokens), "stop" if ended else "length")
            assert answer.logprobs is not None
            assert [entry.logprob for entry in answer.logprobs] == pytest.approx(logprobs, abs=1e-5)
            assert "".join(entry.token for entry in answer.logprobs) == answer.text


async def test_the_answers_differ(expected: list[list[int]]) -> None:
    """Else the comparisons above would show little."""
    assert len({tuple(answer) for answer in expected}) >= 4
    assert max(len(set(answer)) for answer in expected) >= 5


async def test_samples_do_not_depend_on_company(engine: Engine) -> None:
    prompts = [
        raw(text, max_tokens=TOKENS, temperature=1.5, top_p=0.95, seed=seed, logprobs=True)
        for text, seed in zip(PROMPTS, range(20, 30), strict=False)
    ]
    alone = [await generate(engine, prompt) for prompt in prompts]
    assert [untimed(answer) for answer in await together(engine, prompts)] == [untimed(a) for a in alone]
    other = [
        await generate(engine, replace(p, sampling=replace(p.sampling, seed=p.sampling.seed + 100))) for p in prompts
    ]
    assert [answer.text for answer in other] != [answer.text for answer in alone]


async def lasting(engine: Engine, prompt: Prompt, tokens: int) -> Prompt:
    """The prompt, with a seed by which it is answered with so many tokens at least."""
    for seed in range(100):
        seeded = replace(prompt, sampling=replace(prompt.sampling, seed=seed))
        if (await generate(engine, seeded)).completion_tokens >= tokens:
            return seeded
    pytest.fail(f"All answers have less than {tokens} tokens.")


async def test_cancelling_one_leaves_the_others_as_they_are(engine: Engine) -> None:
    def endless(text: str) -> Prompt:
        # Sampled so hot that it hardly ever ends, whatever the model.
        return raw(text, max_tokens=128, temperature=3.0, seed=5, logprobs=True)

    others = [endless(text) for text in PROMPTS[:3]]
    alone = [await generate(engine, prompt) for prompt in others]
    long = await lasting(engine, endless("story " * 100), 128)
    meter = Meter()
    victim = asyncio.create_task(engine.generate(long, meter))
    tasks = [asyncio.create_task(engine.generate(prompt, Meter())) for prompt in others]
    await until(lambda: meter.completion_tokens >= 3)
    victim.cancel()
    with pytest.raises(asyncio.CancelledError):
        await victim
    assert meter.completion_tokens < 128
    assert [untimed(answer) for answer in await asyncio.gather(*tasks)] == [untimed(answer) for answer in alone]
    await idle(engine)


async def test_prompts_read_in_several_goes(tiny_t5: Path) -> None:
    prompts = [raw(text, max_tokens=8, logprobs=True) for text in PROMPTS]
    engine = await load_seq2seq(tiny_t5, slots=8)
    narrow = await load_seq2seq(tiny_t5, slots=8, batch_tokens=16)
    wide = await asyncio.gather(*(generate(engine, prompt) for prompt in prompts))
    several = await asyncio.gather(*(generate(narrow, prompt) for prompt in prompts))
    assert [untimed(answer) for answer in wide] == [untimed(answer) for answer in several]
    await engine.close()
    await narrow.close()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
async def test_sixteen_bits(tiny_t5: Path, dtype: str) -> None:
    engine = await load_seq2seq(tiny_t5, dtype=dtype)
    answer = await generate(engine, raw(PROMPTS[0], logprobs=True))
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("It is Paris.", "stop", 4)
    full = await load_seq2seq(tiny_t5)
    exact = await generate(full, raw(PROMPTS[0], logprobs=True))
    values = [[entry.logprob for entry in a.logprobs or ()] for a in (answer, exact)]
    assert values[0] == pytest.approx(values[1], abs=0.05)
    assert values[0] != values[1]
    await engine.close()
    await full.close()


async def test_answers_end_at_the_end_token_and_it_is_counted(tiny_t5: Path) -> None:
    engine = await load_seq2seq(tiny_t5)
    deltas, answer = await stream(engine, raw(PROMPTS[0], logprobs=True))
    assert [delta.text for delta in deltas] == ["It", " is", " Paris."]
    assert [entry.token for entry in answer.logprobs or ()] == ["It", " is", " Paris."]
    assert (answer.completion_tokens, answer.finish_reason) == (4, "stop")
    shorter = await generate(engine, raw(PROMPTS[0], max_tokens=3))
    assert (shorter.text, shorter.finish_reason) == ("It is Paris.", "length")
    await engine.close()


MESSAGES = (Message("system", "The capital"), Message("user", "of France is"))


async def test_messages_follow_each_other(tiny_t5: Path) -> None:
    engine = await load_seq2seq(tiny_t5)
    answer = await generate(engine, Prompt(messages=MESSAGES))
    assert (answer.text, answer.prompt_tokens) == ("It is Paris.", 6)
    await engine.close()


async def test_a_chat_template(tiny_t5: Path) -> None:
    """It brings its special tokens along."""
    template = "{% for m in messages %}{{ m.content }} {% endfor %}{{ eos_token }}"
    engine = await load_seq2seq(tiny_t5, chat_template=template)
    answer = await generate(engine, Prompt(messages=MESSAGES))
    assert (answer.text, answer.prompt_tokens) == ("It is Paris.", 6)
    assert (await generate(engine, raw(PROMPTS[0]))).prompt_tokens == 6
    await engine.close()


async def test_a_chat_template_that_refuses(tiny_t5: Path) -> None:
    engine = await load_seq2seq(tiny_t5, chat_template="{{ raise_exception('no system messages') }}")
    with pytest.raises(EngineError, match="could not take the messages: no system messages"):
        await generate(engine, chat("Hello"))
    assert (await idle(engine)).prompt_tokens == 0
    await engine.close()


async def test_text_without_utf8(tiny_t5: Path) -> None:
    engine = await load_seq2seq(tiny_t5)
    assert (await generate(engine, raw("Hello \ud83d", max_tokens=2))).completion_tokens == 2
    await engine.close()


async def test_an_answers_time_has_no_queue_in_it(tiny_t5: Path) -> None:
    engine = await load_seq2seq(tiny_t5, slots=1)
    long = await lasting(engine, raw("Hello", max_tokens=400, temperature=3.0), 60)
    first, second = await asyncio.gather(generate(engine, long), generate(engine, raw("Hello", max_tokens=1)))
    assert second.first_token_s is not None
    assert second.first_token_s <= second.latency_s < first.latency_s
    await engine.close()


async def test_a_request_that_breaks_the_model_breaks_no_other(tmp_path: Path) -> None:
    words = tiny_seq2seq.tokenizer()
    known = words.convert_tokens_to_ids("▁Paris.") + 1
    sizes = {**tiny_seq2seq.SIZES, "num_layers": 1}
    weights = tiny_seq2seq.save(T5ForConditionalGeneration(T5Config(vocab_size=known, **sizes)), tmp_path)
    engine = await load_seq2seq(weights)
    hello = await lasting(engine, raw("Hello", max_tokens=400, temperature=1.0), 50)
    before = await idle(engine)
    good = asyncio.create_task(generate(engine, hello))
    await until(lambda: engine.counters().completion_tokens > before.completion_tokens + 2)
    with pytest.raises(EngineError, match="The model failed: IndexError"):
        await generate(engine, raw("filler"))  # no such row in the embeddings
    await good
    await engine.close()


@pytest.mark.parametrize("error", [ZeroDivisionError, AttributeError, AssertionError, MemoryError])
async def test_whatever_one_request_breaks_the_others_go_on(
    tiny_t5: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    engine = await load_seq2seq(tiny_t5)

    def tokens(_: LoadedModel, prompt: Prompt) -> list[int]:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(LoadedModel, "tokens", tokens)
        with pytest.raises(EngineError, match=f"The model failed: {error.__name__}"):
            await generate(engine, raw("Hello"))
    assert (await generate(engine, raw(PROMPTS[0]))).text == "It is Paris."
    await engine.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_an_engine_whose_thread_broke_is_not_healthy(tiny_t5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve asks for the counters with every health check, and replaces a replica that fails it."""
    engine = await load_seq2seq(tiny_t5)

    def broken(_: DecodingLoop) -> None:
        raise RuntimeError("no way on")

    monkeypatch.setattr(DecodingLoop, "_read", broken)
    for _ in range(2):  # the request that was there, and one that comes later
        with pytest.raises(EngineError, match=r"The decoding thread broke: RuntimeError\('no way on'\)"):
            await generate(engine, raw("Hello"))
    with pytest.raises(EngineError, match="The decoding thread broke"):
        engine.counters()
    await engine.close()


async def test_a_closed_engine_still_counts(tiny_t5: Path) -> None:
    engine = await load_seq2seq(tiny_t5)
    await generate(engine, raw(PROMPTS[0]))
    await engine.close()
    assert engine.counters().requests == 1
    with pytest.raises(EngineError, match="The model was closed"):
        await generate(engine, raw("Hello"))


async def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    model = T5ForConditionalGeneration(T5Config(vocab_size=400, **{**tiny_seq2seq.SIZES, "num_layers": 1}))
    model.decoder.final_layer_norm.weight = torch.nn.Parameter(torch.full((64,), torch.nan))
    engine = await load_seq2seq(tiny_seq2seq.save(model, tmp_path))
    for temperature in (0.0, 1.0):
        with pytest.raises(EngineError, match="not finite; try dtype bfloat16 or float32"):
            await generate(engine, raw("Hello", temperature=temperature))
    await idle(engine)
    await engine.close()


async def test_a_vocabulary_of_sentencepiece(tmp_path: Path) -> None:
    """As mT5's on the hub: no tokenizer.json."""
    model = T5ForConditionalGeneration(T5Config(vocab_size=60, **{**tiny_seq2seq.SIZES, "num_layers": 1}))
    with quiet():
        model.save_pretrained(tmp_path)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*PROMPTS[:4], *tiny_seq2seq.STORY.split("; ")]),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0}))
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    engine = await load_seq2seq(tmp_path)
    answer = await generate(engine, raw("a dog who lived", max_tokens=8))
    assert answer.prompt_tokens == len(pieces.encode("a dog who lived")) + 1
    await engine.close()


# Loading


async def test_loading_says_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """mT5 has an output layer of its own, on which transformers remarks."""
    engine = await load_seq2seq(folder, context_tokens=128)
    await engine.close()
    assert capfd.readouterr() == ("", "")


async def test_an_output_layer_of_its_own(tmp_path: Path) -> None:
    """transformers 5 calls the T5 family tied in every config, and FLAN-T5 and mT0 are not."""
    weights = tiny_seq2seq.random_mt5(tmp_path)
    with quiet():
        model = MT5ForConditionalGeneration.from_pretrained(weights)
    assert not torch.equal(model.lm_head.weight, model.shared.weight)


async def test_what_cannot_be_loaded(tmp_path: Path, tiny_t5: Path) -> None:
    config = Seq2SeqConfig(engine="seq2seq", weights="x")
    with pytest.raises(EngineError, match="needs the local path"):
        await load_engine(config)
    with pytest.raises(EngineError, match=r"no folder of model files at '.*model.gguf'"):
        await load_engine(config, tmp_path / "model.gguf")
    with pytest.raises(EngineError, match="transformers could not load"):
        await load_engine(config, tmp_path)
    with pytest.raises(EngineError, match="transformers could not load"):
        await load_seq2seq(tiny_t5, device="gpu")
    with quiet():
        GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=10)).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(EngineError, match="a model of type 'gpt2', which is no encoder-decoder"):
        await load_engine(config, tmp_path / "gpt2")
    with pytest.raises(EngineError, match=r"context_tokens is 2048, but '.*' has only 128 positions"):
        await load_engine(config, tiny_seq2seq.random_bart(tmp_path / "bart"))


async def test_in_a_serving_config() -> None:
    model = {"engine": "seq2seq", "weights": "hf://google/flan-t5-large", "dtype": "bfloat16", "parameters": 783e6}
    config = AppConfig.model_validate(
        {"models": {"flan-t5": model}, "cascades": {"c": {"tiers": [{"models": ["flan-t5"]}]}}}
    )
    assert config.weights() == [("flan-t5", "hf://google/flan-t5-large", None)]


# Drawing


class Fixed(Random):
    """Always the same number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


@dataclass
class Row:
    temperature: float
    top_p: float
    random: Random


LAST = 1 - 2**-53  # the largest number that Random.random() can return


@pytest.mark.parametrize(
    ("temperature", "top_p", "uniform", "token"),
    [
        (0.0, 1.0, 0.99, 1),
        # In falling order: 0.5 (token 1), 0.3 (token 2), 0.2 (token 0)
        (1.0, 1.0, 0.0, 1),
        (1.0, 1.0, 0.49, 1),
        (1.0, 1.0, 0.51, 2),
        (1.0, 1.0, 0.79, 2),
        (1.0, 1.0, 0.81, 0),
        (1.0, 1.0, LAST, 0),
        # 0.5 is not yet 0.6, so two remain: 5/8 and 3/8
        (1.0, 0.6, 0.62, 1),
        (1.0, 0.6, 0.63, 2),
        (1.0, 0.6, LAST, 2),
        (1.0, 0.4, LAST, 1),
        (1.0, 1e-9, LAST, 1),
        # Squares: 25/38, 9/38, 4/38
        (0.5, 1.0, 0.65, 1),
        (0.5, 1.0, 0.66, 2),
        (0.5, 1.0, 0.90, 0),
        (1e-30, 1.0, LAST, 1),
    ],
)
async def test_choose(temperature: float, top_p: float, uniform: float, token: int) -> None:
    logits = torch.tensor([[0.0, 9.0, 0.0], [0.2, 0.5, 0.3]]).log()
    greedy, drawn = choose(logits, [Row(0.0, 1.0, Fixed(0)), Row(temperature, top_p, Fixed(uniform))])
    assert greedy.token == 1
    assert greedy.logprob == 0.0
    assert drawn.token == token
    assert drawn.logprob == pytest.approx([-1.6094379, -0.6931472, -1.2039728][token])  # whatever the temperature


# Text


def pieces(tokenizer: Any, ids: list[int]) -> list[str]:
    detokeniser = Detokeniser(tokenizer)
    return [detokeniser.feed(token) for token in ids]


async def test_characters_of_several_tokens() -> None:
    """One token a byte."""
    tokenizer = ByT5Tokenizer()
    ids = tokenizer("é 🎉!", add_special_tokens=False)["input_ids"]
    assert pieces(tokenizer, ids) == ["", "é", " ", "", "", "", "🎉", "!"]
    assert pieces(tokenizer, ids[:-2]) == ["", "é", " ", "", "", ""]


BYTES = ByT5Tokenizer()
WORDS = tiny_seq2seq.tokenizer()


@given(st.text())
async def test_pieces_join_to_the_text(text: str) -> None:
    text = text.replace("\ufffd", "")
    shown = pieces(BYTES, BYTES(text, add_special_tokens=False)["input_ids"])
    assert "".join(shown) == text
    assert not any("\ufffd" in piece for piece in shown)


@given(st.lists(st.integers(0, len(WORDS) - 1), max_size=20))
async def test_pieces_join_to_the_decoded_tokens(ids: list[int]) -> None:
    assert "".join(pieces(WORDS, ids)) == WORDS.decode(ids, skip_special_tokens=True)
