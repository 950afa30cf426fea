"""Plans with figures worked by hand, and where their replicas go."""

from typing import Any

import pytest

from serve_app.config import AppConfig
from serve_app.config.serve_file import ServeFile
from serve_app.planning.feasibility import Fit, NodeGroup, fits
from serve_app.planning.plan import Plan, Replicas, Weights, cautions, plan_of

A100 = "accelerator_type:A100-80G"


def args(models: dict[str, dict[str, Any]], **options: Any) -> AppConfig:
    """Return a cascade whose members are all models but the last."""
    replay = {"engine": "replay", "default": "x"}
    filled = {name: model if "engine" in model else replay | model for name, model in models.items()}
    *members, target = models
    signal = "exact" if len(members) > 1 else "chow_avg"
    tiers = [{"models": members, "signal": signal, "threshold": 0.5}] if members else []
    return AppConfig.model_validate(
        {"models": filled, "cascades": {"default": {"tiers": [*tiers, {"models": [target]}]}}} | options
    )


def vllm(**fields: Any) -> dict[str, Any]:
    return {"engine": "vllm", "weights": "hf://org/model"} | fields


def gpus(number: float, **deployment: Any) -> dict[str, Any]:
    return {"deployment": {"ray_actor_options": {"num_gpus": number}} | deployment}


def planned(models: dict[str, dict[str, Any]], **options: Any) -> Plan:
    return plan_of(file_of(args(models, **options)))


def file_of(config: AppConfig, *deployments: dict[str, Any], **options: Any) -> ServeFile:
    entry = {"import_path": "serve_app.app:build_app", "args": config, "deployments": list(deployments)}
    return ServeFile.model_validate({"applications": [entry]} | options)


def on(plan: Plan, *nodes: dict[str, float]) -> Fit:
    return fits(plan, [NodeGroup(f"n{number}", resources) for number, resources in enumerate(nodes, 1)])


ENSEMBLE = {
    "a": vllm(parameters=0.5e9, gpu_memory_utilization=0.2) | gpus(0.25),
    "b": vllm(parameters=1e9, gpu_memory_utilization=0.2) | gpus(0.25),
    "c": vllm(parameters=1.5e9, gpu_memory_utilization=0.2) | gpus(0.25),
    "t": vllm(
        parameters=70e9, tensor_parallel_size=4, deployment={"ray_actor_options": {"accelerator_type": "A100-80G"}}
    ),
}
"""Three members and SBERT share one GPU; the 70B target has four: 1 + 4 GPUs, 3 + 4 + 0.1 + 0.1 CPUs."""
SBERT = {"scorer": gpus(0.25)}


def test_an_ensemble_on_one_gpu_and_a_target_on_four() -> None:
    plan = planned(ENSEMBLE, **SBERT)
    assert [(p.name, p.kind, p.engine, p.replicas) for p in plan] == [
        ("a", "model", "vllm", Replicas(1, 1, 1)),
        ("b", "model", "vllm", Replicas(1, 1, 1)),
        ("c", "model", "vllm", Replicas(1, 1, 1)),
        ("t", "model", "vllm", Replicas(1, 1, 1)),
        ("Scorer", "scorer", "", Replicas(1, 1, 1)),
        ("Router", "router", "", Replicas(1, 1, 1)),
    ]
    a, _, _, t, scorer, router = plan
    assert a.bundles == ({"GPU": 0.25, "CPU": 1},)
    assert t.bundles == ({"GPU": 1, "CPU": 1, A100: 0.001},) * 4
    assert (t.strategy, t.accelerator_type, t.resources) == ("PACK", "A100-80G", {"CPU": 4, "GPU": 4})
    assert (scorer.resources, router.resources) == ({"CPU": 0.1, "GPU": 0.25}, {"CPU": 0.1})
    assert plan.totals("min") == plan.totals("initial") == plan.totals("max") == {"CPU": 7.2, "GPU": 5}


def test_several_routers_bring_what_they_share() -> None:
    plan = planned(ENSEMBLE, **SBERT, router={"deployment": {"num_replicas": 2}})
    *_, store, router = plan
    assert (store.name, store.kind, store.replicas) == ("StateStore", "store", Replicas(1, 1, 1))
    assert router.replicas == Replicas(2, 2, 2)
    assert plan.totals("min") == {"CPU": 7.4, "GPU": 5}


def test_where_the_ensemble_goes() -> None:
    l4, a100 = {"CPU": 8, "GPU": 1, "accelerator_type:L4": 1}, {"CPU": 32, "GPU": 4, A100: 1}
    fit = on(planned(ENSEMBLE, **SBERT), l4, a100)
    assert (fit.impossible, fit.warnings) == ((), ())
    assert fit.places == {
        "a": (("n1",),),
        "b": (("n1",),),
        "c": (("n1",),),
        "t": (("n2", "n2", "n2", "n2"),),
        "Scorer": (("n1",),),
        "Router": (("n1",),),
    }


def test_the_sum_is_said_with_its_parts() -> None:
    assert on(planned(ENSEMBLE, **SBERT), {"CPU": 2}).impossible == (
        "no node can hold a bundle of 'a': 1 CPU, 0.25 GPUs",
        "no node can hold a bundle of 'b': 1 CPU, 0.25 GPUs",
        "no node can hold a bundle of 'c': 1 CPU, 0.25 GPUs",
        "no node can hold a bundle of 't': 1 CPU, 1 GPU, A100-80G",
        "no node can hold a bundle of 'Scorer': 0.1 CPUs, 0.25 GPUs",
        "it needs 7.2 CPUs (a: 1, b: 1, c: 1, t: 4, Scorer: 0.1, Router: 0.1), the cluster has 2",
        "it needs 5 GPUs (a: 0.25, b: 0.25, c: 0.25, t: 4, Scorer: 0.25), the cluster has 0",
        "it needs 4 A100-80G GPUs (t: 4), the cluster has 0",
    )


def test_eight_by_two_over_two_nodes() -> None:
    """TP 8 x PP 2: 16 GPUs; bfloat16 weights 140 GB, 8.75 GB a GPU."""
    plan = planned({"t": vllm(parameters=70e9, tensor_parallel_size=8, pipeline_parallel_size=2)})
    (target, *_) = plan
    assert target.resources == {"CPU": 16, "GPU": 16}
    assert target.weights == Weights(140_000_000_000, "parameters x 2 bytes, bfloat16", 16)
    assert target.weights.bytes_per_gpu == 8_750_000_000
    assert target.gpu_memory_utilization == 0.9
    (places,) = on(plan, {"CPU": 64, "GPU": 8}, {"CPU": 64, "GPU": 8}).places["t"]
    assert places == ("n1",) * 8 + ("n2",) * 8
    assert on(plan, {"CPU": 64, "GPU": 8}).impossible == ("it needs 16 GPUs (t: 16), the cluster has 8",)


@pytest.mark.parametrize(
    ("strategy", "nodes", "sentences"),
    [
        ("PACK", [4, 4], ()),
        ("SPREAD", [4, 4], ()),
        ("STRICT_PACK", [8], ()),
        (
            "STRICT_PACK",
            [4, 4],
            ("no node can hold a replica of 't', whose 8 bundles STRICT_PACK puts on one: 8 CPUs, 8 GPUs",),
        ),
        ("STRICT_SPREAD", [8, 8], ("STRICT_SPREAD puts the 8 bundles of 't' on as many nodes, 2 can hold one",)),
        ("STRICT_SPREAD", [1] * 8, ()),
    ],
)
def test_strategies(strategy: str, nodes: list[int], sentences: tuple[str, ...]) -> None:
    plan = planned({"t": vllm(tensor_parallel_size=8, worker_strategy=strategy)})
    fit = on(plan, *({"CPU": 16, "GPU": number} for number in nodes))
    assert (fit.impossible, fit.warnings) == (sentences, ())


def test_spread_takes_a_node_twice_only_when_it_must() -> None:
    bundles = {"placement_group_bundles": [{"CPU": 1}] * 3, "placement_group_strategy": "SPREAD"}
    plan = planned({"t": {"deployment": bundles}})
    assert on(plan, {"CPU": 4}, {"CPU": 4}).places["t"] == (("n1", "n2", "n1"),)


def test_autoscaling_from_zero() -> None:
    """The members need 2 GPUs, 3 at the most; a target's replica 4: 2 at the start, 6 at once, 11 at the most."""
    models = {
        "m": gpus(1, autoscaling_config={"min_replicas": 1, "max_replicas": 3, "initial_replicas": 2}),
        "t": gpus(4, autoscaling_config={"min_replicas": 0, "max_replicas": 2}),
    }
    plan = planned(models)
    assert [p.replicas for p in plan][:2] == [Replicas(1, 2, 3), Replicas(0, 0, 2)]
    assert [plan.totals(when)["GPU"] for when in ("min", "initial", "max")] == [1, 2, 11]
    fit = on(plan, {"CPU": 8, "GPU": 8})
    assert fit.impossible == ()
    assert fit.warnings == (
        "at max_replicas it needs 11 GPUs (m: 3, t: 8), the cluster has 8: the remaining replicas would wait",
    )
    assert fit.places["t"] == ()
    # Four GPUs would do to start, but then no target could ever come beside one member.
    assert on(plan, {"CPU": 8, "GPU": 4}).impossible == (
        "it needs 5 GPUs for one replica of 't' beside the least of the others (m: 1, t: 4), the cluster has 4",
    )


def test_nodes_that_may_come() -> None:
    plan = planned({"t": gpus(4, num_replicas=2)})
    none_yet = [NodeGroup("head", {"CPU": 4}), NodeGroup("gpu", {"CPU": 8, "GPU": 4}, count=0, max_count=2)]
    fit = fits(plan, none_yet)
    assert fit.impossible == ()
    assert fit.warnings == (
        "no node can hold a bundle of 't': 0.1 CPUs, 4 GPUs: the remaining replicas wait for nodes to be added",
        "it needs 8 GPUs (t: 8), the cluster has 0: the remaining replicas wait for nodes to be added",
    )
    assert fit.places["t"] == ((), ())
    gpu_nodes = NodeGroup("gpu", {"CPU": 8, "GPU": 4}, count=0, max_count=1)
    assert fits(plan, [NodeGroup("head", {"CPU": 4}), gpu_nodes]).impossible == (
        "it needs 8 GPUs (t: 8), the cluster has 4",
    )


def test_a_share_lies_on_one_gpu() -> None:
    """Three times 0.6 is less than 2 GPUs, yet two GPUs hold only two of them: no sum says so, hence a warning."""
    fit = on(planned({"t": gpus(0.6, num_replicas=3)}), {"CPU": 4, "GPU": 2})
    assert fit.impossible == ()
    assert fit.warnings == ("found no room for 1 of 3 replicas of 't', though the sums allow it",)
    assert fit.places["t"] == (("n1",), ("n1",), ())


def test_memory_and_resources_of_the_clusters_own() -> None:
    actor = {"memory": 24_000_000_000, "resources": {"fast_disk": 1}}
    plan = planned({"t": {"deployment": {"num_replicas": 2, "ray_actor_options": actor}}})
    assert plan.totals("max") == {"CPU": 0.4, "memory": 48_000_000_000, "fast_disk": 2}
    assert on(plan, {"CPU": 4, "memory": 32e9, "fast_disk": 1}).impossible == (
        "it needs 48 GB of memory (t: 48 GB), the cluster has 32 GB",
        "it needs 2 of fast_disk (t: 2), the cluster has 1",
    )


def test_the_quickstarts_defaults_start_on_two_cores() -> None:
    plan = planned({"a": {}, "b": {}, "t": {}})
    assert plan.totals("max") == {"CPU": 0.5}
    assert on(plan, {"CPU": 2}).impossible == ()


def test_no_bundle_of_zero_and_many_small_ones() -> None:
    """Ten-thousandths: ten times 0.1 is one CPU, not a little more."""
    plan = planned({"t": {"deployment": {"num_replicas": 8}}})
    assert plan.totals("max") == {"CPU": 1}
    fit = on(plan, {"CPU": 1})
    assert (fit.impossible, fit.warnings) == ((), ())


def test_options_in_force_and_capacity() -> None:
    config = args({"t": gpus(1)})
    override = {"name": "t", "num_replicas": 5}
    assert plan_of(file_of(config, override)).totals("max")["GPU"] == 5
    # Serve rounds half up, and keeps one.
    assert plan_of(file_of(config, override, target_capacity=50)).totals("max") == {"CPU": 0.5, "GPU": 3}
    assert plan_of(file_of(config, override, target_capacity=1)).totals("max")["GPU"] == 1
    assert plan_of(file_of(config, override, target_capacity=0)).totals("max") == {}


def test_weights_do_not_count_a_draft_model_and_say_so() -> None:
    drafts = {"speculative_config": {"model": "org/draft", "num_speculative_tokens": 2}}
    plan = planned({"big": vllm(parameters=1e9, engine_kwargs=drafts)})
    assert {p.name: p.weights for p in plan if p.kind == "model"} == {
        "big": Weights(2_000_000_000, "parameters x 2 bytes, bfloat16, without its draft org/draft", 1)
    }


def test_weights_are_from_dtype_or_file_or_not_known() -> None:
    models = {
        "file": {"engine": "llama_cpp", "weights": "m.gguf"} | gpus(1),
        "half": {"engine": "seq2seq", "weights": "hf://org/t5", "parameters": 0.8e9, "dtype": "bfloat16"},
        "full": vllm(parameters=2e9, dtype="float32", device="cpu", tensor_parallel_size=2),
        "quantized": vllm(parameters=7e9, quantization="awq"),
        "unsaid": vllm(),
    }
    plan = plan_of(file_of(args(models)), {"file": 5, "full": 5})
    assert {p.name: p.weights for p in plan if p.kind == "model"} == {
        "file": Weights(5, "file", 1),
        "half": Weights(1_600_000_000, "parameters x 2 bytes, bfloat16", 0),
        "full": Weights(8_000_000_000, "parameters x 4 bytes, float32", 0),
        "quantized": None,
        "unsaid": None,
    }


def test_an_adapter_asks_for_nothing_of_its_own() -> None:
    lora = {"engine": "vllm_lora", "base": "base", "weights": "hf://org/adapter"}
    plan = planned({"base": vllm(parameters=7e9, deployment={"num_replicas": 2}), "sql": lora, "law": lora})
    assert [p.name for p in plan] == ["base", "Scorer", "Router"]
    assert plan.totals("max")["GPU"] == 2


def test_a_share_that_vllm_does_not_keep_to() -> None:
    plan = planned({"a": vllm(gpu_memory_utilization=0.25) | gpus(0.25), "b": vllm() | gpus(0.25), "t": vllm()})
    assert cautions(plan) == [
        "'b' asks for 0.25 of a GPU, but vLLM will fill 0.9 of it: lower its gpu_memory_utilization"
    ]
