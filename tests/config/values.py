"""Valid configurations with some parts replaced, and the sentences about invalid ones."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from serve_app.config.explain import explain

REPLAY = {"engine": "replay", "default": "Paris"}
MEMBERS = {"models": ["a", "b"], "signal": "exact", "threshold": 0.5}
ALONE = {"models": ["a"], "signal": "chow_avg", "threshold": -0.5}
TARGET = {"models": ["t"]}


def config(**parts: Any) -> dict[str, Any]:
    """Return a valid configuration with some parts replaced."""
    models = dict.fromkeys(("a", "b", "c", "t"), REPLAY)
    return {"models": models, "cascades": {"default": {"tiers": [MEMBERS, TARGET]}}} | parts


def cascade(*tiers: dict[str, Any], **options: Any) -> dict[str, Any]:
    return config(cascades={"default": {"tiers": list(tiers)} | options})


def problems(model: type[BaseModel], values: Any) -> list[str]:
    """Return the sentences about values that are refused."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    return explain(caught.value, model)
