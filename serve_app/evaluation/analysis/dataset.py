"""The data set that an evaluation works on: examples that every model answered, replayed, priced and graded.

Every array of a data set runs over the same n examples, in the order of the records. Groups and parts of the examples
are index arrays into them. A data set never changes: a fit returns a new one.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from math import copysign, isinf
from typing import Any

import numpy as np

from serve_app.config import AppConfig
from serve_app.core.types.policy import Tier
from serve_app.core.views.view import View
from serve_app.evaluation.analysis.costs import UNITS, Costs, total
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.replay import EVERYTHING, Replay
from serve_app.evaluation.analysis.similarities import Similarities, plain_signals
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.header import ModelFacts, SourceFacts
from serve_app.evaluation.statistics.curves import Floats, Integers
from serve_app.signals import AnySignalConfig, SignalConfig

POOLED = "all"
CHOOSE, CALIBRATE = 0.25, 0.75
"""Where `calibrate` and `choose` cut the examples: a quarter, a half, a quarter."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Examples that are evaluated together: one data set, or all.

    `index`: which of the n examples. `quality[metric][model]`: (n,), NaN outside of the group; the first metric is the
    main one. Without metrics the examples have no references. `binary`: metrics by which every quality is 0 or 1;
    `kinds[metric]`: what it computes, by which a signal may be recognised as the metric itself.
    """

    name: str
    metrics: tuple[str, ...]
    index: Integers
    quality: Mapping[str, Mapping[str, Floats]]
    binary: frozenset[str] = frozenset()
    kinds: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """What all numbers of an evaluation come from. `left_out`: examples that some model has not been asked yet.

    `where`: conditions that all examples meet; `data_sha256` is of those that do.
    """

    data_sha256: str
    examples: int
    left_out: int
    files: list[str]
    config_sha256: str
    prompts_sha256: str
    models: Mapping[str, ModelFacts]
    models_sha256: str
    asked: SourceFacts
    collected: str
    versions: dict[str, str]
    version: str
    seed: int
    fit: float
    resamples: int
    where: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """n examples with every model's answers, by `load_dataset`.

    `members`: the models of all tiers but the targets; `signals`: those to evaluate, by name; `costs`: what asking each
    model costs, (n,) for each unit; `shares`: (n,) in 0..1, the hash of each example's id, by which parts are cut.
    """

    config: AppConfig
    options: Options
    source: Source
    examples: tuple[Example, ...]
    models: tuple[str, ...]
    members: tuple[str, ...]
    signals: Mapping[str, AnySignalConfig]
    replay: Replay
    groups: tuple[Group, ...]
    """One for each data set, then one of all examples if there are several."""
    costs: Mapping[str, Costs]
    shares: Floats

    def __len__(self) -> int:
        return len(self.examples)

    def parts(self, index: Integers, *edges: float) -> list[Integers]:
        """Return disjoint parts of `index`, cut at `edges` (0..1) of the hashes of the examples' ids."""
        shares = self.shares[index]
        return [index[(shares >= low) & (shares < high)] for low, high in pairwise([0.0, *edges, 1.0])]

    def kinds(self, signal: str) -> set[str]:
        """Return the kinds of all signals that `signal` compares texts by; empty if it is token-level."""
        return {plain.kind for plain in plain_signals(self.config, [signal]).values()}

    def tier_cost(self, tier: Tier, asked_models: Collection[str] = ()) -> Costs:
        """Return what a tier costs every request that gets to it, (n,) for each unit, or None if unknown.

        `asked_models`: those of the tiers before it, whose answers are carried over and cost nothing again. The cost
        includes the scorer.
        """
        nothing = np.zeros(len(self))
        members = [self.costs[model] for model in tier.models if model not in asked_models]
        scoring = self._scoring_cost(tier)
        costs = {unit: total([nothing, *(cost[unit] for cost in members), scoring[unit]]) for unit in UNITS}
        latencies = [latency for cost in members if (latency := cost["latency_s"]) is not None]
        slowest = np.max([nothing, *latencies], axis=0) if len(latencies) == len(members) else None
        costs["latency_s"] = total([slowest, scoring["latency_s"]])
        return costs

    def _scoring_cost(self, tier: Tier) -> Costs:
        """Return what it costs to compare a tier's answers, (n,) for each unit, or None if unknown.

        What a signal cost over all members is shared equally by their pairs, or by the texts if it encodes each by
        itself. A tier is scored anew, also the pairs that an earlier tier compared: so it is online. The scorer's
        dollars are not counted.
        """
        flops: Floats | None = np.zeros(len(self))
        seconds = np.zeros(len(self))
        compared = None if tier.token_level else tier.signal
        for computed, share in self.scoring_shares(compared, tier.compare, len(tier.models)):
            flops = total([flops, None if computed.flops is None else computed.flops * share])
            seconds = seconds + computed.device_s * share
        return {"flops": flops, "usd": np.zeros(len(self)), "device_s": seconds, "latency_s": seconds}

    def scoring_shares(
        self, signal: str | None, view: View | None, texts: int, since: int = 0
    ) -> list[tuple[Similarities, float]]:
        """Return what was computed for a signal, and the share of it that comparing some texts of an example takes.

        The first `since` texts have been compared before.
        """
        compared = {} if signal is None else plain_signals(self.config, [signal])
        measured = self.replay.similarities[view] if compared else {}
        return [
            (measured[name], (_work(part, texts) - _work(part, since)) / max(1, _work(part, len(self.members))))
            for name, part in compared.items()
        ]


def _work(signal: SignalConfig, texts: int) -> int:
    """Return the number to which the cost of comparing texts is proportional: texts if each is encoded, else pairs."""
    return texts if signal.encodes_texts else texts * (texts - 1)


def hashed_share(id_: str, seed: int) -> float:
    """Return the number in 0..1 that an example's id hashes to, whatever other examples there are."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{id_}".encode(errors="replace")).digest()[:8]) / 2**64


def writable(threshold: float) -> float:
    """Return the threshold as a config can hold it: an infinite one as a finite one beyond every score."""
    return copysign(EVERYTHING, threshold) if isinf(threshold) else float(threshold)
