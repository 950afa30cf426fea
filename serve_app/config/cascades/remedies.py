"""What a user writes about a cascade's remedies against latency and cost: the cache, and asking tiers ahead."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from serve_app.config.strict import Strict
from serve_app.core.speculation import SpeculationPolicy


class CacheConfig(Strict):
    """Answers that each router replica keeps for equal requests, which also share a run in progress."""

    ttl_s: float = Field(600, gt=0, description="Seconds after which an answer is forgotten.")
    entries: PositiveInt = Field(10_000, description="Answers kept by each router replica.")
    bytes: PositiveInt = Field(
        100_000_000, description="Memory for them; beyond it, or beyond the entries, the oldest is forgotten."
    )


class SkipConfig(Strict):
    """Requests that go straight to one model, because those most like them nearly always ended there."""

    fitted: str = Field(min_length=1, description="The file that `cascade fit-skip` wrote of recorded answers.")
    encoder: str = Field(description="The sbert signal whose embeddings say how similar two prompts are.")
    k: int = Field(25, ge=5, le=1000, description="How many of the most similar past requests, the neighbours, count.")
    defer_above: float | None = Field(
        None,
        gt=0.5,
        le=1,
        description="Ask the target alone if at least this share of the neighbours was deferred; not with "
        "`on_target_failure: best_member`.",
    )
    accept_above: float | None = Field(
        None, gt=0.5, le=1, description="Ask `member` alone if at least this share of the neighbours was accepted."
    )
    member: str | None = Field(
        None,
        description="Member that answers requests that are accepted without a decision. Default: the first tier's "
        "`select`, or its first model.",
    )
    min_similarity: float = Field(
        0.5,
        ge=-1,
        le=1,
        description="Cosine from which a past request is a neighbour; with fewer than k the cascade runs.",
    )
    timeout_s: float = Field(0.25, gt=0, description="Seconds for the look-up; without it in time the cascade runs.")

    @model_validator(mode="after")
    def _of_use(self) -> Self:
        if self.defer_above is None and self.accept_above is None:
            raise ValueError("needs defer_above, accept_above or both, or it skips nothing")
        if self.member is not None and self.accept_above is None:
            raise ValueError("member: has no effect without accept_above")
        return self


class ShedConfig(Strict):
    """What a cascade does while many requests wait for its target, so that fewer are deferred to it."""

    by: Literal["thresholds", "members"] = Field(
        "thresholds",
        description="thresholds: accept at lower ones, by default those that `cascade calibrate --shed` writes; "
        "members: accept the best answer whatever the agreement is.",
    )
    thresholds: list[float] | None = Field(
        None,
        description="The lower thresholds, one for each tier but the last, unless the calibration in force has some.",
    )
    begin_at: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Pressure from which on: the share of the target's queue that is taken.",
    )
    end_at: float = Field(0.1, ge=0, lt=1, description="Pressure up to which it may end.")
    hold_s: float = Field(
        10, ge=0, description="Seconds that the pressure must stay at or below end_at before shedding ends."
    )
    opt_out: bool = Field(False, description="Whether a request may set `cascade: {shed: false}` and is then not shed.")

    @model_validator(mode="after")
    def _of_use(self) -> Self:
        if self.end_at >= self.begin_at:
            raise ValueError(f"end_at: must be below begin_at ({self.begin_at:g}), got {self.end_at:g}")
        if self.by == "members" and self.thresholds is not None:
            raise ValueError("thresholds: have no effect by members")
        return self


class SpeculationConfig(Strict):
    """When the next tier is asked before a tier has decided."""

    when: Literal["always", "adaptive"] | None = Field(
        None,
        description="always: at once; adaptive: at once if the seconds saved should be worth more than the waste.",
    )
    after_s: float | None = Field(None, ge=0, description="If the tier has not decided after so many seconds.")
    percentile: float | None = Field(
        None, gt=0, lt=100, description="If it takes longer than this percentage of its last 200 requests."
    )
    second_usd: float | None = Field(
        None, gt=0, description="For `adaptive`: what a second less of waiting is worth, in US dollars."
    )
    billed: bool = Field(False, description="Also for models that bill cancelled calls (`cancelled_billed`).")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        rules = [name for name in ("when", "after_s", "percentile") if getattr(self, name) is not None]
        if len(rules) != 1:
            raise ValueError(f"needs exactly one of when, after_s and percentile, got {' and '.join(rules) or 'none'}")
        if (self.when == "adaptive") != (self.second_usd is not None):
            raise ValueError("second_usd: required with when: adaptive, and not allowed otherwise")
        return self

    def policy(self) -> SpeculationPolicy:
        """Return the policy as the decision core takes it."""
        return SpeculationPolicy(self.when, self.after_s, self.percentile, self.second_usd or 0.0)


def off_as_null(value: Any) -> Any:
    """Return null for `off`, which YAML reads as false without quotes."""
    return None if value is False or value == "off" else value


def rule_as_mapping(value: Any) -> Any:
    """Return a rule's short form as a mapping; off is null."""
    value = off_as_null(value)
    if value in ("always", "adaptive"):
        return {"when": value}
    if value is None or isinstance(value, Mapping | SpeculationConfig):
        return value
    raise ValueError(f"must be off, always, adaptive or a mapping, such as {{after_s: 0.3}}, got {value!r}")
