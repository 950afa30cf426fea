from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.config import AppConfig
from serve_app.config.serve_file import DEFERRAL_POLICY, ServeFile, load
from serve_app.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
ARGS: dict[str, Any] = {
    "models": {name: {"engine": "replay", "default": "Paris"} for name in ("a", "b", "t")},
    "cascades": {
        "default": {"tiers": [{"models": ["a", "b"], "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]},
        "plain": {"tiers": [{"models": ["t"]}]},
    },
}


def values(*deployments: dict[str, Any], **options: Any) -> dict[str, Any]:
    entry = {"import_path": "serve_app.app:build_app", "args": ARGS, "deployments": list(deployments)}
    return {"applications": [entry]} | options


def router(**thresholds: Any) -> dict[str, Any]:
    return {"name": "Router", "user_config": {"thresholds": thresholds}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "serve.yaml"


def refused(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_our_own_configs_load(config: Path):
    file = load(config)
    args = file.application.args
    for id_, thresholds in file.thresholds().items():
        assert args.tiers(id_, thresholds)


def test_there_are_configs():
    assert "quickstart.yaml" in [config.name for config in CONFIGS]


def test_the_thresholds_in_force(path: Path):
    path.write_text(yaml.safe_dump(values()))
    assert load(path).thresholds() == {"default": [0.5], "plain": []}
    path.write_text(yaml.safe_dump(values({"name": "a", "num_replicas": 2}, router(default=[0.9]))))
    assert load(path).thresholds() == {"default": [0.9], "plain": []}
    path.write_text(yaml.safe_dump(values({"name": "Router", "user_config": {}})))
    assert load(path).thresholds() == {"default": [0.5], "plain": []}


@pytest.mark.parametrize(("usual", "under_pressure"), [(0.1, 0.1), (0.4, 0.3), (0.9, 0.3)])
def test_no_threshold_under_pressure_is_above_the_one_in_force(path: Path, usual: float, under_pressure: float):
    written = deepcopy(values(router(default=[usual])))
    written["applications"][0]["args"]["cascades"]["default"]["shed"] = {"thresholds": [0.3]}
    path.write_text(yaml.safe_dump(written))
    in_force = AppConfig.model_validate(load(path).args_in_force().model_dump(mode="json", exclude_unset=True))
    shed = in_force.cascades["default"].shed
    assert shed is not None
    assert (in_force.thresholds()["default"], shed.thresholds) == ([usual], [under_pressure])


@pytest.mark.parametrize(
    ("options", "prefix", "url"),
    [
        ({}, "/", "http://127.0.0.1:8000"),
        ({"host": "127.0.0.1", "port": 9000}, "/", "http://127.0.0.1:9000"),
        ({"host": "::"}, "/llm/", "http://127.0.0.1:8000/llm"),
        ({"host": "::1"}, "/", "http://[::1]:8000"),
        ({"host": "gateway", "ssl_certfile": "x.pem"}, "/llm", "https://gateway:8000/llm"),
    ],
)
def test_the_url(options: dict[str, Any], prefix: str | None, url: str):
    written = values(http_options=options)
    written["applications"][0]["route_prefix"] = prefix
    assert ServeFile.model_validate(written).url == url


@pytest.mark.parametrize(
    ("deployment", "sentence"),
    [
        (
            {"name": "router"},
            "name: no deployment 'router'. Did you mean 'Router'? Available: Router, Scorer, a, b, t.",
        ),
        (
            {"name": "a", "user_config": {"thresholds": {}}},
            "user_config: only the Router has settings that change while it runs.",
        ),
        (
            router(defualt=[0.9]),
            "user_config.thresholds.defualt: no such cascade. Did you mean 'default'? Available: default, plain.",
        ),
        (
            router(default=[0.9, 0.8]),
            "user_config.thresholds.default: needs 1 number, one for each tier but the last, got 2.",
        ),
        (router(plain=[0.9]), "user_config.thresholds.plain: needs 0 numbers, one for each tier but the last, got 1."),
        (router(default=["high"]), "user_config.thresholds.default[0]: must be a valid number, got 'high'."),
        (router(default=[float("nan")]), "user_config.thresholds.default[0]: must be a finite number, got nan."),
        (router(default=[True]), "user_config.thresholds.default[0]: must be a number, got true."),
        (router(default=0.9), "user_config.thresholds.default: must be a list, got 0.9."),
        (
            {"name": "Router", "user_config": {"threshold": {}}},
            "user_config.threshold: unknown key. Did you mean 'thresholds'? Available: calibrations, thresholds.",
        ),
    ],
)
def test_overrides(path: Path, deployment: dict[str, Any], sentence: str):
    assert refused(path, values(deployment)) == f"{path}: applications[0].deployments[0].{sentence}"


def test_a_deployment_that_is_listed_twice(path: Path):
    message = refused(path, values(router(default=[0.9]), {"name": "a"}, router(default=[0.1])))
    assert message == f"{path}: applications[0].deployments[2].name: 'Router' is listed twice."


def test_every_error_has_a_line_of_its_own(path: Path):
    lines = refused(path, values({"name": "a", "foo": 1}, http_options={"port": 0})).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        [str(path), "http_options.port"],
        [str(path), "applications[0].deployments[0].foo"],
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "must be a mapping with `applications` in it, got nothing."),
        ("hello", "must be a mapping with `applications` in it, got text."),
        ("- 1", "must be a mapping with `applications` in it, got a list."),
        ("{}", "applications: required, but missing."),
    ],
)
def test_no_application(path: Path, content: str, sentence: str):
    assert refused(path, content) == f"{path}: {sentence}"


def test_not_yaml(path: Path):
    message = refused(path, "applications: [\n")
    assert message.startswith(f"The config file {str(path)!r} is not YAML: ")
    assert "\n" not in message


def test_a_duplicate_key(path: Path):
    message = refused(path, "http_options: {port: 8000}\napplications: []\nhttp_options: {port: 9000}\n")
    assert message == f"The config file {str(path)!r} has the key 'http_options' twice, in line 1 and in line 3."


def test_anchors_and_merges_are_yaml_too(path: Path):
    text = yaml.safe_dump(values())
    path.write_text(
        "http_options: {host: h, <<: &x {port: 1, request_timeout_s: 5}}\ngrpc_options: {<<: *x, port: 2}\n" + text
    )
    file = load(path)
    assert (file.http_options.port, file.http_options.host) == (1, "h")
    assert file.grpc_options == {"port": 2, "request_timeout_s": 5}


def test_a_file_keeps_the_values_that_were_written(path: Path):
    written = values({"name": "a", "num_replicas": 2}, http_options={"port": 9000})
    path.write_text(yaml.safe_dump(written))
    file = load(path)
    raw = file.raw()
    assert raw == written
    raw["applications"][0]["args"]["models"].clear()
    assert file.raw() == written


def test_unreadable(path: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"^There is no config file '.*serve.yaml'\.$"):
        load(path)
    with pytest.raises(ConfigError, match=r"cannot be read: .*directory"):
        load(tmp_path)
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="cannot be read: "):
        load(path)


def test_the_options_in_force(path: Path):
    path.write_text(yaml.safe_dump(values({"name": "a", "num_replicas": 3, "ray_actor_options": {"num_gpus": 1}})))
    options = load(path).application.deployments_in_force()
    assert list(options) == ["a", "b", "t", "Scorer", "Router"]
    assert (options["a"].num_replicas, options["a"].actor()) == (3, {"CPU": 1, "GPU": 1})
    assert (options["b"].num_replicas, options["b"].actor()) == (None, {"CPU": 0.1})


ROUTERS = {"router": {"deployment": {"num_replicas": 2}}}


@pytest.mark.parametrize(
    ("more", "deployment", "sentence"),
    [
        (
            {},
            {"name": "Router", "num_replicas": 2},
            "num_replicas: several routers share kept responses and sessions only if `args` says how many there are: "
            "write the replicas into args.router.deployment.",
        ),
        (
            ROUTERS,
            {"name": "StateStore", "autoscaling_config": {"min_replicas": 0, "max_replicas": 1}},
            "num_replicas: the StateStore must have one replica, which all routers share.",
        ),
        (
            ROUTERS,
            {"name": "StateStore", "num_replicas": 2},
            "num_replicas: the StateStore must have one replica, which all routers share.",
        ),
        (
            {},
            {"name": "StateStore", "max_ongoing_requests": 9},
            "name: only several routers share a StateStore; write the replicas into args.router.deployment first.",
        ),
    ],
)
def test_what_routers_share_is_not_taken_apart(
    path: Path, more: dict[str, Any], deployment: dict[str, Any], sentence: str
):
    content = values(deployment)
    content["applications"][0]["args"] = content["applications"][0]["args"] | more
    assert refused(path, content) == f"{path}: applications[0].deployments[0].{sentence}"


def test_routers_that_share_may_be_more_or_fewer_by_an_override(path: Path):
    content = values({"name": "Router", "num_replicas": 3}, {"name": "StateStore", "max_ongoing_requests": 9})
    content["applications"][0]["args"] = content["applications"][0]["args"] | ROUTERS
    path.write_text(yaml.safe_dump(content))
    options = load(path).application.deployments_in_force()
    assert (options["Router"].num_replicas, options["StateStore"].max_ongoing_requests) == (3, 9)


@pytest.mark.parametrize(
    ("deployment", "sentence"),
    [
        (
            {"name": "a", "placement_group_bundles": [{"GPU": 1}]},
            "placement_group_bundles[0]: holds 0 CPU, but the replica, which is placed in the first bundle, takes 0.1 "
            "(ray_actor_options.num_cpus).",
        ),
        (
            {"name": "a", "placement_group_strategy": "SPREAD"},
            "placement_group_strategy: has no effect without placement_group_bundles.",
        ),
        (
            {"name": "a", "ray_actor_options": {"num_gpus": 1.5}},
            "ray_actor_options.num_gpus: must be a fraction of one ",
        ),
        (
            {"name": "a", "autoscaling_config": {"max_replicas": "x"}},
            "autoscaling_config.max_replicas: must be a valid",
        ),
        ({"name": "a", "num_replicas": True}, "num_replicas: must be a number, got true."),
        (
            {"name": "a", "ray_actor_options": {"num_gpus": True}},
            "ray_actor_options.num_gpus: must be a number, got true.",
        ),
        (
            {"name": "a", "ray_actor_options": {"resources": {"gpu": 1}}},
            "ray_actor_options.resources.gpu: is not a custom resource; use num_gpus.",
        ),
        (
            {"name": "a", "placement_group_bundles": [{"CPU": 1, "gpu": 1}]},
            "placement_group_bundles[0].gpu: did you mean 'GPU'? Ray's names of resources depend on case.",
        ),
    ],
)
def test_an_override_that_cannot_be_placed(path: Path, deployment: dict[str, Any], sentence: str):
    assert refused(path, values(deployment)).startswith(f"{path}: applications[0].deployments[0].{sentence}")


def test_scaling_by_deferral_needs_something_to_scale(path: Path):
    def content(*deployments: dict[str, Any], policy: str = DEFERRAL_POLICY) -> dict[str, Any]:
        whole = values(*deployments)
        whole["applications"][0]["autoscaling_policy"] = {"policy_function": policy}
        return whole

    where = f"{path}: applications[0].autoscaling_policy"
    scaling = {"autoscaling_config": {"min_replicas": 0, "max_replicas": 2}}
    nothing = f"{where}: no model that requests are deferred to has an autoscaling_config."
    assert refused(path, content()) == nothing
    assert refused(path, content({"name": "a", **scaling})) == nothing
    silent = f"{where}: the Router needs an autoscaling_config, too, or Ray Serve does not collect its metrics."
    assert refused(path, content({"name": "t", **scaling})) == silent
    path.write_text(yaml.safe_dump(content({"name": "t", **scaling}, {"name": "Router", "autoscaling_config": {}})))
    assert load(path).application.autoscaling_policy == {"policy_function": DEFERRAL_POLICY}
    # An adapter as the target scales its base.
    adapted = content({"name": "base", **scaling}, {"name": "Router", "autoscaling_config": {}})
    adapted["applications"][0]["args"]["models"] |= {
        "base": {"engine": "vllm", "weights": "hf://org/base"},
        "t": {"engine": "vllm_lora", "base": "base", "weights": "hf://org/adapter"},
    }
    path.write_text(yaml.safe_dump(adapted))
    load(path)
    # Somebody's own policy is their own business.
    path.write_text(yaml.safe_dump(content(policy="ray.serve.autoscaling_policy:default_autoscaling_policy")))
    load(path)


def test_the_deferral_policy_is_where_the_config_says():
    module, name = DEFERRAL_POLICY.split(":")
    assert callable(getattr(import_module(module), name))
