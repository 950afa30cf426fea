"""Pasted configs: the sentences of `cascade check`, whatever the text, and no file but Python's modules is opened."""

import sys
from pathlib import Path
from typing import Any

import pytest

from serve_app.config.checking.process import MOST_CHARACTERS, MOST_LINES, checked
from serve_app.confinement.limits import refuse

HEAD = "applications:\n  - import_path: serve_app.app:build_app\n"
VALID = HEAD + (
    "    args:\n"
    "      models: {a: {engine: replay, default: x}, b: {engine: replay, default: x}}\n"
    "      cascades:\n"
    "        both: {tiers: [{models: [a, b], signal: exact, threshold: 0.5}, {models: [b]}]}\n"
)
opened: list[str] = []
"""Files that were opened while a test watches."""
watched: list[str] = []
"""Names that a test watches for; an audit hook cannot be removed."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and watched and any(name in str(arguments[0]) for name in watched):
        opened.append(str(arguments[0]))


def test_a_valid_config_is_told_as_on_the_terminal() -> None:
    assert checked(VALID) == {
        "valid": True,
        "lines": ["both: a + b -> b (thresholds: 0.5)", "config.yaml is valid: 2 models, 1 cascade."],
        "warnings": [],
    }


def test_warnings_are_told_too() -> None:
    report: Any = checked("http_options: {host: 0.0.0.0}\n" + VALID)
    assert report["valid"] is True
    assert report["warnings"][0].startswith("warning: http_options.host: '0.0.0.0' lets other machines in")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "config.yaml: must be a mapping with `applications` in it, got nothing."),
        ("[1]", "config.yaml: must be a mapping with `applications` in it, got a list."),
        ("a: [", "The config file 'config.yaml' is not YAML: "),
        ("a: 1\na: 2", "The config file 'config.yaml' has the key 'a' twice, in line 1 and in line 2."),
        ("!!python/object/apply:os.system [id]", "The config file 'config.yaml' is not YAML: could not determine a"),
        ("a: " + 5000 * "1", "The config file 'config.yaml' has a number, a date or a tag that cannot be read."),
        ("a: 2026-13-45", "The config file 'config.yaml' has a number, a date or a tag that cannot be read."),
        (500 * "[", "The config file 'config.yaml' is nested too deeply."),
        ("a: &x [*x]", "The config file 'config.yaml' has an alias inside of what it names, which begins in line 1."),
        (
            VALID.replace("[a, b]", "[a, c]"),
            "config.yaml: applications[0].args.cascades.both.tiers[0].models[1]: no mo",
        ),
        ("logging_config: {log_levle: INFO}\n" + VALID, "config.yaml: logging_config.log_levle: unknown key. Did you "),
    ],
)
def test_what_is_wrong_is_a_sentence(text: str, sentence: str) -> None:
    report: Any = checked(text)
    assert report["valid"] is False
    assert report["lines"][0].startswith(sentence)


@pytest.mark.parametrize("line", ["a{n}: &a{n} [*a{m}, *a{m}]", "a{n}: &a{n} {{<<: [*a{m}, *a{m}]}}"])
def test_aliases_cannot_multiply(line: str) -> None:
    text = "\n".join(["a0: &a0 {x: 1}", *(line.format(n=n, m=n - 1) for n in range(1, 40))])
    assert checked(text)["lines"] == ["The config file 'config.yaml' has aliases that repeat more than 100000 values."]


def test_aliases_as_people_use_them_are_read() -> None:
    text = VALID.replace("a: {", "a: &m {").replace("b: {engine: replay, default: x}", "b: *m")
    assert "*m" in text
    assert checked(text)["valid"] is True


def test_many_and_long_sentences_are_cut() -> None:
    report: Any = checked("{" + ", ".join(f"key{n}: 1" for n in range(MOST_LINES + 50)) + "}")
    assert len(report["lines"]) == MOST_LINES + 1
    assert report["lines"][-1] == "… and 51 more."  # applications is missing as well
    long: Any = checked(HEAD + f"    args: {{models: {{a: {{engine: {'x' * 5000}}}}}, cascades: {{}}}}")
    line = long["lines"][0]
    assert (len(line), line[-1]) == (MOST_CHARACTERS, "…")


def test_no_file_that_a_config_names_is_opened(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    for name in ("key", "keys.yaml", "fitted.npz", "env.yml", "requirements.txt", "model.gguf", "records.jsonl"):
        (planted / name).write_text("SECRET", encoding="utf-8")
    text = f"""
applications:
  - import_path: serve_app.app:build_app
    runtime_env: {{conda: {planted}/env.yml, pip: {planted}/requirements.txt, uv: {planted}/requirements.txt}}
    args:
      models:
        a: {{engine: openai_api, base_url: "http://127.0.0.1:1/v1", model: m, api_key_file: {planted}/key}}
        b: {{engine: llama_cpp, weights: {planted}/model.gguf}}
        r: {{engine: replay, records: {planted}/records.jsonl, recorded_model: x}}
      signals: {{near: {{kind: sbert, weights: {planted}}}}}
      router: {{access: {{keys_file: {planted}/keys.yaml}}}}
      cascades:
        c:
          tiers: [{{models: [a, b], signal: near, threshold: 0.5}}, {{models: [r]}}]
          skip: {{fitted: {planted}/fitted.npz, encoder: near, defer_above: 0.9}}
"""
    sys.addaudithook(_watch)
    watched.append(str(planted))
    try:
        report = checked(text)
        (planted / "key").read_text(encoding="utf-8")
    finally:
        watched.clear()
    assert report == {
        "valid": True,
        "lines": ["c: a + b -> r (thresholds: 0.5)", "config.yaml is valid: 3 models, 1 cascade."],
        "warnings": [],
    }
    assert opened == [str(planted / "key")]  # by this test, so the hook sees


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("open", ("/etc/passwd", "r", 0)),
        ("open", (0, "r", 0)),
        ("subprocess.Popen", ("sh", ["sh"], None, None)),
        ("os.system", (b"id",)),
        ("os.mkdir", ("/tmp/x", 0o777, -1)),
        ("socket.connect", (None, ("127.0.0.1", 80))),
    ],
)
def test_a_check_may_not_open_or_start_or_connect(event: str, arguments: tuple[object, ...]) -> None:
    with pytest.raises(PermissionError):
        refuse(event, arguments)
    refuse("open", ("/usr/lib/python3/dist-packages/x.py", "r", 0))
