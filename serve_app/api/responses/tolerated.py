"""Fields of OpenAI's responses that are not honoured, but tolerated: nothing that they say could change the answer."""

from typing import Any, Literal, TypeAlias

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "context_management": ([],),
    "service_tier": ("auto", "default"),
    "text.verbosity": ("medium",),
    "truncation": ("disabled",),
}
"""Fields that are not honoured, with the values that have no effect and so are accepted."""

IGNORED: dict[str, tuple[str, ...]] = {
    "the request": (
        "client_metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
    ),
    "`reasoning`": ("summary", "generate_summary"),
    "a message": ("id", "status", "phase"),
    "a part": ("annotations", "logprobs", "parsed", "prompt_cache_breakpoint"),
    "a `function_call`": ("id", "status", "caller", "parsed_arguments"),
    "a `function_call_output`": ("id", "status", "caller"),
    "a `reasoning` item": ("id", "status", "content", "summary", "encrypted_content"),
}
"""Fields that are ignored whatever their value: hints for caches, and what clients send back of an earlier answer."""

Includable: TypeAlias = Literal[
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
]
"""Values of `include`. All but the first have no effect: answers here have no such parts."""


def neutral_in(part: str) -> dict[str, tuple[Any, ...]]:
    """Return the fields of an object inside the request that are not honoured, with their neutral values."""
    prefix = f"{part}."
    return {name.removeprefix(prefix): values for name, values in NEUTRAL.items() if name.startswith(prefix)}
