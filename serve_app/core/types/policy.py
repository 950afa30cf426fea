"""A tier, how far its answers agree, and what is decided on them. All frozen."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from serve_app.core.types.answer import Generation
from serve_app.core.types.blend import Blend
from serve_app.core.types.signal_range import Range
from serve_app.core.views.view import View

Reason: TypeAlias = Literal[
    "agreement",  # s >= t
    "disagreement",  # s < t
    "confident",  # the same for a token-level signal
    "unsure",
    "too_few_answers",  # fewer survivors than min_answers, or one answer and a signal that compares two
    "nothing_to_return",  # every answer is empty, or the fixed model's is missing
    "scorer_failed",
    "lexical_agreement",  # the same as agreement, by the signal that stands in for one whose scorer failed
    "lexical_disagreement",
    "shed",  # under pressure, whatever the agreement is
    "refused",  # a model cannot do what the request asks for
    "unaffordable",  # the request's budget is too small to ask the tier
    "forced",  # the request said so
    "session",  # its conversation was deferred before, and stays with the target
    "skipped",  # requests like it were nearly always deferred, or nearly always accepted
    "last_tier",  # no decision to take
]


ShedBy: TypeAlias = Literal["thresholds", "members"]
"""Under pressure a cascade accepts at lower thresholds, or whatever its members answered."""


Confidence: TypeAlias = Callable[[str, Generation], float]
"""A token-level confidence in a model's answer (paper, section 3.3), normalised for that model if several are
compared (section 3.4); minus infinity if there are no log-probabilities."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """A lexical signal that decides in place of a tier's own if its scorer fails, and its threshold."""

    signal: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Tier:
    """A set of models called together, and the policy for their answers. The last tier is one model, the target.

    `signal` is the name of a similarity that the scorer computes; or, with `confidence` set, of a token-level signal;
    or, with `blend` set too, of both in one.
    `compare` is what of each answer the signal sees; None means the whole text.
    `timeout_s` is how long each model may work. After `quorum` answers that survive, or after `tier_timeout_s`, the
    tier is decided on those that have arrived.
    `signal_range` bounds the signal, so that the tier may be decided `early`: before all answers have arrived, once the
    `decision` is settled or also which answer is returned (`selection`). None if nothing bounds it.
    `direction` is ours (the paper names none): `both` averages S_ij and S_ji, `hypothesis` takes S_ij alone (answer i
    as the hypothesis), `reference` S_ji. `select` names a fixed model whose answer is returned (paper, appendix C).
    `accepts_any`: under pressure, whatever can be returned is accepted. `stand_in` decides if the scorer fails; the
    tier that it makes of this one `stands_in_for` the signal that failed.
    """

    models: tuple[str, ...]
    signal: str | None = None
    threshold: float = 0.0
    agreement: Literal["max", "mean"] = "max"
    direction: Literal["both", "hypothesis", "reference"] = "both"
    select: str | None = None
    min_answers: int = 2
    truncated: Literal["keep", "discard"] = "keep"
    timeout_s: float | None = None
    quorum: int | None = None
    tier_timeout_s: float | None = None
    confidence: Confidence | None = field(default=None, compare=False)
    blend: Blend | None = None
    compare: View | None = None
    signal_range: Range | None = field(default=None, compare=False)
    early: Literal["off", "decision", "selection"] = "selection"
    accepts_any: bool = False
    stand_in: StandIn | None = None
    stands_in_for: str | None = None

    @property
    def token_level(self) -> bool:
        """Return whether each answer is scored by itself, without comparing it with others."""
        return self.confidence is not None and self.blend is None

    @property
    def may_settle_early(self) -> bool:
        """Return whether the tier may be decided before all answers are there: of two, no pair is before both are."""
        several = len(self.models) > (1 if self.token_level else 2)
        return several and self.early != "off" and self.signal_range is not None and self.blend is None

    @property
    def decides_by_arrival(self) -> bool:
        """Return whether the decision depends on which answers arrive first, or in time."""
        return self.quorum is not None or self.tier_timeout_s is not None

    @property
    def selects_by_arrival(self) -> bool:
        """Return whether another order of arrival may return another answer, though the decision is the same."""
        return self.may_settle_early and self.early == "decision" and self.select is None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the answers of a tier agree. `output_scores` has None for each model whose answer did not survive.

    `survivors` and `selected` are indices of models. `value` is s, None if it is undefined (fewer than two answers to
    compare). `selected` is None if no answer can be returned.
    """

    survivors: tuple[int, ...]
    output_scores: tuple[float | None, ...]
    value: float | None
    selected: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """Accept or defer, and why. `selected` is the index of the answer to return, also when deferring, or None."""

    accepted: bool
    reason: Reason
    agreement: float | None = None
    threshold: float | None = None
    selected: int | None = None
