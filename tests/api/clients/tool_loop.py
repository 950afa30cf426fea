"""A scripted model that works in two steps: it calls a tool, and answers by the result."""

from serve_app.core.types.answer import Answer, Generation
from serve_app.core.types.prompt import Prompt, ToolCall
from tests.api.serving import FakeService, Scripted

CALL = ToolCall("call_1", "get_weather", '{"city": "Paris"}')


class CallsFirst(Scripted):
    """Calls `get_weather` until the last message is its result, and then repeats that."""

    def _answer(self, prompt: Prompt) -> Answer:
        last = prompt.messages[-1]
        if last.role == "tool":
            return Generation(f"In Paris: {last.content}", "stop", 20, 3, latency_s=0.5)
        return Generation("", "tool_calls", 10, 5, latency_s=0.5, tool_calls=(CALL,))


def let_call(service: FakeService) -> None:
    """Make the members call a tool first."""
    service.models["a"], service.models["b"] = CallsFirst(""), CallsFirst("")
