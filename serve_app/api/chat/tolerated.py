"""Fields of OpenAI's chat that are not honoured, but tolerated: nothing that they say could change the answer."""

from typing import Any, Literal

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "top_logprobs": (0,),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
}
"""Fields of OpenAI's schema that are not honoured, with the values that have no effect and so are accepted."""

IGNORED: dict[Literal["request", "message", "call", "function", "tool", "part"], tuple[str, ...]] = {
    "request": (
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
    ),
    "message": (
        "id",
        "annotations",
        "cache_control",
        "parsed",
        "provider_specific_fields",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "thinking",
    ),
    "call": ("index", "cache_control", "extra_content", "provider_specific_fields"),
    "function": ("parsed_arguments",),
    "tool": ("cache_control",),
    "part": ("id", "annotations", "cache_control", "prompt_cache_breakpoint"),
}
"""Fields that are ignored whatever their value: hints for caches, and what clients send back of an earlier answer."""
