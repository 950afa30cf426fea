"""llama.cpp: what the contract leaves to it, and what we found out about it."""

import asyncio
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.engines import Engine, LlamaCppConfig, Meter, load_engine
from serve_app.engines.llama_cpp.engine import LlamaCppEngine
from serve_app.errors import EngineError, UnsupportedRequestError
from tests.engines.asking import active, chat, generate, idle, raw, stream
from tests.engines.conftest import load_llama_cpp
from tests.models.pickles import hostile

pytestmark = pytest.mark.asyncio(loop_scope="session")

models = pytest.mark.models
STORY = "Tell me a long story about a dog."


async def test_importing_engines_loads_no_heavy_library() -> None:
    code = "import sys, serve_app.engines; print([m for m in ('xllamacpp', 'ray', 'torch') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: ASYNC221
    assert result.stdout.strip() == "[]"


async def test_the_context_is_a_multiple_of_256() -> None:
    with pytest.raises(ValidationError, match="multiple of 256"):
        LlamaCppConfig(engine="llama_cpp", weights="x.gguf", context_tokens=2000)


@models
async def test_greedy_answers_repeat(llama: Engine) -> None:
    first = await generate(llama, chat(STORY, max_tokens=32, logprobs=True))
    await generate(llama, chat("Something else in the same slots.", max_tokens=4))
    again = await generate(llama, chat(STORY, max_tokens=32, logprobs=True))
    assert (again.text, again.logprobs) == (first.text, first.logprobs)


@models
async def test_greedy_answers_side_by_side_agree_for_this_model(llama: Engine) -> None:
    """Not a promise: k-quants (the quickstart's Qwen models) differ in their last bits when batched."""
    prompts = [chat(text, max_tokens=16) for text in (STORY, "Why is the sky blue?", "List ten animals.")]
    alone = [(await generate(llama, prompt)).text for prompt in prompts]
    together = await asyncio.gather(*(generate(llama, prompt) for prompt in prompts))
    assert [answer.finish_reason for answer in together] == ["length"] * 3
    assert [answer.text.split()[:2] for answer in together] == [text.split()[:2] for text in alone]


@models
async def test_logprobs_are_those_at_temperature_1(llama: Engine) -> None:
    """The first token's distribution does not depend on what is drawn: compare where the same token was drawn."""
    prompt = "The capital of France is"
    [cold] = (await generate(llama, raw(prompt, max_tokens=1, logprobs=True))).logprobs or ()
    hot_logprobs = {}
    for seed in range(8):
        sampling = {"max_tokens": 1, "logprobs": True, "seed": seed, "temperature": 0.7, "top_p": 0.9}
        [hot] = (await generate(llama, raw(prompt, **sampling))).logprobs or ()
        hot_logprobs[hot.token] = hot.logprob
    assert hot_logprobs[cold.token] == pytest.approx(cold.logprob, abs=1e-6)


@models
async def test_the_end_token_is_counted_but_has_no_logprob(llama: Engine) -> None:
    answer = await generate(llama, chat("What is 2+2? Answer with only the number.", logprobs=True))
    assert answer.finish_reason == "stop"
    assert answer.logprobs is not None
    assert answer.completion_tokens == len(answer.logprobs) + 1


@models
async def test_a_character_of_several_tokens_has_one_logprob(llama: Engine) -> None:
    answer = await generate(llama, raw("Repeat: 🎉🚀 🎉🚀 🎉🚀 🎉", max_tokens=12, logprobs=True))
    assert answer.logprobs is not None
    assert 0 < len(answer.logprobs) < answer.completion_tokens
    assert "".join(entry.token for entry in answer.logprobs) == answer.text


@models
async def test_a_model_may_have_stop_strings_of_its_own(smollm2: Path) -> None:
    engine = await load_llama_cpp(smollm2, stop=[" 4"])
    for stop, text in [((), " 3"), ((" 3",), "")]:
        prompt = raw("1 2 3 4 5 6 1 2 3 4 5 6 1 2", max_tokens=12, temperature=0.0, stop=stop)
        answer = await generate(engine, prompt)
        assert (answer.text, answer.finish_reason) == (text, "stop")
    await engine.close()


async def test_stop_strings_keep_the_logprobs_of_what_was_held_back(llama: Engine) -> None:
    prompt = raw("1 2 3 4 5 6", max_tokens=8, stop=("9 11",), logprobs=True)
    answer = await generate(llama, prompt)
    assert answer.text == " 7 8 9 1"
    assert [entry.token for entry in answer.logprobs or ()] == list(answer.text)


@models
async def test_sampling_uses_the_whole_distribution(llama: Engine) -> None:
    greedy = await generate(llama, raw("The dog", max_tokens=4))
    nucleus = await generate(llama, raw("The dog", max_tokens=4, temperature=1.5, top_p=1e-6, seed=1))
    assert nucleus.text == greedy.text
    # At such a temperature all tokens are nearly as likely: the 40 likeliest (llama.cpp's default) would not be left.
    wild = await generate(llama, raw("The dog", max_tokens=8, temperature=50.0, seed=1, logprobs=True))
    assert min(entry.logprob for entry in wild.logprobs or ()) < -10


@models
async def test_penalties_change_what_repeats(llama: Engine) -> None:
    numbers = "1 2 3 4 5 6 1 2 3 4 5 6 1 2"
    assert (await generate(llama, raw(numbers, max_tokens=8))).text == " 3 4 5 6"
    penalised = await generate(llama, raw(numbers, max_tokens=8, frequency_penalty=2.0))
    assert penalised.text != " 3 4 5 6"
    rewarded = await generate(llama, raw(numbers, max_tokens=8, presence_penalty=-2.0))
    assert rewarded.text == " 3 4 5 6"


@models
@pytest.mark.parametrize("ask", [raw, chat])
async def test_the_likeliest_tokens_and_their_biases(llama: Engine, ask: Callable[..., Prompt]) -> None:
    sampling = {"max_tokens": 1, "temperature": 0.0, "logprobs": True}
    [plain] = (await generate(llama, ask("The capital of France is", **sampling))).logprobs or ()
    assert plain.alternatives == ()
    banned = 28  # a comma
    biased = ask("The capital of France is", **sampling, logit_bias=((banned, 100.0),))
    [comma] = (await generate(llama, biased)).logprobs or ()
    assert comma.token == ","
    assert comma.logprob < plain.logprob  # of the raw logits, which no bias touches


@models
async def test_alternatives_are_in_order_and_begin_with_the_greedy_token(llama: Engine) -> None:
    answer = await generate(llama, chat("Capital of France?", max_tokens=3, logprobs=True, top_logprobs=4))
    for token in answer.logprobs or ():
        assert [alternative.logprob for alternative in token.alternatives] == sorted(
            (alternative.logprob for alternative in token.alternatives), reverse=True
        )
        assert (token.alternatives[0].token, len(token.alternatives)) == (token.token, 4)


@models
async def test_a_token_that_does_not_exist_has_no_bias(llama: Engine) -> None:
    await generate(llama, raw("The dog", max_tokens=1, logit_bias=((49151, 1.0),)))
    with pytest.raises(UnsupportedRequestError, match=r"^there is no token 49152; the last is 49151\.$") as caught:
        await generate(llama, raw("The dog", max_tokens=1, logit_bias=((0, 1.0), (49152, 1.0))))
    assert caught.value.param == "logit_bias"


@models
@pytest.mark.parametrize("seed", [-1, 2**32 - 1, 2**63 - 1])
async def test_every_integer_is_a_seed(llama: Engine, seed: int) -> None:
    prompt = raw("The dog", max_tokens=12, temperature=1.0, seed=seed)
    assert (await generate(llama, prompt)).text == (await generate(llama, prompt)).text


@models
async def test_a_last_message_of_the_assistant_is_history(llama: Engine) -> None:
    messages = (Message("user", "Hi"), Message("assistant", "I am a"))
    answer = await generate(llama, Prompt(messages=messages, sampling=Sampling(max_tokens=4)))
    alone = await generate(llama, chat("Hi", max_tokens=4))
    assert answer.prompt_tokens > alone.prompt_tokens + 5, "the end of that turn and the start of the next"


@models
async def test_a_request_that_llama_cpp_cannot_read(llama: Engine) -> None:
    for work in (generate, stream):
        with pytest.raises(EngineError, match="could not take the request"):
            await work(llama, chat("half a character: \ud83d"))
    await idle(llama)


@models
async def test_cancelling_twice_leaves_at_once_and_still_frees_the_slot(llama: Engine) -> None:
    task = asyncio.create_task(llama.generate(chat("filler " * 1000), Meter()))
    await active(llama, 1)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await idle(llama)
    answers = await asyncio.gather(*(generate(llama, chat(STORY, max_tokens=2)) for _ in range(4)))
    assert len(answers) == 4


@models
async def test_it_is_silent_and_its_port_is_shut(smollm2: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engine = await load_llama_cpp(smollm2, context_tokens=256)
    assert isinstance(engine, LlamaCppEngine)
    await generate(engine, chat("Hi", max_tokens=2))
    address = engine._server.listening_address
    assert address.startswith("http://127.0.0.1:")
    for path in ("/v1/models", "/metrics", "/props"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            await asyncio.to_thread(urllib.request.urlopen, address + path)
    await engine.close()
    with pytest.raises(EngineError):
        await load_llama_cpp(Path(__file__))
    assert capfd.readouterr() == ("", "")


@models
async def test_a_template_of_ones_own(smollm2: Path) -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    engine = await load_llama_cpp(smollm2, context_tokens=256, chat_template=template)
    text = "The capital of France is"
    assert (await generate(engine, chat(text, max_tokens=3))).text == (
        await generate(engine, raw(text, max_tokens=3))
    ).text
    await engine.close()


async def test_weights_that_cannot_be_loaded(tmp_path: Path) -> None:
    config = LlamaCppConfig(engine="llama_cpp", weights="x.gguf")
    with pytest.raises(EngineError, match="local path"):
        await load_engine(config, None)
    with pytest.raises(EngineError, match="no GGUF file at"):
        await load_engine(config, tmp_path / "x.gguf")
    pickled = tmp_path / "x.bin"
    hostile(pickled, tmp_path / "marker")
    with pytest.raises(EngineError, match=r"x\.bin' is not a GGUF file, and llama\.cpp is given nothing else"):
        await load_engine(config, pickled)
    assert not (tmp_path / "marker").exists()
    bad = tmp_path / "x.gguf"
    bad.write_bytes(b"GGUF" + b"?" * 1000)
    with pytest.raises(EngineError, match="could not load"):
        await load_engine(config, bad)
