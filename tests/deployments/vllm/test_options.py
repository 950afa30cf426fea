"""The arguments of `LLMConfig`, literally. Ray's class itself needs vLLM; tests/serve/test_vllm_graph.py has it."""

import json
from pathlib import Path

from serve_app.config import VllmModel
from serve_app.deployments.vllm.options import llm_arguments


def model(**values: object) -> VllmModel:
    return VllmModel.model_validate({"engine": "vllm", "weights": "hf://meta-llama/Llama-3.1-70B-Instruct"} | values)


def test_eight_workers_on_a_gpu_type() -> None:
    large = model(
        context_tokens=8192,
        tensor_parallel_size=4,
        pipeline_parallel_size=2,
        worker_strategy="PACK",
        deployment={"ray_actor_options": {"accelerator_type": "H100"}, "max_ongoing_requests": 200},
    )
    worker = {"GPU": 1.0, "CPU": 1.0, "accelerator_type:H100": 0.001}
    assert llm_arguments("llama-70b", large, "hf://meta-llama/Llama-3.1-70B-Instruct") == {
        "model_loading_config": {
            "model_id": "llama-70b",
            "model_source": "hf://meta-llama/Llama-3.1-70B-Instruct",
        },
        "engine_kwargs": {
            "max_model_len": 8192,
            "dtype": "auto",
            "tensor_parallel_size": 4,
            "pipeline_parallel_size": 2,
            "gpu_memory_utilization": 0.9,
            "max_num_seqs": 256,
            "enforce_eager": False,
            "enable_prefix_caching": True,
            "generation_config": "vllm",
        },
        "placement_group_config": {"bundles": [worker] * 8, "strategy": "PACK"},
        "accelerator_type": "H100",
        "runtime_env": {"env_vars": {}},
        "experimental_configs": {"stream_batching_interval_ms": 0},
        "deployment_config": {
            "num_replicas": 1,
            "max_ongoing_requests": 200,
            "max_queued_requests": -1,
            "ray_actor_options": {"num_cpus": 0},
            "graceful_shutdown_timeout_s": 20.0,
        },
    }


def test_autoscaling_and_bundles_of_its_own() -> None:
    shared = model(
        deployment={
            "autoscaling_config": {"min_replicas": 0, "max_replicas": 3},
            "placement_group_bundles": [{"GPU": 0.3, "CPU": 2}],
            "placement_group_strategy": "STRICT_PACK",
        }
    )
    arguments = llm_arguments("small", shared, "/models/small")
    assert arguments["placement_group_config"] == {"bundles": [{"GPU": 0.3, "CPU": 2.0}], "strategy": "STRICT_PACK"}
    assert arguments["accelerator_type"] is None
    assert arguments["deployment_config"]["autoscaling_config"]["max_replicas"] == 3
    assert "num_replicas" not in arguments["deployment_config"]


def test_bundles_without_a_strategy_are_packed() -> None:
    arguments = llm_arguments("small", model(deployment={"placement_group_bundles": [{"GPU": 1}]}), "/models/small")
    assert arguments["placement_group_config"] == {"bundles": [{"GPU": 1.0}], "strategy": "PACK"}


def test_on_cpu() -> None:
    small = model(device="cpu", env={"VLLM_CPU_KVCACHE_SPACE": "1"})
    arguments = llm_arguments("small", small, "/models/small")
    assert arguments["placement_group_config"] == {"bundles": [{"CPU": 1.0}], "strategy": "PACK"}
    assert arguments["accelerator_type"] is None
    assert "gpu_memory_utilization" not in arguments["engine_kwargs"]


def test_adapters_are_loaded_as_the_base_says(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").touch()
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8}))
    adapters = {"sql": tmp_path, "law": tmp_path}
    arguments = llm_arguments("small", model(engine_kwargs={"max_loras": 1}), "/models/small", adapters)
    plain = llm_arguments("small", model(), "/models/small")
    modules = [{"name": name, "path": str(tmp_path)} for name in adapters]
    lora = {"enable_lora": True, "max_loras": 1, "max_cpu_loras": 2, "max_lora_rank": 8, "lora_modules": modules}
    assert arguments == plain | {"engine_kwargs": plain["engine_kwargs"] | lora}
    more = llm_arguments("small", model(engine_kwargs={"max_loras": 4}), "/models/small", adapters)
    assert more["engine_kwargs"]["max_cpu_loras"] == 4


def test_prefix_aware_routing() -> None:
    shared = model(routing="prefix", deployment={"num_replicas": 3})
    assert llm_arguments("small", shared, "/models/small")["deployment_config"] == {
        "num_replicas": 3,
        "max_ongoing_requests": 64,
        "max_queued_requests": -1,
        "ray_actor_options": {"num_cpus": 0},
        "graceful_shutdown_timeout_s": 20.0,
        "request_router_config": {
            "request_router_class": "serve_app.deployments.vllm.prefix_routing.PromptPrefixRouter",
            "request_router_kwargs": {"imbalanced_threshold": 10, "do_eviction": True},
        },
    }
