"""What a user writes about a cascade: its tiers in order, and what it does about latency, cost and pressure."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from serve_app.config.cascades.remedies import (
    CacheConfig,
    ShedConfig,
    SkipConfig,
    SpeculationConfig,
    off_as_null,
    rule_as_mapping,
)
from serve_app.config.cascades.tier import TierConfig
from serve_app.config.strict import Strict
from serve_app.core.deciding.carried import newly_asked
from serve_app.core.deciding.skip import SkipPolicy
from serve_app.errors import choices


def check_lower(where: str, thresholds: Sequence[float], usual: Sequence[float]) -> None:
    """Raise ValueError unless there are thresholds under pressure for all usual ones, and none is higher."""
    if len(thresholds) != len(usual):
        raise ValueError(f"{where}: needs {len(usual)}, one for each tier but the last, got {len(thresholds)}")
    for number, (lower, threshold) in enumerate(zip(thresholds, usual, strict=True)):
        if lower > threshold:
            raise ValueError(f"{where}[{number}]: {lower:g} is above the threshold {threshold:g}; it must be no higher")


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
    def _consistent(self) -> Self:
        *members, target = self.tiers
        _check_members(members)
        _check_target(target, f"tiers[{len(members)}]")
        self._check_remedies(members)
        self._check_skip(members)
        for number, (tier, new) in enumerate(zip(members, self.newly_asked(), strict=False)):
            _check_quorum(number, tier, carried=len(tier.models) - len(new))
            _check_effect(number, members)
        if members and members[-1].returns_only(target.models[0]):
            raise ValueError(
                f"tiers[{len(members) - 1}]: has no effect: it returns the target's answer, as the last tier does"
            )
        return self

    def _check_remedies(self, members: Sequence[TierConfig]) -> None:
        """Refuse remedies of members in a cascade without any, and thresholds under pressure that are higher."""
        for remedy in ("speculate", "skip", "shed"):
            if getattr(self, remedy) is not None and not members:
                raise ValueError(f"{remedy}: has no effect: the cascade has one tier")
        if self.shed is not None and self.shed.thresholds is not None:
            check_lower("shed.thresholds", self.shed.thresholds, [tier.threshold or 0.0 for tier in members])

    def _check_skip(self, members: Sequence[TierConfig]) -> None:
        """Refuse a skip to what is no member, and one that leaves no member's answer for when the target fails."""
        if self.skip is None:
            return
        models = dict.fromkeys(model for tier in members for model in tier.models)
        if self.skip.member is not None and self.skip.member not in models:
            raise ValueError(f"skip.member: {self.skip.member!r} is not a member. {choices(self.skip.member, models)}")
        if self.skip.defer_above is not None and self.on_target_failure == "best_member":
            raise ValueError(
                "skip.defer_above: leaves on_target_failure: best_member no member's answer to return; leave out one "
                "of the two"
            )

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


def _check_members(members: Sequence[TierConfig]) -> None:
    for number, tier in enumerate(members):
        if tier.signal is None or tier.threshold is None:
            raise ValueError(f"tiers[{number}]: needs a signal and a threshold; only the last tier always answers")


def _check_target(target: TierConfig, where: str) -> None:
    if target.samples():
        raise ValueError(f"{where}: the target is one model, which is asked once, so write its name alone")
    extra_fields = target.model_fields_set - {"members", "timeout_s"}
    if len(target.models) != 1 or extra_fields:
        extra = f" These have no effect there: {', '.join(sorted(extra_fields))}." if extra_fields else ""
        raise ValueError(f"{where}: the target is one model, perhaps a timeout_s, and nothing else.{extra}")


def _check_quorum(number: int, tier: TierConfig, carried: int) -> None:
    """Refuse a quorum that the `carried` answers of earlier tiers reach, if the tier asks any other model."""
    if tier.quorum is not None and carried < len(tier.models) and tier.quorum <= carried:
        raise ValueError(
            f"tiers[{number}].quorum: must be more than {carried}, the answers that earlier tiers have, "
            f"or no other model is waited for; got {tier.quorum}"
        )


def _check_effect(number: int, members: Sequence[TierConfig]) -> None:
    """Refuse a tier that defers whatever an earlier one has deferred."""
    for earlier, before in enumerate(members[:number]):
        if members[number].defers_after(before):
            raise ValueError(
                f"tiers[{number}]: has no effect: tiers[{earlier}] compares the same answers in the same way, "
                "with a threshold that is no higher"
            )
