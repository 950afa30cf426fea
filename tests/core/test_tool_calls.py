"""Answers that call tools, through the cascade: compared as values, returned without a text, streamed."""

from collections.abc import Sequence
from contextlib import aclosing

import pytest

from serve_app.core.cost import estimated_prompt_tokens
from serve_app.core.running.cascade import Event, cascade_events, run_cascade
from serve_app.core.running.run import Run
from serve_app.core.tools import Tool
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Message, Prompt, ToolCall
from serve_app.core.types.scores import Scores
from serve_app.signals.json_leaves import JsonSignal

from .scripted import Fake

TOOL = Tool("book")
PROMPT = Prompt((Message("user", "Book a table for two at eight."),), tools=(TOOL,))
DEAD = Failure("unavailable", "Away.")


class Scorer:
    """The signal `json` itself."""

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        assert signal == "json"
        [scores] = JsonSignal().similarities([texts])
        return scores


def calling(arguments: str, *, name: str = "book", id_: str = "1", text: str = "") -> Generation:
    return Generation(text, "tool_calls", 10, 5, tool_calls=(ToolCall(id_, name, arguments),))


def run(a: Answer, b: Answer, target: Answer = DEAD, *, threshold: float = 0.6, **options: bool) -> Run:
    tiers = (Tier(("a", "b"), signal="json", threshold=threshold), Tier(("t",)))
    return Run(PROMPT, tiers, {"a": Fake(a), "b": Fake(b), "t": Fake(target)}, Scorer(), **options)


TWO = calling('{"people": 2, "time": "20:00"}')


@pytest.mark.parametrize(
    ("second", "agreement"),
    [
        (calling('{"time":"20:00","people":2.0}', id_="2"), 1.0),
        (calling('{"people": 2, "time": "20:00"}', text="Let me see."), 1.0),
        (calling('{"people": 3, "time": "20:00"}'), 0.5),  # of 4 different leaves 2 are shared: name and time
        (calling('{"people": 2, "time": "20:00"}', name="cancel"), 0.5),
        (calling('{"people": 2, "time"'), 0.25),  # of 4 leaves only the name: broken arguments are one string
        (Generation("A table for two at eight.", "stop", 10, 7), 0.0),
    ],
)
async def test_calls_are_compared_as_values(second: Generation, agreement: float) -> None:
    outcome = await run_cascade(run(TWO, second, TWO))
    assert outcome.tiers[0].decision.agreement == agreement
    assert outcome.deferred == (agreement < 0.6)
    assert outcome.answer == TWO


async def events(cascade_run: Run) -> list[Event]:
    async with aclosing(cascade_events(cascade_run)) as stream:
        return [event async for event in stream]


async def test_an_accepted_call_streams_no_text() -> None:
    stream_events = await events(run(TWO, TWO, stream=True))
    assert [event for event in stream_events if isinstance(event, Delta)] == [Delta("", 10, 5)]
    assert isinstance(stream_events[-1], Outcome)
    assert stream_events[-1].answer == TWO


async def test_a_call_stands_in_for_a_target_that_failed() -> None:
    for stream in (False, True):
        outcome = (await events(run(TWO, calling("{}"), fallback=True, stream=stream, threshold=1.0)))[-1]
        assert isinstance(outcome, Outcome)
        assert (outcome.answer, outcome.answered_by, outcome.replaced) == (TWO, "a", DEAD)


async def test_a_call_is_preferred_to_an_empty_answer() -> None:
    outcome = await run_cascade(run(Generation("", "stop", 10, 1), TWO, threshold=-1.0))
    assert (outcome.answered_by, outcome.deferred) == ("b", False)


DEEP = "[" * 200_000 + "]" * 200_000  # deeper than any Python reads


@pytest.mark.parametrize(
    ("arguments", "compared"),
    [
        ('{"b": 1, "a": "é"}', '[{"arguments": {"a": "é", "b": 1}, "name": "book"}]'),
        ("{", '[{"arguments": "{", "name": "book"}]'),
        (r'"\ud83d"', '[{"arguments": "\ufffd", "name": "book"}]'),
        (DEEP, f'[{{"arguments": "{DEEP}", "name": "book"}}]'),
    ],
)
def test_what_signals_read(arguments: str, compared: str) -> None:
    assert calling(arguments).compared == compared


def test_tools_count_in_an_estimate() -> None:
    """The message: 30 bytes and what a template adds, 8. The tool: 16 bytes of JSON and 36. The call: 4 and 2."""
    message = PROMPT.messages[0]
    assert estimated_prompt_tokens(Prompt((message,))) == 10 + 8
    assert estimated_prompt_tokens(PROMPT) == 10 + 8 + 18
    again = Message("assistant", "", (ToolCall("1", "book", "{}"),))
    assert estimated_prompt_tokens(Prompt((message, again))) == 10 + 8 + 8 + 2
