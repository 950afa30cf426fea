"""Fields of Anthropic's API that are not honoured, but tolerated: nothing that they say could change the answer."""

from typing import Any, Literal

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "top_k": (0,),
    "service_tier": ("auto", "standard_only"),
    "speed": ("standard",),
    "mcp_servers": ([],),
}
"""Fields of a request that are not honoured, with the values that have no effect and so are accepted."""

TOOL_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "allowed_callers": (["direct"],),
    "defer_loading": (False,),
    "input_examples": ([],),
}
"""The same for a tool."""

IGNORED: dict[
    Literal["request", "message", "text block", "call", "result", "thinking block", "tool"], tuple[str, ...]
] = {
    "request": ("cache_control", "diagnostics", "user_profile_id", "workspace_id"),
    "message": (
        "id",
        "type",
        "model",
        "stop_reason",
        "stop_sequence",
        "stop_details",
        "usage",
        "container",
        "diagnostics",
        "context_management",
        "cascade",
    ),
    "text block": ("cache_control", "citations"),
    "call": ("cache_control", "caller", "toolset_name"),
    "result": ("cache_control", "toolset_name"),
    "thinking block": ("thinking", "signature", "data"),
    "tool": ("cache_control", "eager_input_streaming"),
}
"""Fields that are ignored whatever their value: hints for caches, and what clients send back of an earlier answer."""
