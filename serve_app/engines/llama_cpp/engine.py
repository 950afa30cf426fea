"""llama.cpp in this process, through `xllamacpp`: concurrent requests are batched over the slots of one server.

What xllamacpp does (2026.10) and what we make of it:

* A request blocks a thread and calls back with JSON chunks; a callback that returns True stops the decoding. Exceptions
  in a callback are swallowed, so ours keeps them. With `return_progress` it also calls back between prompt batches.
* `cache_prompt` (reusing the prefix that a slot last held) and batching beside other requests change the last bits of
  k-quants' logits, on CPUs with AMX at least, and so now and then a greedy answer. Hence reuse is off by default: a
  request that runs alone gives the same answer whatever was asked before. Q4_1 was bit for bit the same in all cases.
* Log-probabilities are those of the raw logits: temperature and top_p do not touch them. The end token has none, though
  it counts as a completion token; of a character made of several tokens only the last has one.
* Penalties count the last 64 tokens, of the prompt's end as well as of the answer; OpenAI counts the answer's alone. A
  longer window would take in the end tokens of a long chat, and then answers do not end.
* Its own stop strings lose text in streams (what was held back when the answer ends) and blank the tokens'
  log-probabilities, so we match stop strings ourselves; the decoding step running meanwhile is wasted.
* A cancelled request is charged for the step that runs when the cancelling is seen, as llama.cpp counts it too.
* A reader of its own for thoughts depends on what its analysis makes of a chat template, so we tell them apart by their
  marks. If the template has written the opening mark, the answer begins with it or does not, as that analysis goes.
* `thinking_budget_tokens` ends the thoughts by force, if that analysis has found their marks; else we end the answer. A
  grammar holds from the first token on, so that of an answer with thoughts allows for them.
* It always opens a port on the loopback interface: a random API key shuts it.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from serve_app.core.types.answer import Delta
from serve_app.core.types.prompt import Prompt, Sampling
from serve_app.engines.base import EngineCounters, Meter
from serve_app.engines.llama_cpp.call import Call
from serve_app.engines.llama_cpp.config import LlamaCppConfig
from serve_app.engines.llama_cpp.grammar import GrammarChecker
from serve_app.engines.llama_cpp.template import Port, Template, read_template
from serve_app.engines.llama_cpp.tools import chat_fields
from serve_app.engines.running.slots import CLOSED
from serve_app.engines.running.threaded import ThreadedEngine
from serve_app.errors import EngineError, UnsupportedRequestError

_MAGIC = b"GGUF"


class LlamaCppEngine(ThreadedEngine[Call]):
    """One model loaded by llama.cpp. Requests beyond the slots wait on our side, where cancelling them is free."""

    def __init__(self, config: LlamaCppConfig, server: Any, template: Template, vocabulary: int) -> None:
        self._config = config
        self._server = server
        self._template = template
        self._vocabulary = vocabulary
        self._slots = asyncio.Semaphore(config.slots)
        self._grammars = GrammarChecker()
        self._pool = ThreadPoolExecutor(config.slots, thread_name_prefix="llama_cpp")
        self._running: dict[Call, asyncio.Future[None]] = {}
        self._requests = 0
        self._last = EngineCounters(0, 0, 0, 0)
        self._closed = False

    @classmethod
    async def load(cls, config: LlamaCppConfig, weights: Path | None) -> "LlamaCppEngine":
        """Load the model from a GGUF file. Raises `EngineError` if it cannot be loaded."""
        if weights is None:
            raise EngineError("The llama_cpp engine needs the local path of a GGUF file.")
        return cls(config, *await asyncio.to_thread(_start_server, config, weights))

    def counters(self) -> EngineCounters:
        """Return llama.cpp's own counters: a request's tokens appear when its prompt is read and when it has ended."""
        server = self._server
        if server is None:
            return self._last
        lines = (line.split() for line in server.handle_metrics().splitlines() if not line.startswith("#"))
        values = {name.removeprefix("llamacpp:"): float(value) for name, value in lines}
        return EngineCounters(
            active=int(values["requests_processing"]),
            requests=self._requests,
            prompt_tokens=int(values["prompt_tokens_total"] + values["prompt_tokens_cached_total"]),
            completion_tokens=int(values["tokens_predicted_total"]),
        )

    async def close(self) -> None:
        self._closed = True
        for call in self._running:
            call.cancelled = True
        if self._running:
            await asyncio.wait(self._running.values())
        await self._grammars.close()
        await asyncio.to_thread(self._free)

    def _free(self) -> None:
        self._pool.shutdown()
        if self._server is not None:
            self._last = replace(self.counters(), active=0)
            self._server = None  # its destructor joins llama.cpp's threads

    def _call(self, prompt: Prompt, meter: Meter, on_delta: Callable[[Delta], object] | None = None) -> Call:
        self._check_tokens(prompt)
        template, markers = self._template, self._config.reasoning
        body = _body(self._config, prompt, template)
        if markers is not None:
            begins_open = template.thoughts_of(prompt) == "begun"
            markers = markers.model_copy(update={"begins_open": begins_open})
        if self._config.stop:
            sampling = replace(prompt.sampling, stop=(*prompt.sampling.stop, *self._config.stop))
            prompt = replace(prompt, sampling=sampling)
        return Call(body, prompt, meter, self._config.batch_tokens, on_delta, markers)

    def _check_tokens(self, prompt: Prompt) -> None:
        """Refuse a bias for a token that does not exist: llama.cpp would ignore it."""
        last = self._vocabulary - 1
        if (beyond := next((token for token, _ in prompt.sampling.logit_bias if token > last), None)) is not None:
            raise UnsupportedRequestError(f"there is no token {beyond}; the last is {last}.", "logit_bias")

    async def _start(self, call: Call) -> asyncio.Future[None]:
        """Wait for a slot, then run the call in a thread. The slot belongs to the thread, not to the awaiting task."""
        if call.grammar is not None:
            await self._grammars.check(call.grammar, call.grammar_field)
        await self._slots.acquire()
        if self._closed:
            self._slots.release()
            raise EngineError(CLOSED)
        self._requests += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, self._run, call)
        self._running[call] = future
        future.add_done_callback(lambda _: self._ended(call))
        return future

    def _ended(self, call: Call) -> None:
        self._running.pop(call).exception()  # so that asyncio sees it retrieved if nobody waits any more
        self._slots.release()

    def _run(self, call: Call) -> None:
        handle = self._server.handle_completions if call.raw else self._server.handle_chat_completions
        call.started = time.perf_counter()
        try:
            handle(call.body, call)
        except (RuntimeError, ValueError) as error:  # of the request's body, or of the chat template
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise UnsupportedRequestError(f"llama.cpp could not take the request: {reason}", "messages") from error
        call.ended = time.perf_counter()
        if call.error:
            raise call.error
        if self._closed and not call.finished:
            raise EngineError("The model was closed while it answered.")


def _body(config: LlamaCppConfig, prompt: Prompt, template: Template) -> dict[str, Any]:
    """Return the request in llama.cpp's dialect of OpenAI's JSON.

    top_k and min_p are set since llama.cpp's defaults would truncate the distribution.
    """
    sampling, decoding = prompt.sampling, config.decoding(prompt.sampling)
    body: dict[str, Any] = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
        "timings_per_token": True,
        "cache_prompt": config.cache_prompt,
        # llama.cpp counts in 32 bits, and no answer is longer than the context.
        "max_tokens": min(decoding.max_tokens, config.context_tokens),
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "top_k": 0,
        "min_p": 0.0,
    }
    if decoding.seed is not None:
        body["seed"] = decoding.seed % (2**32 - 1)  # 32 bits, of which the last value means a random seed
    body |= _adjustments(sampling)
    if prompt.text is not None:
        return body | {"prompt": prompt.text} | ({"logprobs": 1} if sampling.logprobs else {})
    logprobs = {"logprobs": True, "top_logprobs": max(1, sampling.top_logprobs)} if sampling.logprobs else {}
    return body | chat_fields(prompt, template, config.reasoning) | logprobs


def _adjustments(sampling: Sampling) -> dict[str, Any]:
    """Return what changes the logits: penalties and biases, if any."""
    fields = {
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "logit_bias": {str(token): bias for token, bias in sampling.logit_bias},
    }
    return {name: value for name, value in fields.items() if value}


def _start_server(config: LlamaCppConfig, weights: Path) -> tuple[Any, Template, int]:
    """Return the loaded server, what its chat template does, and the number of its tokens."""
    try:
        import xllamacpp
    except ImportError as error:
        message = "The llama_cpp engine needs xllamacpp: pip install 'semantic-cascade[llama-cpp]'."
        raise EngineError(message) from error
    if not weights.is_file():
        raise EngineError(f"There is no GGUF file at {str(weights)!r}.")
    with weights.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise EngineError(f"{str(weights)!r} is not a GGUF file, and llama.cpp is given nothing else.")
    params = xllamacpp.CommonParams()
    _set_values(params, config, weights)
    _set_dialect(params, xllamacpp)
    try:
        server = xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        message = f"llama.cpp could not load {str(weights)!r}: not a GGUF file it knows, or too little memory."
        raise EngineError(message) from error
    # The server answers once its loop runs. Destroyed before that, as it may be below, it would block indefinitely.
    server.handle_metrics()
    port = Port(server.listening_address.removeprefix("http://"), params.api_keys[0])
    template = read_template(port, config.reasoning)
    if config.reasoning_effort and not template.knows_effort:
        raise EngineError("reasoning_effort: true needs a chat template that reads reasoning_effort.")
    [model] = port.ask("/v1/models")["data"]
    return server, template, model["meta"]["n_vocab"]


def _set_values(params: Any, config: LlamaCppConfig, weights: Path) -> None:
    params.model.path = str(weights)
    params.n_parallel = config.slots
    params.n_ctx = config.context_tokens * config.slots  # shared out among the slots
    params.n_batch = params.n_ubatch = config.batch_tokens
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config.threads
    params.n_gpu_layers = config.gpu_layers
    params.chat_template = config.chat_template or ""
    params.fit_params = False  # take our values as they are
    params.cache_ram_mib = 0  # the default keeps up to 8 GB of old prompts
    params.cache_idle_slots = False
    params.n_ctx_checkpoints = 0


def _set_dialect(params: Any, xllamacpp: Any) -> None:
    """Answer as OpenAI does, print nothing to the terminal, and let nobody else in."""
    params.prefill_assistant = False  # as OpenAI: a final assistant message is history, not the beginning of the answer
    # We separate thoughts ourselves.
    params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
    params.verbosity = -1
    params.endpoint_metrics = True
    params.endpoint_slots = params.ui = False
    params.n_threads_http = 1
    params.api_keys = [secrets.token_urlsafe(32)]
