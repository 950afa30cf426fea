"""The command as a user runs it, over replay engines and against a server; killed, stopped, and gone on with."""

import asyncio
import json
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from serve_app.cli.commands import app
from serve_app.core.types.answer import Failure, Generation, TokenLogprob
from serve_app.evaluation.collect.collect import weights_sha256
from serve_app.evaluation.records.example import Example, digest
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.header import DataFacts, SamplingFacts, SourceFacts
from serve_app.files.json_lines import read_appended
from tests.api.serving import FakeService, listening
from tests.evaluation.collect.openai_server import openai_server
from tests.evaluation.collecting import (
    MODELS,
    collect,
    command,
    question,
    real_data,
    write_config,
    write_examples,
)
from tests.patience import PATIENCE_S

LOGPROBS = [["Lon", -0.5], ["don", -0.25]]
KILLS = 20


def asked_once(path: Path) -> Counter[tuple[str, str]]:
    with read_appended(path) as lines:
        return Counter((body["example"], body["model"]) for _, body in lines if body["kind"] == "answer")


def test_every_model_answers_every_example(tmp_path: Path) -> None:
    models = {
        "a": {
            "engine": "replay",
            "default": "Paris",
            "answers": [
                {"contains": "number 1?", "text": "London", "logprobs": LOGPROBS},
                {"contains": "number 2?", "error": "It broke."},
            ],
        },
        "t": MODELS["t"],
    }
    config = write_config(tmp_path / "c.yaml", models)
    examples = [question(i) for i in range(5)]
    data = write_examples(tmp_path / "d.jsonl", examples)
    out = tmp_path / "r.jsonl"
    result = collect(config, data, "-o", out)
    sentence = f"10 of 10 answers are in {out}. Failures: 1 of 'a'; ask them again with --retry-failures.\n"
    assert (result.exit_code, result.stdout) == (0, "")
    lines = result.stderr.splitlines(keepends=True)
    assert [line.split(", ")[:-1] for line in lines[:2]] == [["a: 5 of 5", "1 failed"], ["t: 5 of 5"]]
    assert lines[2:] == [sentence]

    records = Records.load(out)
    assert (records.examples, records.models) == (examples, ("a", "t"))
    assert records.complete() == list(range(5))
    assert [answer.text if isinstance(answer, Generation) else None for answer in records.answers["a"]] == [
        "Paris",
        "London",
        None,
        "Paris",
        "Paris",
    ]
    london = records.answers["a"][1]
    assert isinstance(london, Generation)
    assert london.logprobs == (TokenLogprob("Lon", -0.5), TokenLogprob("don", -0.25))
    failed = records.answers["a"][2]
    assert isinstance(failed, Failure)
    assert (failed.kind, failed.message) == ("error", "It broke.")
    header = records.header
    assert header.data == DataFacts(digest(examples), 5, [str(data)])
    assert header.asked == SourceFacts("engines", 4)
    assert header.sampling == SamplingFacts(0.0, True, {"closed_book_qa": 48})
    assert header.versions["python"] == sys.version.split()[0]
    assert records.costs["t"].devices == 2

    before = out.read_bytes()
    result = collect(config, data, "-o", out)
    assert (result.exit_code, result.stderr, out.read_bytes()) == (0, sentence, before)

    models["a"]["answers"] = []
    result = collect(write_config(config, models), data, "-o", out)
    assert result.exit_code == 1
    assert f"cascade: '{out}' holds records that do not fit: models.a.answers was [" in result.stderr
    assert out.read_bytes() == before


def test_failures_are_asked_again_only_on_request(tmp_path: Path) -> None:
    replayed = tmp_path / "answers.jsonl"
    prompt = "Answer the question in a few words, without explanation.\n\nQuestion: Question number 2?"
    replayed.write_text(json.dumps({"prompt": prompt, "error": "It broke."}))
    models = {"a": {"engine": "replay", "default": "Paris", "records": str(replayed)}, "t": MODELS["t"]}
    config = write_config(tmp_path / "c.yaml", models)
    data = write_examples(tmp_path / "d.jsonl", [question(i) for i in range(5)])
    out = tmp_path / "r.jsonl"
    assert "1 of 'a'" in collect(config, data, "-o", out).stderr
    replayed.write_text(json.dumps({"prompt": prompt, "text": "Rome"}))
    assert "1 of 'a'" in collect(config, data, "-o", out).stderr
    result = collect(config, data, "-o", out, "--retry-failures")
    assert result.stderr.endswith(f"10 of 10 answers are in {out}.\n")
    answer = Records.load(out).answers["a"][2]
    assert isinstance(answer, Generation)
    assert answer.text == "Rome"
    assert asked_once(out) == {
        (f"q{i}", model): 1 + (i == 2 and model == "a") for i in range(5) for model in ("a", "t")
    }


def test_a_model_that_only_fails_is_left(tmp_path: Path) -> None:
    models = {"a": {"engine": "replay"}, "t": MODELS["t"]}
    data = write_examples(tmp_path / "d.jsonl", [question(i) for i in range(30)])
    result = collect(write_config(tmp_path / "c.yaml", models), data, "-o", tmp_path / "r.jsonl", "--concurrency", "1")
    assert result.exit_code == 1
    assert (
        "cascade: Gave up on 'a' after 20 consecutive failures: The replay engine has no answer to this prompt, and no "
        f"default. 20 of 60 answers are in {tmp_path / 'r.jsonl'}. Failures: 20 of 'a'; ask them again with "
        "--retry-failures. Run the same command again to resume." in result.stderr
    )


def test_options_reach_the_models(tmp_path: Path) -> None:
    (tmp_path / "closed_book_qa.txt").write_text("Mine: {question}")
    models = {
        "a": {"engine": "replay", "answers": [{"contains": "Mine: ", "text": "one two three four"}]},
        "t": MODELS["t"],
    }
    data = write_examples(tmp_path / "d.jsonl", [question(i) for i in range(9)])
    options = ["--prompts", tmp_path, "--max-tokens", "2", "--limit", "3", "--seed", "1"]
    result = collect(write_config(tmp_path / "c.yaml", models), data, "-o", tmp_path / "r.jsonl", *options)
    assert result.exit_code == 0, result.stderr
    records = Records.load(tmp_path / "r.jsonl")
    assert len(records.examples) == 3
    answers = list(records.answers["a"])
    assert [(answer.text, answer.finish_reason) for answer in answers if isinstance(answer, Generation)] == [
        ("one two", "length")
    ] * 3
    assert records.header.prompts.texts == {"closed_book_qa": "Mine: {question}"}
    assert records.header.sampling.max_tokens == {"closed_book_qa": 2}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nowhere.yaml", "d.jsonl", "-o", "r.jsonl"], 2, "There is no config file 'nowhere.yaml'."),
        (["c.yaml", "nowhere.jsonl", "-o", "r.jsonl"], 1, "The file 'nowhere.jsonl' cannot be read"),
        (["c.yaml", "d.jsonl", "-o", "no/r.jsonl"], 1, "The records 'no/r.jsonl' cannot be written"),
        (
            ["c.yaml", "d.jsonl", "-o", "r.jsonl", "--url", "http://127.0.0.1:9"],
            1,
            "No server answers at http://127.0.0.1:9.",
        ),
        (["c.yaml", "d.jsonl"], 2, "Missing option"),
    ],
)
def test_mistakes_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path / "c.yaml")
    write_examples(tmp_path / "d.jsonl", [question(1)])
    result = collect(*arguments)
    assert result.exit_code == code
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def slow_config(path: Path) -> Path:
    return write_config(path, {name: {**model, "first_token_s": 0.02} for name, model in MODELS.items()})


def wait_for_bytes(runs: Callable[[], bool], path: Path, size: int) -> None:
    while runs() and (not path.exists() or path.stat().st_size < size):
        time.sleep(0.001)


def test_killed_at_twenty_random_moments_nothing_is_lost_or_there_twice(tmp_path: Path) -> None:
    config = slow_config(tmp_path / "c.yaml")
    examples = [question(i) for i in range(1000)]
    data = write_examples(tmp_path / "d.jsonl", examples)
    out = tmp_path / "r.jsonl"
    arguments = ["collect", str(config), str(data), "-o", str(out)]
    rng = random.Random(0)
    earlier = Counter[tuple[str, str]]()
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["serve_app.cli.commands", "serve_app.evaluation.collect.collect"])
    for _ in range(KILLS):
        size = out.stat().st_size if out.exists() else 0
        process = processes.Process(target=app, args=([*arguments, "--concurrency", "8"],))
        process.start()
        # From the first bytes on, and then a moment more.
        wait_for_bytes(process.is_alive, out, size + rng.randrange(1, 6000))
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.join()
        now = asked_once(out)
        assert not earlier - now
        assert set(now.values()) <= {1}
        earlier = now
    assert 20 < len(earlier) < 3000
    result = collect(config, data, "-o", out, "--concurrency", "64")
    assert result.exit_code == 0, result.stderr
    assert asked_once(out) == {(example.id, model): 1 for example in examples for model in MODELS}
    records = Records.load(out)
    assert records.examples == examples
    assert records.complete() == list(range(1000))
    assert all(answer.text == "Paris" for answer in records.answers["a"] if isinstance(answer, Generation))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_everything_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    models = {name: {**model, "first_token_s": 0.05} for name, model in MODELS.items()}
    config = write_config(tmp_path / "c.yaml", models)
    data = write_examples(tmp_path / "d.jsonl", [question(i) for i in range(500)])
    out = tmp_path / "r.jsonl"
    # In the background of a shell script SIGINT is ignored; it works all the same.
    process = subprocess.Popen(
        command(config, data, "-o", out),
        text=True,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    wait_for_bytes(lambda: process.poll() is None, out, len(data.read_bytes()) + 15_000)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    count = len(asked_once(out))
    assert process.returncode == 130
    assert stderr == f"Stopped. {count} of 1500 answers are in {out}. Run the same command again to resume.\n"
    assert 0 < count < 500
    assert out.read_bytes().endswith(b"\n")


async def test_a_running_server_is_asked_for_what_is_missing(tmp_path: Path) -> None:
    service = FakeService()
    config = write_config(tmp_path / "c.yaml")
    examples = [question(i) for i in range(4)]
    data = write_examples(tmp_path / "d.jsonl", examples)
    out = tmp_path / "r.jsonl"

    async def run(limit: int) -> str:
        arguments = command(config, data, "-o", out, "--url", url, "--limit", str(limit))
        process = await asyncio.create_subprocess_exec(*arguments, stderr=subprocess.PIPE)
        _, stderr = await process.communicate()
        assert process.returncode == 0, stderr
        return stderr.decode()

    async with listening(service) as url:
        await run(2)
        stderr = await run(4)
    assert stderr.endswith(f"12 of 12 answers are in {out}.\n")
    assert [len(service.models[name].prompts) for name in "abt"] == [4, 4, 4]
    [prompt] = {prompt.messages[0].content for prompt in service.models["a"].prompts if "number 3?" in str(prompt)}
    assert prompt == "Answer the question in a few words, without explanation.\n\nQuestion: Question number 3?"
    assert all(prompt.sampling.temperature == 0 and prompt.sampling.logprobs for prompt in service.models["t"].prompts)
    records = Records.load(out)
    assert records.header.asked == SourceFacts("server", 4)
    assert records.complete() == [0, 1, 2, 3]
    answer = records.answers["t"][3]
    assert isinstance(answer, Generation)
    assert (answer.text, answer.latency_s, answer.first_token_s) == ("It is Paris.", 0.5, 0.1)
    assert answer.logprobs == tuple(TokenLogprob(word, -0.25) for word in ("It", "is", "Paris."))


async def test_half_a_surrogate_pair_ends_no_run(tmp_path: Path) -> None:
    """Of JSON's escapes: in the data it is a sentence before anything is asked, in answers U+FFFD."""
    config, data, out = write_config(tmp_path / "c.yaml"), tmp_path / "d.jsonl", tmp_path / "r.jsonl"

    async def run(prompt: str) -> tuple[int | None, str]:
        example = Example("1", "custom", "test", {"prompt": prompt}, ("Paris",))
        arguments = command(config, write_examples(data, [example]), "-o", out, "--url", url)
        process = await asyncio.create_subprocess_exec(*arguments, stderr=subprocess.PIPE)
        _, stderr = await process.communicate()
        return process.returncode, stderr.decode()

    answered = {"message": {"content": "Paris \ud83d"}, "finish_reason": "stop"}
    async with openai_server({"choices": [answered]}) as url:
        fault = "prompt_inputs.prompt: has half of a surrogate pair, which is not a character."
        assert await run("Where? \ud83d") == (1, f"cascade: {data}:1: {fault}\n")
        assert not out.exists()
        for _ in range(2):  # the second reads what the first wrote
            code, stderr = await run("Where? 😀")
            assert (code, stderr.splitlines()[-1]) == (0, f"3 of 3 answers are in {out}.")
    answers = [answer for column in Records.load(out).answers.values() for answer in column]
    assert [answer.text for answer in answers if isinstance(answer, Generation)] == ["Paris \ufffd"] * 3


def test_real_examples_of_two_files(tmp_path: Path) -> None:
    files = [real_data("squad.jsonl"), real_data("multi30k_fr_en.jsonl")]
    result = collect(write_config(tmp_path / "c.yaml"), *files, "-o", tmp_path / "r.jsonl", "--limit", "5")
    assert result.exit_code == 0, result.stderr
    records = Records.load(tmp_path / "r.jsonl")
    assert len(records.complete()) == 10
    assert records.header.sampling.max_tokens == {"reading_comprehension": 48, "translation": 256}


@pytest.mark.vllm
@pytest.mark.models
def test_an_adapter_is_loaded_with_its_base(tmp_path: Path) -> None:
    from tests.models.lora_adapters import greedy, make, merged
    from tests.models.vllm_models import folder

    base = folder("smollm2-135m")
    tuned = make(tmp_path / "tuned", base, rank=4, modules=("q_proj", "v_proj"), seed=1, scale=0.08)
    models = {
        "base": {
            "engine": "vllm",
            "weights": str(base),
            "device": "cpu",
            "dtype": "float32",
            "context_tokens": 512,
            "enforce_eager": True,
            "env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
        },
        "tuned": {"engine": "vllm_lora", "base": "base", "weights": str(tuned)},
    }
    args = {"models": models, "cascades": {"default": {"tiers": [{"models": ["tuned"]}]}}}
    prompt_text = "What is the capital of France? Answer in one word."
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"applications": [{"import_path": "serve_app.app:build_app", "args": args}]}))
    example = Example("1", "custom", "test", {"prompt": prompt_text}, ("Paris",))
    data = write_examples(tmp_path / "x.jsonl", [example])
    arguments = command(config, data, "-o", tmp_path / "r.jsonl", "--max-tokens", "12")
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert result.returncode == 0, result.stderr
    records = Records.load(tmp_path / "r.jsonl")
    assert records.header.models.keys() == {"tuned"}
    assert records.header.models["tuned"].weights_sha256 not in (weights_sha256(tuned), weights_sha256(base))
    (answer,) = records.answers["tuned"]
    assert answer.text == greedy(merged(base, tuned), base, prompt_text, 12)[0]


def test_the_digest_of_weights(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"abc")
    assert weights_sha256(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "b.bin").write_bytes(b"abc")
    (folder / "a.json").write_bytes(b"{}")
    first = weights_sha256(folder)
    (folder / "a.json").rename(folder / "c.json")
    assert weights_sha256(folder) != first
    (folder / "c.json").rename(folder / "a.json")
    assert weights_sha256(folder) == first
