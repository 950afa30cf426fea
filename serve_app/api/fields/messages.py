"""What the lists of messages of all APIs share."""

from typing import Any

from pydantic import BeforeValidator, ValidationInfo

from serve_app.api.intake.limits import Limits

MAX_PARTS = 1024
"""Parts of one message."""


def _check_number(value: Any, info: ValidationInfo) -> Any:
    if isinstance(info.context, Limits) and isinstance(value, list) and len(value) > info.context.max_messages:
        raise ValueError(f"must have at most {info.context.max_messages} items, got {len(value)}")
    return value


FEW_MESSAGES = BeforeValidator(_check_number)
"""For a list of messages: as many as `router.max_messages` allows, counted before any is read."""
