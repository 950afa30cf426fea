"""Which requests a cascade's models can honour: a field that an engine cannot honour is refused, never dropped."""

from collections.abc import Mapping

from serve_app.core.types import Prompt
from serve_app.engines import EngineSettings
from serve_app.errors import RequestError


def check_honoured(prompt: Prompt, models: Mapping[str, EngineSettings]) -> None:
    """Raise `RequestError` with the field and the models if one of `models`, by name, cannot honour the prompt."""
    without_tools = [name for name, model in models.items() if not model.honours_tools]
    without_format = [name for name, model in models.items() if not model.honours_response_format]
    called = any(message.tool_calls or message.role == "tool" for message in prompt.messages)
    for used, field, subject, unable in (
        (bool(prompt.tools), "tools", "tools", without_tools),
        (called, "messages", "calls of tools in messages", without_tools),
        (prompt.response_format is not None, "response_format", "response formats", without_format),
    ):
        if used and unable:
            message = f"{field}: {subject} are not honoured by {', '.join(map(repr, unable))}, which would be asked."
            raise RequestError(message, field)
