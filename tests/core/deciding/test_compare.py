"""Views in the decision: what the scorer sees, and what goes back."""

from dataclasses import replace

from serve_app.core.deciding.agreement import compared, survivors
from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Failure, Generation
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Message, Prompt, ToolCall
from serve_app.core.types.scores import Scores
from serve_app.core.views.view import View
from tests.core.scripted import Fake

VIEW = View(take=("last_number",), normalise=("numbers",))
TIER = Tier(("a", "b"), "exact", 1.0, compare=VIEW)
LONG = Generation("It is 18.0.", "stop", 5, 5)
SHORT = Generation("$18", "stop", 5, 1)


class Exact:
    async def score(self, signal: str, texts: list[str], since: int = 0) -> Scores:
        return Scores(tuple(tuple(float(a == b) for b in texts) for a in texts))


async def test_the_scorer_sees_the_view_and_the_answer_goes_back_whole() -> None:
    models = {"a": Fake(LONG), "b": Fake(SHORT), "t": Fake(SHORT)}
    outcome = await run_cascade(Run(Prompt((Message("user", "How many?"),)), (TIER, Tier(("t",))), models, Exact()))
    assert outcome.answer == LONG
    assert outcome.tiers[0].compared == ("18", "18")


def test_tool_calls_are_compared_whole_and_failures_as_nothing() -> None:
    calling = Generation("Let me see 7", "tool_calls", 5, 5, tool_calls=(ToolCall("1", "f", '{"x": 1.0}'),))
    assert compared(calling, VIEW) == '[{"arguments": {"x": 1.0}, "name": "f"}]'
    assert compared(Failure("error", "It broke."), VIEW) == ""
    assert compared(LONG, None) == LONG.text


def test_texts_are_those_of_the_survivors() -> None:
    answers = [Failure("error", "It broke."), SHORT]
    assert survivors(TIER, answers).texts == ("18",)
    assert survivors(TIER, answers, ["", "seen before"]).texts == ("seen before",)
    assert survivors(replace(TIER, confidence=lambda *_: 0.0), answers).texts == ()
