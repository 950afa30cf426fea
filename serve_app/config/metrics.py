"""Quality metrics with options of their own. Only evaluation reads them; the server ignores them."""

from typing import Any, Self

from pydantic import Field, model_validator

from serve_app.config.cascades.views import ViewConfig
from serve_app.config.strict import Strict

LEARNED = ("bertscore", "comet")
"""Metrics whose packages the `environment` must have."""


class MetricConfig(Strict):
    """How `cascade evaluate`, `calibrate` and `choose` grade answers."""

    metric: str = Field(
        description="`exact_match`, `f1`, `accuracy`, `triviaqa_em`, `triviaqa_f1`, `bertscore`, `comet`, a signal "
        "that needs no encoder, or a function of your own, `module:function`."
    )
    compare: ViewConfig | None = Field(
        None, description="What of an answer, and of a reference, is graded. Default: all of it."
    )
    tasks: list[str] = Field(
        [], description="Tasks or data sets of which this is the main metric, unless --metric is given."
    )
    environment: str | None = Field(
        None, description="Python interpreter that runs a `module:function`. Default: the one that evaluates."
    )
    options: dict[str, Any] = Field({}, description="Keyword arguments of a `module:function`.")

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Self:
        if ":" in self.metric or self.metric in LEARNED:
            return self
        for name in ("environment", "options"):
            if getattr(self, name):
                raise ValueError(
                    f"{name}: has no effect on {self.metric!r}; functions, {' and '.join(LEARNED)} take it, "
                    "and a signal has its options under `signals`"
                )
        return self
