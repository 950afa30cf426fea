"""The messages that an example of a records file was asked with: of its inputs, by its task's template."""

from collections.abc import Mapping
from typing import Any

from serve_app.core.types.prompt import Message

LANGUAGES = {
    "ar": "Arabic",
    "cs": "Czech",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "hi": "Hindi",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "zh": "Chinese",
}
"""Names of ISO 639-1 codes in prompts; any other code is written as the example has it."""


def own_messages(inputs: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return the messages of an example that brings its own: its `messages`, or its `prompt` as a user's."""
    if "messages" in inputs:
        return tuple(Message(message["role"], message["content"]) for message in inputs["messages"])
    return (Message("user", inputs["prompt"]),)


def templated_messages(template: str, inputs: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return the user message that a task's template makes of an example's inputs."""
    fields = {name: LANGUAGES.get(text, text) if name.endswith("_lang") else text for name, text in inputs.items()}
    return (Message("user", template.format(**fields)),)
