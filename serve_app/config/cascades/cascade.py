"""What a user writes about a cascade: its tiers, and how their answers are judged."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

from serve_app.config.cascades.members import Member, SamplesConfig
from serve_app.config.cascades.remedies import (
    CacheConfig,
    ShedConfig,
    SkipConfig,
    SpeculationConfig,
    off_as_null,
    rule_as_mapping,
)
from serve_app.config.cascades.views import ViewConfig
from serve_app.config.strict import Strict
from serve_app.core.deciding.carried import newly_asked
from serve_app.core.deciding.skip import SkipPolicy
from serve_app.core.types.policy import StandIn
from serve_app.errors import choices

MEMBER_TIMEOUT_S, TARGET_TIMEOUT_S = 120.0, 600.0
"""Limits that keep a request from waiting indefinitely on a model whose replicas are gone."""


def check_lower(where: str, thresholds: Sequence[float], usual: Sequence[float]) -> None:
    """Raise ValueError unless there are thresholds under pressure for all usual ones, and none is higher."""
    if len(thresholds) != len(usual):
        raise ValueError(f"{where}: needs {len(usual)}, one for each tier but the last, got {len(thresholds)}")
    for number, (lower, threshold) in enumerate(zip(thresholds, usual, strict=True)):
        if lower > threshold:
            raise ValueError(f"{where}[{number}]: {lower:g} is above the threshold {threshold:g}; it must be no higher")


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


class CascadeConfig(Strict):
    """An ordered list of tiers, served as a model id of its own.

    Several tiers may name the same model: the first of them asks it, and its answer is carried over to the others.
    """

    tiers: list[TierConfig] = Field(min_length=1, description="In the order in which they are asked.")
    on_target_failure: Literal["error", "best_member"] = Field(
        "error", description="Fail with the target, or let the best member answer stand in (and say so in the record)."
    )

    speculate: Annotated[SpeculationConfig | None, BeforeValidator(rule_as_mapping)] = Field(
        None, description="When the next tier is asked before it is known to be needed; `off` or null: never."
    )
    stickiness: Literal["none", "escalate"] = Field(
        "none", description="escalate: a conversation (`cascade.session`) that was deferred once stays with the target."
    )
    session_ttl_s: float = Field(
        3600, gt=0, description="Seconds without a request after which a conversation may leave the target."
    )
    cache: Annotated[CacheConfig | None, BeforeValidator(off_as_null)] = Field(
        None,
        description="Answer equal requests at temperature 0 from memory, and let those at the same time share one run; "
        "`{}`: within the default limits; `off` or null: never.",
    )

    skip: Annotated[SkipConfig | None, BeforeValidator(off_as_null)] = Field(
        None,
        description="Send requests straight to the target, or to one member, if nearly all past requests like them "
        "were deferred, or accepted; `off` or null: never.",
    )

    shed: Annotated[ShedConfig | None, BeforeValidator(off_as_null)] = Field(
        None,
        description="Under pressure accept at lower thresholds, or answer from members only; `{}`: as by default, "
        "`off` or null: never.",
    )

    @model_validator(mode="after")
    def _shaped(self) -> Self:
        *members, target = self.tiers
        last = f"tiers[{len(members)}]"
        for number, tier in enumerate(members):
            if tier.signal is None or tier.threshold is None:
                raise ValueError(f"tiers[{number}]: needs a signal and a threshold; only the last tier always answers")
        extra_fields = target.model_fields_set - {"members", "timeout_s"}
        if target.samples():
            raise ValueError(f"{last}: the target is one model, which is asked once, so write its name alone")
        if len(target.models) != 1 or extra_fields:
            extra = f" It has {', '.join(sorted(extra_fields))}, which have no effect there." if extra_fields else ""
            raise ValueError(f"{last}: the target is one model, perhaps a timeout_s, and nothing else.{extra}")
        for remedy in ("speculate", "skip", "shed"):
            if getattr(self, remedy) is not None and not members:
                raise ValueError(f"{remedy}: has no effect: the cascade has one tier")
        if self.shed is not None and self.shed.thresholds is not None:
            check_lower("shed.thresholds", self.shed.thresholds, [tier.threshold or 0.0 for tier in members])
        if self.skip is not None and self.skip.member is not None:
            member_models = dict.fromkeys(model for tier in members for model in tier.models)
            if self.skip.member not in member_models:
                raise ValueError(
                    f"skip.member: {self.skip.member!r} is not a member. {choices(self.skip.member, member_models)}"
                )
        if self.skip is not None and self.skip.defer_above is not None and self.on_target_failure == "best_member":
            raise ValueError(
                "skip.defer_above: leaves on_target_failure: best_member no member's answer to return; leave out one "
                "of the two"
            )
        for number, (tier, new) in enumerate(zip(members, self.newly_asked(), strict=False)):
            carried = len(tier.models) - len(new)
            if tier.quorum is not None and new and tier.quorum <= carried:
                raise ValueError(
                    f"tiers[{number}].quorum: must be more than {carried}, the answers that earlier tiers have, "
                    f"or no other model is waited for; got {tier.quorum}"
                )
            for earlier, before in enumerate(members[:number]):
                if tier.defers_after(before):
                    raise ValueError(
                        f"tiers[{number}]: has no effect: tiers[{earlier}] compares the same answers in the same way, "
                        "with a threshold that is no higher"
                    )
        if members and members[-1].returns_only(target.models[0]):
            raise ValueError(
                f"tiers[{len(members) - 1}]: has no effect: it returns the target's answer, as the last tier does"
            )
        return self

    def skip_policy(self) -> SkipPolicy | None:
        """Return the policy of `skip` as the decision core takes it, or None."""
        if self.skip is None:
            return None
        first = self.tiers[0]
        return SkipPolicy(
            self.skip.k,
            self.skip.defer_above,
            self.skip.accept_above,
            self.skip.member or first.select or first.models[0],
            self.skip.min_similarity,
        )

    def newly_asked(self) -> list[tuple[str, ...]]:
        """Return those models of each tier that no tier before it has asked."""
        return newly_asked([tier.models for tier in self.tiers])
