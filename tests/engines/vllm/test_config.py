"""What vLLM is started with, from the config alone: neither vLLM nor Ray's LLM part is installed here."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from serve_app.engines.vllm.config import VllmConfig, llm_config_kwargs
from serve_app.errors import WeightsError


def config(**values: object) -> VllmConfig:
    return VllmConfig.model_validate({"engine": "vllm", "weights": "hf://Qwen/Qwen2.5-7B-Instruct"} | values)


def test_the_defaults() -> None:
    assert config().engine_arguments() == {
        "dtype": "auto",
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "gpu_memory_utilization": 0.9,
        "max_num_seqs": 256,
        "enforce_eager": False,
        "enable_prefix_caching": True,
        "generation_config": "vllm",
    }


def test_everything_said() -> None:
    everything = config(
        context_tokens=8192,
        dtype="bfloat16",
        tensor_parallel_size=4,
        pipeline_parallel_size=2,
        gpu_memory_utilization=0.85,
        max_num_seqs=64,
        quantization="awq",
        kv_cache_dtype="fp8",
        enforce_eager=True,
        enable_prefix_caching=False,
        chat_template="{{ messages }}",
        tool_call_parser="llama3_json",
        engine_kwargs={"max_num_batched_tokens": 4096},
    )
    assert everything.engine_arguments() == {
        "max_model_len": 8192,
        "dtype": "bfloat16",
        "tensor_parallel_size": 4,
        "pipeline_parallel_size": 2,
        "gpu_memory_utilization": 0.85,
        "max_num_seqs": 64,
        "quantization": "awq",
        "kv_cache_dtype": "fp8",
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "chat_template": "{{ messages }}",
        "tool_call_parser": "llama3_json",
        "enable_auto_tool_choice": True,
        "generation_config": "vllm",
        "max_num_batched_tokens": 4096,
    }


def test_llm_config_arguments_on_cpu() -> None:
    small = config(device="cpu", env={"VLLM_CPU_KVCACHE_SPACE": "1"})
    assert llm_config_kwargs(small, "qwen", "/models/qwen", small.worker_bundles(), small.worker_strategy) == {
        "model_loading_config": {"model_id": "qwen", "model_source": "/models/qwen"},
        "engine_kwargs": {
            "dtype": "auto",
            "tensor_parallel_size": 1,
            "pipeline_parallel_size": 1,
            "max_num_seqs": 256,
            "enforce_eager": False,
            "enable_prefix_caching": True,
            "enable_chunked_prefill": False,
            "generation_config": "vllm",
        },
        "placement_group_config": {"bundles": [{"CPU": 1.0}], "strategy": "PACK"},
        "runtime_env": {"env_vars": {"VLLM_CPU_KVCACHE_SPACE": "1"}},
        "experimental_configs": {"stream_batching_interval_ms": 0},
    }


def test_each_worker_has_a_bundle() -> None:
    large = config(tensor_parallel_size=2, pipeline_parallel_size=2)
    assert large.worker_bundles() == [{"GPU": 1.0, "CPU": 1.0}] * 4


@pytest.mark.parametrize(("parser", "honoured"), [(None, False), ("hermes", True)])
def test_tools_need_a_parser(parser: str | None, honoured: bool) -> None:
    assert config(tool_call_parser=parser).honours_tools is honoured
    assert config(tool_call_parser=parser).honours_response_format is True


NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}


def test_drafts_are_vllms_own_and_leave_no_biases_of_tokens() -> None:
    drafting = config(engine_kwargs={"speculative_config": NGRAM})
    assert drafting.engine_arguments()["speculative_config"] == NGRAM
    assert config().honours_sampling - drafting.honours_sampling == {"logit_bias"}


def test_the_model_that_drafts() -> None:
    drafting = config(engine_kwargs={"speculative_config": {"model": "tiny/draft", "num_speculative_tokens": 2}})
    assert drafting.draft_model == "tiny/draft"
    assert (config(engine_kwargs={"speculative_config": NGRAM}).draft_model, config().draft_model) == (None, None)


def test_thoughts_by_vllms_own_parser() -> None:
    assert "reasoning_parser" not in config().engine_arguments()
    assert config(reasoning_parser="qwen3").engine_arguments()["reasoning_parser"] == "qwen3"


def test_limits_to_thoughts_need_vllms_own_config() -> None:
    marks = {"reasoning_start_str": "<think>", "reasoning_end_str": "</think>"}
    assert config().honours_max_reasoning_tokens is False
    assert config(engine_kwargs={"reasoning_config": marks}).honours_max_reasoning_tokens is True
    assert (config().honours_reasoning_effort, config(reasoning_effort=True).honours_reasoning_effort) == (False, True)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"engine_kwargs": {"max_model_len": 4096}}, "engine_kwargs.max_model_len: use context_tokens instead"),
        (
            {"engine_kwargs": {"data_parallel_size": 2}},
            "engine_kwargs.data_parallel_size: cannot be set: more replicas",
        ),
        (
            {"engine_kwargs": {"enable_lora": True}},
            "engine_kwargs.enable_lora: use models with engine: vllm_lora instead",
        ),
        ({"engine_kwargs": {"logprobs_mode": "raw_logits"}}, "engine_kwargs.logprobs_mode: cannot be set"),
        ({"device": "cpu", "pipeline_parallel_size": 2}, "pipeline_parallel_size: on CPU"),
        ({"gpu_memory_utilization": 1.2}, "less than or equal to 1"),
        ({"max_model_len": 4096}, "Extra inputs are not permitted"),
        (
            {"routing": "prefix", "enable_prefix_caching": False},
            "routing: prefix needs enable_prefix_caching: true",
        ),
    ],
)
def test_what_is_refused(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        config(**values)


def test_importing_engines_loads_no_vllm() -> None:
    code = "import sys, serve_app.config; print([m for m in ('vllm', 'ray', 'torch') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_code_of_the_weights_runs_only_with_trust(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin is a pickle.* set weights_trust: code"):
        config().check_folder(tmp_path)
    trusting = config(weights_trust="code", engine_kwargs={"load_format": "pt"})
    trusting.check_folder(tmp_path)
    arguments = trusting.engine_arguments()
    assert (arguments["trust_remote_code"], arguments["load_format"]) == (True, "pt")
    with pytest.raises(ValidationError, match="trust_remote_code: use weights_trust: code instead"):
        config(engine_kwargs={"trust_remote_code": True})
    with pytest.raises(ValidationError, match="load_format: pt needs weights_trust: code"):
        config(engine_kwargs={"load_format": "pt"})
