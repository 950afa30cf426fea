"""Replay engines over records of an evaluation: which answer, by the whole conversation."""

from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.core.types.answer import Answer, Failure, Generation, TokenLogprob
from serve_app.core.types.prompt import Message, Prompt, Sampling, ToolCall
from serve_app.engines import Engine, Meter, ReplayConfig, load_engine
from serve_app.errors import EngineError, UnsupportedRequestError
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.lines import answer_body, example_body
from tests.engines.asking import chat, generate, raw
from tests.evaluation.records.headers import FACTS, header, write

QUESTION = Example("q1", "closed_book_qa", "", {"question": "Capital of France?"}, ())
OPEN = Example("q2", "custom", "", {"prompt": "Sing."}, ())
TALK = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "Sing."},
]
TALKED = Example("q3", "custom", "", {"messages": TALK}, ())


def records(path: Path, *answers: tuple[str, str, Answer]) -> Path:
    examples = map(example_body, (QUESTION, OPEN, TALKED))
    return write(path, header().body(), *examples, *(answer_body(*answer, {"judge": 1}) for answer in answers))


async def load(path: Path, **values: Any) -> Engine:
    return await load_engine(
        ReplayConfig.model_validate({"engine": "replay", "records": path, "recorded_model": "a"} | values)
    )


def generation(text: str, **fields: Any) -> Generation:
    return Generation(text, "stop", 50, 20, latency_s=nan, **fields)


async def test_every_recorded_prompt_gets_the_models_own_answer(tmp_path: Path) -> None:
    path = records(
        tmp_path / "r.jsonl",
        ("q1", "a", generation("Rome")),
        ("q1", "t", generation("Lyon")),
        ("q1", "a", generation("Paris")),
        ("q2", "a", generation("La")),
        ("q3", "a", generation("Once more: la")),
    )
    engine = await load(path)
    # By the template in the header, "Q: {question}".
    answer = await generate(engine, chat("Q: Capital of France?"))
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == ("Paris", 50, 20)
    assert (await generate(engine, chat("Sing."))).text == "La"
    assert (await generate(engine, raw("Sing."))).text == "La"
    messages = tuple(Message(message["role"], message["content"]) for message in TALK)  # type: ignore[arg-type]
    assert (await generate(engine, Prompt(messages))).text == "Once more: la"
    # Refused, not failed: the other models know the same prompts, and a server must start without knowing "Hello".
    with pytest.raises(UnsupportedRequestError, match="no answer to this prompt"):
        await engine.generate(chat("Capital of France?"), Meter())


async def test_a_sample_gets_what_was_recorded_of_that_sample(tmp_path: Path) -> None:
    sampled = dict.fromkeys(("a", "a#1", "a#2", "t", "t#3"), FACTS)
    path = write(
        tmp_path / "r.jsonl",
        replace(header(), models=sampled).body(),
        *map(example_body, (OPEN, QUESTION)),
        *(answer_body("q2", name, generation(name)) for name in sampled),
    )

    async def sung(recorded: str, sample: int | None) -> str:
        engine = await load(path, recorded_model=recorded)
        prompt = Prompt((Message("user", "Sing."),), sampling=Sampling(sample=sample))
        return (await generate(engine, prompt)).text

    assert [await sung("a", sample) for sample in (None, 1, 2)] == ["a", "a#1", "a#2"]
    # A sample that nobody recorded has the model's answer, and one sample may be played as a model.
    assert (await sung("a", 3), await sung("t", 1), await sung("t", 3), await sung("t#3", None)) == (
        "a",
        "t",
        "t#3",
        "t#3",
    )
    unanswered = Prompt((Message("user", "Q: Capital of France?"),), sampling=Sampling(sample=2))
    with pytest.raises(EngineError, match=r"^The records have no answer of 'a#2' to this prompt\.$"):
        await (await load(path)).generate(unanswered, Meter())


async def test_log_probabilities_thoughts_and_calls_are_played(tmp_path: Path) -> None:
    thought = generation("La", logprobs=(TokenLogprob("La", -0.5),), reasoning="Hm.", reasoning_tokens=1)
    engine = await load(records(tmp_path / "r.jsonl", ("q2", "a", thought)))
    answer = await generate(engine, Prompt((Message("user", "Sing."),), sampling=Sampling(logprobs=True)))
    assert (answer.logprobs, answer.reasoning) == ((TokenLogprob("La", -0.5),), "Hm.")
    called = Generation("", "tool_calls", 1, 1, latency_s=nan, tool_calls=(ToolCall("1", "look", "{}"),))
    engine = await load(records(tmp_path / "r.jsonl", ("q2", "a", called)), default="no tool")
    assert (await generate(engine, chat("Sing."))).text == "no tool"


async def test_a_failure_fails_with_its_message(tmp_path: Path) -> None:
    engine = await load(records(tmp_path / "r.jsonl", ("q2", "a", Failure("timeout", "Too slow.", latency_s=nan))))
    with pytest.raises(EngineError, match=r"^Too slow\.$"):
        await engine.generate(chat("Sing."), Meter())


async def test_a_model_that_is_not_in_the_records_is_refused(tmp_path: Path) -> None:
    path = records(tmp_path / "r.jsonl")
    with pytest.raises(EngineError, match=r"r\.jsonl has no model 'z'\. Available: a, t\."):
        await load(path, recorded_model="z")


async def test_a_file_of_prompts_is_no_records_of_an_evaluation(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", {"prompt": "x", "text": "y"})
    with pytest.raises(EngineError, match=r"r\.jsonl:1: not a line of evaluation's records \(KeyError\('kind'\)\)"):
        await load(path)


async def test_a_template_with_a_place_that_no_example_fills_is_refused(tmp_path: Path) -> None:
    body = header().body()
    path = write(
        tmp_path / "r.jsonl",
        body | {"prompts": {"digest": "p", "texts": {"closed_book_qa": "{0}"}}},
        example_body(QUESTION),
    )
    with pytest.raises(EngineError, match=r"r\.jsonl:2: not a line of evaluation's records \(IndexError"):
        await load(path)


def test_a_recorded_model_needs_records() -> None:
    with pytest.raises(ValidationError, match="recorded_model needs records, in which the model's answers are"):
        ReplayConfig.model_validate({"engine": "replay", "recorded_model": "a"})


async def test_a_recorded_prompt_without_this_models_answer_fails_and_is_not_refused(tmp_path: Path) -> None:
    engine = await load(records(tmp_path / "r.jsonl", ("q1", "a", generation("Paris"))))
    with pytest.raises(EngineError, match="The records have no answer of 'a' to this prompt") as raised:
        await generate(engine, chat("Sing."))
    assert not isinstance(raised.value, UnsupportedRequestError)
    await engine.close()


async def test_counts_that_were_estimated_stay_estimates(tmp_path: Path) -> None:
    answers = (("q1", "a", generation("Paris", estimated=True)), ("q2", "a", generation("La la la")))
    engine = await load(records(tmp_path / "r.jsonl", *answers))
    assert (await generate(engine, chat("Q: Capital of France?"))).estimated
    assert not (await generate(engine, chat("Sing."))).estimated
    await engine.close()


async def test_an_example_appended_with_the_same_prompt_does_not_take_the_answer_back(tmp_path: Path) -> None:
    again = Example("q9", "custom", "", {"prompt": "Sing."}, ())
    lines = [header().body(), example_body(OPEN), answer_body("q2", "a", generation("La")), example_body(again)]
    engine = await load(write(tmp_path / "r.jsonl", *lines))
    assert (await generate(engine, chat("Sing."))).text == "La"
    await engine.close()
