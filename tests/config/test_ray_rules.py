"""The file's keys are Ray's, and its values are what Ray takes."""

from typing import Any

import pytest
from ray.serve.schema import DeploymentSchema, HTTPOptionsSchema, ServeApplicationSchema, ServeDeploySchema

from serve_app.config.overrides import DeploymentOverride
from serve_app.config.ray_rules import faults
from serve_app.config.serve_file import ApplicationEntry, HttpOptions, ServeFile


@pytest.mark.parametrize(
    ("ours", "rays", "refused"),
    [
        (ServeFile, ServeDeploySchema, set()),
        # They belong into http_options; Ray refuses them too.
        (ApplicationEntry, ServeApplicationSchema, {"host", "port"}),
        (DeploymentOverride, DeploymentSchema, set()),
        (HttpOptions, HTTPOptionsSchema, set()),
    ],
)
def test_every_key_of_rays(ours: Any, rays: Any, refused: set[str]) -> None:
    assert set(ours.model_fields) == set(rays.model_fields) - refused


def file(deployment: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    entry = {"import_path": "serve_app.app:build_app", "args": {}, "deployments": [{"name": "a"} | (deployment or {})]}
    return {"applications": [entry]} | options


WITHOUT_FAULT: list[dict[str, Any]] = [
    {},
    {"autoscaling_config": {"max_replicas": 3, "policy": {"policy_function": "not_here:policy"}}},
    {"autoscaling_config": None, "num_replicas": None, "user_config": {"thresholds": {"default": [0.5]}}},
    {"request_router_config": {"request_router_class": "not_here:Router", "initial_backoff_s": 0.1}},
    {"gang_scheduling_config": {"gang_size": 2}, "num_replicas": 4},
    {"backpressure_config": {"status_code": 429, "retry_after_s": 3}, "max_queued_requests": 5},
    {"rolling_update_percentage": 0.5, "max_surge_percent": 20, "max_replicas_per_node": 2},
    {"placement_group_bundles": [{"GPU": 1}], "placement_group_bundle_label_selector": [{"zone": "a"}]},
    {"ray_actor_options": {"num_gpus": 1, "label_selector": {"zone": "a"}}, "logging_config": {"log_level": "DEBUG"}},
    {"deployment_actors": [{"name": "cache", "actor_class": "not_here:Cache"}]},
]


@pytest.mark.parametrize("deployment", WITHOUT_FAULT, ids=str)
def test_what_ray_takes(deployment: dict[str, Any]) -> None:
    assert faults(file(deployment)) == []


@pytest.mark.parametrize(
    ("deployment", "sentences"),
    [
        (
            {"autoscaling_config": {"max_replicas": "many"}},
            ["autoscaling_config.max_replicas: must be a valid integer, "],
        ),
        (
            {"autoscaling_config": {"min_replica": 1, "min_replicas": -1}},
            [
                "autoscaling_config.min_replica: unknown key. Did you mean 'min_replicas'? Available: aggregation_fun",
                "autoscaling_config.min_replicas: must be greater than or equal to 0, got -1.",
            ],
        ),
        (
            {"autoscaling_config": {"min_replicas": 3}},
            ["autoscaling_config: max_replicas (1) must be greater than or eq"],
        ),
        (
            {"autoscaling_config": {"policy": {"policy_func": "x"}}},
            ["autoscaling_config.policy.policy_func: unknown key."],
        ),
        ({"autoscaling_config": {"policy": [1]}}, ["autoscaling_config.policy: must be a mapping, got a list."]),
        ({"logging_config": None}, ["logging_config: must be a valid dictionary or instance of LoggingConfig."]),
        ({"logging_config": {"log_level": "LOUD"}}, ['logging_config.log_level: Got "LOUD" for log_level.']),
        (
            {"logging_config": {"enable_access_logs": False}},
            ["logging_config.enable_access_logs: unknown key. Did you me"],
        ),
        ({"ray_actor_options": {"num_cpu": 1}}, ["ray_actor_options.num_cpu: unknown key. Did you mean 'num_cpus'?"]),
        (
            {"request_router_config": {"backoff_multiplier": "x"}},
            ["request_router_config.backoff_multiplier: must be a"],
        ),
        (
            {"gang_scheduling_config": {"gang_size": 0}},
            ["gang_scheduling_config.gang_size: must be greater than or equ"],
        ),
        (
            {"backpressure_config": {"status_code": 200}},
            ["backpressure_config.status_code: must be 503 or 429, got 200."],
        ),
        ({"deployment_actors": [{"name": "x"}]}, ["deployment_actors[0].actor_class: required, but missing."]),
        ({"rolling_update_percentage": 3}, ["rolling_update_percentage: must be less than or equal to 1, got 3."]),
        ({"num_replicas": 0}, ["num_replicas: must be greater than 0, got 0."]),
        ({"health_check_period_s": 0}, ["health_check_period_s: must be greater than 0, got 0."]),
        (
            {"num_replicas": 3, "gang_scheduling_config": {"gang_size": 2}},
            [": num_replicas (3) must be a multiple of gang"],
        ),
    ],
)
def test_what_ray_would_refuse_or_ignore(deployment: dict[str, Any], sentences: list[str]) -> None:
    problems = faults(file(deployment))
    assert len(problems) == len(sentences)
    for got, sentence in zip(problems, sentences, strict=True):
        assert got.removeprefix("applications[0].deployments[0]").removeprefix(".").startswith(sentence)


def test_the_whole_file() -> None:
    assert faults(file(target_capacity=200)) == ["target_capacity: must be less than or equal to 100, got 200."]
    assert faults(file(grpc_options={"prot": 1})) == [
        "grpc_options.prot: unknown key. Did you mean 'port'? Available: enable_reflection, grpc_servicer_functions, "
        "port, request_timeout_s."
    ]
    assert faults(file(tracing_config={"sampling_ratio": 2})) == [
        "tracing_config.sampling_ratio: sampling_ratio must be between 0.0 and 1.0, got 2.0."
    ]
