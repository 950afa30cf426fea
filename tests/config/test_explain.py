"""Sentences about a whole file: the path is the user's, without pydantic's names for the members of unions."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from serve_app.config import AppConfig
from serve_app.config.explain import explain
from serve_app.config.serve_file import ServeFile
from serve_app.signals import AnySignalConfig

KINDS = sorted(TypeAdapter(AnySignalConfig).json_schema()["discriminator"]["mapping"])
"""Every kind of signal that a config may name."""
REPLAY: dict[str, Any] = {"engine": "replay", "default": "Paris"}
LLAMA: dict[str, Any] = {"engine": "llama_cpp", "weights": "/models/a.gguf"}
ARGS: dict[str, Any] = {
    "models": {"a": REPLAY, "b": LLAMA, "t": REPLAY},
    "signals": {"mine": {"kind": "rouge1"}},
    "cascades": {"default": {"tiers": [{"models": ["a", "b"], "signal": "mine", "threshold": 0.5}, {"models": ["t"]}]}},
    "router": {"deployment": {"autoscaling_config": {"max_replicas": 2}, "ray_actor_options": {}}},
}
APPLICATION = {"import_path": "serve_app.app:build_app", "args": ARGS, "deployments": [{"name": "a"}]}
FILE: dict[str, Any] = {"http_options": {"port": 8000}, "applications": [APPLICATION]}


def with_value(values: Any, path: list[Any], value: Any) -> Any:
    """Return a copy with another value at a path."""
    if not path:
        return value
    if isinstance(values, list):
        return [with_value(item, path[1:], value) if i == path[0] else item for i, item in enumerate(values)]
    return values | {path[0]: with_value(values.get(path[0], {}), path[1:], value)}


def steps(path: str) -> list[Any]:
    parts = path.replace("[", ".[").split(".")
    return [int(part[1:-1]) if part.startswith("[") else part for part in parts]


def problems(values: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        ServeFile.model_validate(values)
    return explain(caught.value, ServeFile)


ARGS_PATH = "applications[0].args"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("http_option", "Did you mean 'http_options'? Available: applications, controller_options,"),
        ("http_options.prot", "Did you mean 'port'? Available: host, keep_alive_timeout_s, port,"),
        ("applications[0].arg", "Did you mean 'args'? Available: args, autoscaling_policy, deployments,"),
        ("applications[0].deployments[0].user_conf", "Did you mean 'user_config'? Available: autoscaling_config,"),
        (
            f"{ARGS_PATH}.model",
            "Did you mean 'models'? Available: cascades, metrics, models, router, scorer, signals, state_store.",
        ),
        (f"{ARGS_PATH}.models.a.defualt", "Did you mean 'default'? Available: active_parameters, answers,"),
        (f"{ARGS_PATH}.models.b.weight", "Did you mean 'weights'? Available: active_parameters, batch_tokens,"),
        (f"{ARGS_PATH}.models.a.replay", "Available: active_parameters, answers,"),
        (f"{ARGS_PATH}.models.a.deployment.num_replica", "Did you mean 'num_replicas'? Available: autoscaling_config,"),
        (f"{ARGS_PATH}.signals.mine.stemer", "Did you mean 'stemmer'? Available: kind,"),
        (
            f"{ARGS_PATH}.cascades.default.tier",
            "Did you mean 'tiers'? Available: cache, on_target_failure, session_ttl_s,",
        ),
        (f"{ARGS_PATH}.cascades.default.tiers[0].treshold", "Did you mean 'threshold'? Available: agreement,"),
        (
            f"{ARGS_PATH}.scorer.batch_texts",
            "Did you mean 'max_batch_texts'? Available: deployment, inline_characters, max_batch_texts, timeout_s.",
        ),
        (
            f"{ARGS_PATH}.router.keepalive",
            "Did you mean 'keepalive_s'? Available: access, allowed_hosts,",
        ),
        (f"{ARGS_PATH}.router.deployment.autoscaling_config.max_replica", "Did you mean 'max_replicas'? Available:"),
        (f"{ARGS_PATH}.router.deployment.ray_actor_options.num_cpu", "Did you mean 'num_cpus'? Available: acc"),
    ],
)
def test_unknown_keys(path: str, hint: str):
    [sentence] = problems(with_value(FILE, steps(path), 1))
    assert sentence.startswith(f"{path}: unknown key. {hint}")


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("applications", [], "applications: needs at least 1 entry, got 0."),
        ("applications", [APPLICATION] * 2, "applications: takes at most 1 entry, got 2."),
        ("applications", None, "applications: must be a list, got null."),
        ("http_options", [], "http_options: must be a mapping, got a list."),
        ("http_options.port", 70000, "http_options.port: must be less than or equal to 65535, got 70000."),
        (
            "applications[0].import_path",
            "serve_app:app",
            "applications[0].import_path: must be 'serve_app.app:build_app', got 'serve_app:app'.",
        ),
        (f"{ARGS_PATH}.models", 5, "models: must be a mapping, got 5."),
        (f"{ARGS_PATH}.models.a", None, "models.a: must be a mapping, got null."),
        (
            f"{ARGS_PATH}.models.a",
            {},
            "models.a.engine: required, but missing. "
            "Available: llama_cpp, openai_api, replay, seq2seq, vllm, vllm_lora.",
        ),
        (
            f"{ARGS_PATH}.models.a.engine",
            "repaly",
            "models.a.engine: unknown value 'repaly'. Did you mean 'replay'? "
            "Available: llama_cpp, openai_api, replay, seq2seq, vllm, vllm_lora.",
        ),
        (f"{ARGS_PATH}.models.b", {"engine": "llama_cpp"}, "models.b.weights: required, but missing."),
        (
            f"{ARGS_PATH}.models.b.weights",
            [],
            "models.b.weights: must be a source (hf://, pypi:// or a local path) or a list of sources.",
        ),
        (
            f"{ARGS_PATH}.models.b.weights",
            7,
            "models.b.weights: must be a source (hf://, pypi:// or a local path) or a list of sources, got 7.",
        ),
        (f"{ARGS_PATH}.models.b.slots", "many", "models.b.slots: must be a valid integer, got 'many'."),
        (
            f"{ARGS_PATH}.models.a.answers",
            [{"contains": "x", "text": "y"}, {"text": "y"}],
            "models.a.answers[1].contains: required, but missing.",
        ),
        (
            f"{ARGS_PATH}.signals.mine.kind",
            "bleo",
            f"signals.mine.kind: unknown value 'bleo'. Did you mean 'bleu'? Available: {', '.join(KINDS)}.",
        ),
        (f"{ARGS_PATH}.models.1", REPLAY, None),
        (
            f"{ARGS_PATH}.cascades.default.tiers[0].select",
            "t",
            "cascades.default.tiers[0].select: 't' is not one of this tier's models (a, b).",
        ),
        (
            f"{ARGS_PATH}.cascades.default.tiers[0].min_answers",
            3,
            "cascades.default.tiers[0].min_answers: must be at most 2, as many as the tier has models, got 3.",
        ),
        (
            f"{ARGS_PATH}.cascades.default.tiers[0].threshold",
            None,
            "cascades.default.tiers[0]: needs a signal and a threshold; only the last tier always answers.",
        ),
        (
            f"{ARGS_PATH}.router.deployment.num_replicas",
            2,
            "router.deployment.num_replicas: leave it out, since autoscaling_config says how many there are.",
        ),
    ],
)
def test_sentences(path: str, value: Any, sentence: str | None):
    changed = with_value(FILE, steps(path), value)
    if sentence is None:
        ServeFile.model_validate(changed)
    else:
        prefix = "" if sentence.startswith(("applications", "http")) else f"{ARGS_PATH}."
        assert problems(changed) == [prefix + sentence]


def test_every_error_is_listed():
    values = with_value(FILE, steps(f"{ARGS_PATH}.models.a.slot"), 1)
    values = with_value(values, steps(f"{ARGS_PATH}.router.keepalive_s"), 0)
    values = with_value(values, steps("http_options.port"), "x")
    assert [sentence.split(": ")[0] for sentence in problems(values)] == [
        "http_options.port",
        f"{ARGS_PATH}.models.a.slot",
        f"{ARGS_PATH}.router.keepalive_s",
    ]


def test_a_key_that_is_not_text():
    assert problems(with_value(FILE, ["applications", 0, "args", "models", 7], REPLAY)) == [
        f"{ARGS_PATH}.models.7: a key must be text; put it in quotes, got 7."
    ]


def test_a_prefix_and_no_path():
    with pytest.raises(ValidationError) as caught:
        AppConfig.model_validate(5)
    assert explain(caught.value, AppConfig) == ["the configuration: must be a mapping, got 5."]
    assert explain(caught.value, AppConfig, "args.") == ["args: must be a mapping, got 5."]
    with pytest.raises(ValidationError) as caught:
        AppConfig.model_validate(ARGS | {"scorer": {"max_batch_texts": 0}})
    assert explain(caught.value, AppConfig, "args.") == ["args.scorer.max_batch_texts: must be greater than 0, got 0."]


KEY = "sk-0123456789abcdef"


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("models.a.api_key", KEY, "models.a.api_key: unknown key."),
        ("models.a", KEY, "models.a: must be a mapping, got '(hidden)'."),
        ("models.b.chat_template", [KEY], "models.b.chat_template: must be a valid string."),
        ("router.tracing", {"endpoint": f"http://me:{KEY}@collector:4318"}, "OTEL_EXPORTER_OTLP_HEADERS"),
        ("router.tracing", {"endpoint": f"collector?token={KEY}"}, "router.tracing.endpoint: must match"),
    ],
)
def test_a_secret_is_not_repeated(path: str, value: Any, sentence: str) -> None:
    """Neither by us, nor by pydantic, whose message Ray Serve logs if a deploy is refused."""
    values = with_value(ARGS, steps(path), value)
    with pytest.raises(ValidationError) as caught:
        AppConfig.model_validate(values)
    [problem] = explain(caught.value, AppConfig)
    assert sentence in problem
    assert KEY not in problem
    assert KEY not in str(caught.value)


def test_a_value_under_a_secrets_name_is_not_repeated() -> None:
    assert problems(FILE | {"http_options": {"ssl_keyfile_password": 8151734}}) == [
        "http_options.ssl_keyfile_password: must be a valid string."
    ]
