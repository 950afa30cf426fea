"""The graph of the config in force: what it shows, and what it never does."""

import json
from typing import Any

from serve_app.api.service import Readiness
from serve_app.config import AppConfig
from serve_app.deployments.policies import Policies
from serve_app.deployments.showing.config import ConfigGraph, bundle_words
from serve_app.deployments.showing.policy_words import policy_sentences, remedy_sentences

REPLAY = {"engine": "replay", "default": "x"}
REMOTE = {
    "engine": "openai_api",
    "base_url": "http://hidden-host.internal:9/v1",
    "model": "m",
    "api_key_env": "HIDDEN_KEY",
    "headers": {"x-team": "hidden-header"},
    "extra_body": {"user": "hidden-body"},
}
FILE_KEY = {"engine": "openai_api", "base_url": "http://127.0.0.1:9/v1", "model": "m", "api_key_file": "/hidden/key"}
CASCADES: dict[str, Any] = {
    "default": {
        "tiers": [
            {
                "models": ["gguf", "remote", {"model": "a", "samples": 2, "temperature": 0.7}],
                "signal": "rougeL",
                "threshold": 0.6,
                "agreement": "mean",
                "compare": {"take": "last_number"},
                "select": "gguf",
                "quorum": 3,
            },
            {"models": ["keyed"], "signal": "chow_avg", "threshold": -1},
            {"models": ["t"]},
        ],
        "speculate": {"after_s": 0.5, "billed": True},
        "skip": {"fitted": "/hidden/fitted.npz", "encoder": "near", "accept_above": 0.9, "member": "gguf"},
        "cache": {},
        "stickiness": "escalate",
        "on_target_failure": "best_member",
    },
    "alone": {"tiers": [{"models": ["t"]}]},
}
CONFIG: dict[str, Any] = {
    "models": {
        "gguf": {"engine": "llama_cpp", "weights": "/hidden/folder/small.gguf", "parameters": 5e8},
        "remote": REMOTE,
        "a": REPLAY,
        "keyed": FILE_KEY | {"logprobs": True},
        "t": {
            "engine": "llama_cpp",
            "weights": "hf://org/repo/large.gguf",
            "deployment": {
                "autoscaling_config": {"min_replicas": 1, "max_replicas": 4},
                "ray_actor_options": {"num_gpus": 1, "num_cpus": 4, "accelerator_type": "L4", "memory": 8_000_000_000},
            },
        },
    },
    "signals": {"near": {"kind": "sbert"}},
    "cascades": CASCADES,
    "router": {"tracing": {"endpoint": "http://hidden-collector:4318"}, "cors": {"origins": ["https://hidden.app"]}},
}


class Ready:
    """The readiness of a server in which everything runs."""

    async def now(self) -> Readiness:
        return Readiness(True, {"replicas": dict.fromkeys([*CONFIG["models"], "Router", "Scorer"], 1)})


async def graph(config: dict[str, Any] = CONFIG, settings: dict[str, Any] | None = None) -> Any:
    validated = AppConfig.model_validate(config)
    policies = Policies(validated)
    policies.change(settings or {})
    readiness: Any = Ready()
    return await ConfigGraph(validated, policies, readiness).graph()


async def test_nothing_that_may_be_secret_is_shown() -> None:
    shown = json.dumps(await graph())
    assert "small.gguf" in shown
    assert "hidden" not in shown.lower()


async def test_a_policy_is_told_in_words() -> None:
    tiers = (await graph())["cascades"][0]["tiers"]
    assert tiers[0]["policy"] == [
        "Asks gguf, remote, a#1 and a#2 at once, for up to 120 s.",
        "The signal rougeL compares the answers in pairs; the agreement is the mean of the answers' scores.",
        "Of each answer it sees a view (take: last_number).",
        "Accepts if the agreement is at least 0.6; else it defers to keyed.",
        "If it accepts, the answer of gguf goes back.",
        "Defers with fewer than 2 answers.",
        "Decides on the first 3 answers.",
        "Stops waiting once no missing answer can change the decision or the answer that goes back.",
    ]
    assert tiers[1]["policy"] == [
        "Asks keyed, for up to 120 s.",
        "The signal chow_avg scores each answer by its own log-probabilities; the confidence is the mean of the "
        "answers' scores.",
        "Accepts if the confidence is at least -1; else it defers to t.",
        "If it accepts, the answer with the best score goes back.",
    ]
    assert tiers[2]["policy"] == ["Answers what is deferred to it.", "May take 600 s."]
    assert (await graph())["cascades"][1]["tiers"][0]["policy"][0] == "Answers every request."


async def test_remedies_are_told_in_words() -> None:
    assert (await graph())["cascades"][0]["remedies"] == [
        "The next tier is asked before a tier has decided: if it has not decided after 0.5 s (speculate).",
        "Equal requests at temperature 0 are answered from memory for 600 s (cache).",
        "A request is answered by gguf alone if at least 90% of the 25 past requests most like it were accepted "
        "(skip).",
        "A conversation that was deferred once stays with the target (stickiness).",
        "If the target fails, the best member's answer stands in (on_target_failure).",
    ]
    assert (await graph())["cascades"][1]["remedies"] == []


def test_what_is_done_under_pressure_and_without_a_scorer_is_told_in_words() -> None:
    stand_in = {"signal": "chrf", "threshold": 0.45}
    tier = {"models": ["a", "b"], "signal": "sbert", "threshold": 0.7, "on_scorer_failure": stand_in}
    cascade = {"tiers": [tier, {"models": ["t"]}], "shed": {"by": "members", "begin_at": 0.75}}
    models = {name: {"engine": "replay", "default": "x"} for name in "abt"}
    config = AppConfig.model_validate({"models": models, "cascades": {"c": cascade}})
    sentences = policy_sentences(config.tiers("c", [0.7])[0], "t", None, first=True)
    assert "If the scorer fails, chrf decides, at 0.45 (on_scorer_failure)." in sentences
    assert remedy_sentences(config.cascades["c"]) == [
        "While 75% of the target's queue is taken, the best answer of the members is accepted (shed)."
    ]


async def test_models_have_sizes_sources_and_deployments() -> None:
    shown = await graph()
    models = {model["name"]: model for model in shown["models"]}
    assert models["gguf"] == {
        "name": "gguf",
        "engine": "llama_cpp",
        "parameters": 5e8,
        "active_parameters": None,
        "weights": ["small.gguf"],
        "deployment": "gguf",
    }
    assert models["t"]["weights"] == ["hf://org/repo/large.gguf"]
    assert models["remote"]["weights"] == []
    assert shown["cascades"][0]["tiers"][0]["deployments"] == ["gguf", "remote", "a", "a"]


async def test_deployments_have_replicas_and_what_each_reserves() -> None:
    deployments = {deployment["name"]: deployment for deployment in (await graph())["deployments"]}
    assert deployments["t"] == {
        "name": "t",
        "holds": "model",
        "replicas": [1, 4],
        "running": 1,
        "bundles": ["1 GPU (L4), 4 CPU, 8 GB memory"],
        "strategy": None,
    }
    assert (deployments["a"]["replicas"], deployments["a"]["bundles"]) == ([1, 1], ["0.1 CPU"])
    assert {deployments[name]["holds"] for name in ("Router", "Scorer")} == {"router", "scorer"}
    several = (await graph(CONFIG | {"router": {"deployment": {"num_replicas": 2}}}))["deployments"]
    assert [deployment["holds"] for deployment in several if deployment["name"] == "StateStore"] == ["shared state"]


def test_bundles_are_told_with_their_gpus_first() -> None:
    assert bundle_words({"CPU": 2, "GPU": 0.5}) == "0.5 GPU, 2 CPU"
    assert bundle_words({"CPU": 1, "accelerator_type:T4": 0.001}) == "1 CPU, on T4"
    assert bundle_words({"disk": 1, "CPU": 1}) == "1 CPU, 1 disk"


async def test_thresholds_are_those_in_force() -> None:
    model = {"a": REPLAY, "b": REPLAY}
    tiers = [{"models": ["a", "b"], "signal": "exact", "threshold": 0.5}, {"models": ["b"]}]
    config = {"models": model, "cascades": {"c": {"tiers": tiers}}}
    calibrated = {"id": "c1", "thresholds": [0.25]}
    shown = await graph(config, {"thresholds": {"c": [0.25]}, "calibrations": {"c": calibrated}})
    [cascade] = shown["cascades"]
    assert (cascade["calibration"], cascade["tiers"][0]["threshold"]) == ("c1", 0.25)
    assert cascade["tiers"][0]["policy"][2] == "Accepts if the agreement is at least 0.25; else it defers to b."
