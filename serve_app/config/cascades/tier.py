"""What a user writes about a tier: its members, and how their answers are judged."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

from serve_app.config.cascades.members import Member, SamplesConfig
from serve_app.config.cascades.views import ViewConfig
from serve_app.config.strict import Strict
from serve_app.core.types.policy import StandIn

MEMBER_TIMEOUT_S, TARGET_TIMEOUT_S = 120.0, 600.0
"""Limits that keep a request from waiting indefinitely on a model whose replicas are gone."""


def _off(value: Any) -> Any:
    """Return `off` for false, as which YAML reads it without quotes."""
    return "off" if value is False else value


class StandInConfig(Strict):
    """A lexical signal that the router computes itself, for a tier whose scorer fails."""

    signal: str = Field(description="A signal that needs no model.")
    threshold: float = Field(description="Accept if the agreement by it is at least this.")

    def stand_in(self) -> StandIn:
        """Return it as the decision core takes it."""
        return StandIn(self.signal, self.threshold)


def _deferring(value: Any) -> Any:
    """Return null for `defer`."""
    return None if value == "defer" else value


class TierConfig(Strict):
    """Models asked together, and how their answers are judged. The last tier names the target and nothing else."""

    model_config = ConfigDict(serialize_by_alias=True)

    members: list[Member] = Field(
        alias="models",
        min_length=1,
        description="Names of models, or `{model: NAME, samples: 3}`; a tie goes to the one named first.",
    )
    signal: str | None = Field(None, description="What measures agreement: a built-in signal or one under `signals`.")
    threshold: float | None = Field(None, description="Accept if the agreement is at least this.")
    agreement: Literal["max", "mean"] | None = Field(
        None, description="The best answer's score or the mean of all. Default: max, for token-level signals mean."
    )
    direction: Literal["both", "hypothesis", "reference"] = Field(
        "both", description="Average S_ij and S_ji, or take answer i as the hypothesis or as the reference only."
    )
    compare: ViewConfig | None = Field(None, description="What of each answer the signal sees. Default: all of it.")
    select: str | None = Field(None, description="Always return this member's answer; the others only decide.")
    min_answers: PositiveInt | None = Field(None, description="Fewer answers than this defer. Default: 2, or 1 of 1.")
    truncated: Literal["keep", "discard"] = Field("keep", description="What to do with answers cut at max_tokens.")
    timeout_s: float | None = Field(
        None, gt=0, description="Seconds after which a model counts as failed. Default: 120, for the target 600."
    )
    early: Annotated[Literal["off", "decision", "selection"], BeforeValidator(_off)] = Field(
        "selection",
        description="Stop waiting once no missing answer can change whether the tier accepts (decision), nor which "
        "answer it returns (selection); off: wait for all.",
    )
    quorum: PositiveInt | None = Field(
        None, description="Decide on the first so many answers, and stop the other models. Default: wait for all."
    )
    tier_timeout_s: float | None = Field(
        None, gt=0, description="Decide on what has arrived after so many seconds. Default: wait for all."
    )

    on_scorer_failure: Annotated[StandInConfig | None, BeforeValidator(_deferring)] = Field(
        None, description="What decides if the scorer fails: `defer` (or null), or a lexical signal and its threshold."
    )

    @property
    def models(self) -> list[str]:
        """Return the names of the tier's members: models, and samples of models."""
        members = (member.expanded() if isinstance(member, SamplesConfig) else [member] for member in self.members)
        return [member if isinstance(member, str) else member.name for expanded in members for member in expanded]

    def samples(self) -> list[SamplesConfig]:
        """Return the models that are asked several times."""
        return [member for member in self.members if isinstance(member, SamplesConfig)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.models)) < len(self.models):
            raise ValueError("models: the same model is listed twice")
        if self.select is not None and self.select not in self.models:
            raise ValueError(f"select: {self.select!r} is not one of this tier's models ({', '.join(self.models)})")
        if self.min_answers is not None and self.min_answers > len(self.models):
            most = f"{len(self.models)}, as many as the tier has models"
            raise ValueError(f"min_answers: must be at most {most}, got {self.min_answers}")
        least = self.min_answers or min(2, len(self.models))
        if self.quorum is not None and not least <= self.quorum <= len(self.models):
            raise ValueError(
                f"quorum: must be from {least} (min_answers) to {len(self.models)} (models), got {self.quorum}"
            )
        return self

    def defers_after(self, before: Self) -> bool:
        """Return whether this tier defers whatever `before` has deferred: equal scores, and no lower a threshold.

        A tier that does not wait for all its answers may see more of them the second time.
        """
        own_options, earlier_options = (
            tier.model_dump(exclude={"threshold", "timeout_s", "early", "on_scorer_failure"})
            | {"models": sorted(tier.models)}
            for tier in (self, before)
        )
        assert self.threshold is not None
        assert before.threshold is not None
        waits = self.quorum is None and self.tier_timeout_s is None
        return waits and own_options == earlier_options and self.threshold >= before.threshold

    def returns_only(self, model: str) -> bool:
        """Return whether this tier can return no other model's answer."""
        return model == self.select or self.models == [model]
