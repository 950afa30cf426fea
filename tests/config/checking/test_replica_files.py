"""Relative paths beside a `working_dir`, which replicas and commands would look for in different folders."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.config.ray_rules import load
from serve_app.errors import ConfigError

LOCAL, ZIP = "local:///srv/app", "s3://bucket/app.zip"
WHOLE = "applications[0].runtime_env.working_dir"
ABSOLUTE: dict[str, Any] = {
    "models": {
        "a": {"engine": "llama_cpp", "weights": ["hf://org/repo/a.gguf", "/m/a.gguf"]},
        "k": {"engine": "openai_api", "base_url": "http://127.0.0.1:1/v1", "model": "m", "api_key_file": "/m/key"},
        "r": {"engine": "replay", "records": "/m/records.jsonl"},
        "v": {"engine": "vllm", "weights": "~/v"},
        "lora": {"engine": "vllm_lora", "base": "v", "weights": "/m/lora"},
    },
    "signals": {
        "near": {"kind": "sbert", "weights": "/m/encoder"},
        "far": {"kind": "bleurt", "weights": "/m/bleurt", "environment": "/m/venv/bin/python"},
    },
    "router": {"access": {"keys_file": "/m/keys.yaml"}},
    "cascades": {
        "c": {
            "tiers": [{"models": ["a", "k"], "signal": "near", "threshold": 0.5}, {"models": ["r"]}],
            "skip": {"fitted": "/m/skip.npz", "encoder": "near", "defer_above": 0.9},
        },
        "d": {"tiers": [{"models": ["a", "lora"], "signal": "far", "threshold": 0.5}, {"models": ["v"]}]},
    },
}
FIELDS = [
    ("models.a.weights[1]", "a"),
    ("models.k.api_key_file", "k"),
    ("models.r.records", "r"),
    ("models.v.weights", "v"),
    ("models.lora.weights", "v"),
    ("signals.near.weights", "Scorer"),
    ("signals.far.weights", "far"),
    ("signals.far.environment", "far"),
    ("router.access.keys_file", "Router"),
    ("cascades.c.skip.fitted", "Router"),
]
"""Each path of a file, and the deployment whose replicas open it."""


def with_path(field: str, path: str) -> dict[str, Any]:
    """Return the args with another path in one field."""
    args = deepcopy(ABSOLUTE)
    *steps, last = field.removesuffix("[1]").split(".")
    inner: Any = args
    for step in steps:
        inner = inner[step]
    if field.endswith("[1]"):
        inner[last][1] = path
    else:
        inner[last] = path
    return args


def problems(folder: Path, args: dict[str, Any], whole: Any = None, **own: Any) -> list[str]:
    """Return the sentences about a config with a `working_dir` of the application, or of deployments."""
    entry: dict[str, Any] = {"import_path": "serve_app.app:build_app", "args": args}
    if whole is not None:
        entry["runtime_env"] = {"working_dir": whole}
    entry["deployments"] = [
        {"name": name, "ray_actor_options": {"runtime_env": {"working_dir": value}}} for name, value in own.items()
    ]
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump({"applications": [entry]}))
    try:
        load(path)
    except ConfigError as error:
        return [line.removeprefix(f"{path}: ") for line in str(error).splitlines()]
    return []


def sentence(field: str, path: str, where: str) -> str:
    return (
        f"applications[0].args.{field}: {path!r} is a relative path, which commands look for in the current directory, "
        f"and replicas in {where}; write an absolute path, or leave the working_dir out."
    )


@pytest.mark.parametrize("uri", [LOCAL, ZIP])
@pytest.mark.parametrize(("field", "deployment"), FIELDS)
def test_a_relative_path_is_refused_beside_a_working_dir(tmp_path: Path, field: str, deployment: str, uri: str) -> None:
    args = with_path(field, "some/file")
    assert problems(tmp_path, args) == []
    assert problems(tmp_path, args, uri) == [sentence(field, "some/file", WHOLE)]
    own = "applications[0].deployments[0].ray_actor_options.runtime_env.working_dir"
    assert problems(tmp_path, args, **{deployment: uri}) == [sentence(field, "some/file", own)]
    other = next(name for _, name in FIELDS if name != deployment)
    assert problems(tmp_path, args, **{other: uri}) == []


@pytest.mark.parametrize("uri", [LOCAL, ZIP])
def test_absolute_paths_are_taken_beside_a_working_dir(tmp_path: Path, uri: str) -> None:
    assert problems(tmp_path, ABSOLUTE, uri, Router=uri) == []


def test_a_deployment_may_do_without_the_applications_working_dir(tmp_path: Path) -> None:
    args = with_path("models.r.records", "records.jsonl")
    assert problems(tmp_path, args, ZIP, r=None) == []
    assert problems(tmp_path, args, ZIP, a=None) == [sentence("models.r.records", "records.jsonl", WHOLE)]


def test_each_relative_path_has_a_sentence(tmp_path: Path) -> None:
    args = with_path("models.r.records", "records.jsonl")
    args["router"]["access"]["keys_file"] = "keys.yaml"
    assert problems(tmp_path, args, ZIP) == [
        sentence("models.r.records", "records.jsonl", WHOLE),
        sentence("router.access.keys_file", "keys.yaml", WHOLE),
    ]
