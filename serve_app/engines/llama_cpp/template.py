"""What a model's chat template does with tools and thoughts, queried from llama.cpp once the model is loaded."""

import json
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, Literal, TypeAlias

from serve_app.core.types.prompt import Prompt
from serve_app.engines.running.thinking import Markers
from serve_app.engines.running.threaded import CANCEL_WAIT_S

Thoughts: TypeAlias = Literal["no", "possible", "begun"]
"""Whether an answer has thoughts: `begun` means that the prompt ends inside them."""


@dataclass(frozen=True, slots=True)
class Template:
    """A chat template. `thoughts` are those of its answers by themselves, if asked for, and if turned off."""

    knows_tools: bool = False
    knows_effort: bool = False
    thoughts: Thoughts = "no"
    thoughts_on: Thoughts = "no"
    thoughts_off: Thoughts = "no"

    def thoughts_of(self, prompt: Prompt) -> Thoughts:
        """Return how the answer to a prompt begins."""
        thinking = enable_thinking(prompt)
        if thinking is None:
            return self.thoughts
        return self.thoughts_on if thinking else self.thoughts_off


def enable_thinking(prompt: Prompt) -> bool | None:
    """Return the value of the templates' variable of that name, or None to leave it to the template."""
    effort = prompt.sampling.reasoning_effort
    return None if effort is None else effort != "none"


@dataclass(frozen=True, slots=True)
class Port:
    """The HTTP port of a llama.cpp in this process, for what xllamacpp has no function."""

    address: str
    key: str

    def ask(self, path: str, body: object = None) -> dict[str, Any]:
        """Get a path, or post the body to it, and return the answer."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        method, data = ("GET", None) if body is None else ("POST", json.dumps(body))
        with closing(HTTPConnection(self.address, timeout=CANCEL_WAIT_S)) as connection:
            connection.request(method, path, data, headers)
            answer: dict[str, Any] = json.load(connection.getresponse())
        return answer


def read_template(port: Port, markers: Markers | None) -> Template:
    """Return what the template of the loaded model does."""
    properties = port.ask("/props")
    capabilities, text = properties["chat_template_caps"], str(properties.get("chat_template") or "")

    def thoughts(**options: bool) -> Thoughts:
        if markers is None:
            return "no"
        body = {"messages": [{"role": "user", "content": "Hello"}], "chat_template_kwargs": options}
        # A template that refuses this message refuses requests, too.
        prompt = str(port.ask("/apply-template", body).get("prompt", "")).rstrip()
        begins_open = prompt.endswith(markers.open) if markers.begins_open is None else markers.begins_open
        if prompt.endswith(markers.close):
            return "no"
        return "begun" if begins_open else "possible" if markers.open in text else "no"

    return Template(
        knows_tools=bool(capabilities["supports_tools"] and capabilities["supports_tool_calls"]),
        knows_effort="reasoning_effort" in text,
        thoughts=thoughts(),
        thoughts_on=thoughts(enable_thinking=True),
        thoughts_off=thoughts(enable_thinking=False),
    )
