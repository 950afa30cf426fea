"""All that an evaluation works on: the records of some cascades' models, compared, scored by metrics, and priced."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from itertools import pairwise
from math import copysign, isinf
from typing import Any, Literal, TypeAlias

import numpy as np

from serve_app.config import AppConfig, CascadeConfig, TierConfig
from serve_app.core.cost import price
from serve_app.core.types import Generation, Tier
from serve_app.errors import DataError, SignalError, choices
from serve_app.evaluation.analysis.quality import qualities
from serve_app.evaluation.analysis.replay import EVERYTHING, Replay
from serve_app.evaluation.analysis.similarities import measure, plain_signals, wanted_signals
from serve_app.evaluation.records.example import canonical
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.tasks import TASKS
from serve_app.evaluation.statistics.curves import Floats, Integers
from serve_app.signals import AnySignalConfig, BleurtConfig, is_isolated

UNITS = ("flops", "usd", "device_s", "latency_s")
"""What a request costs; `latency_s` is how long it waits: for the slowest member, the scorer and perhaps the target."""
LATENCIES = "Latencies are those of collecting: of its machine, and under its --concurrency."
POOLED = "all"


@dataclass(frozen=True, slots=True)
class Options:
    """What to evaluate. None: the config's cascades, every signal that is here, each task's own metrics.

    `tiers`: those before `target` in a cascade that was never configured. `fit`: the share of examples, by a seeded
    hash of their ids, that z-scores and choices come from.
    """

    cascades: tuple[str, ...] | None = None
    tiers: tuple[tuple[str, ...], ...] | None = None
    target: str | None = None
    signals: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    fixed: str | None = None
    margin: float = 0.01
    fit: float = 1 / 3
    seed: int = 0
    resamples: int = 1000
    processes: int | None = None
    tier_signals: tuple[str, ...] | None = None
    """Signals in place of those of every cascade: one for each tier but the target."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Examples that are evaluated together: one data set, or all.

    `index`: which of the data set's examples; `quality[metric][model]`: (len(index),), the first metric is the main.
    """

    name: str
    metrics: tuple[str, ...]
    index: Integers
    quality: Mapping[str, Mapping[str, Floats]]


class Dataset:
    """The replay on the examples that every model has answered, with its costs and its groups.

    `left_out`: how many examples some model has not been asked yet.
    """

    def __init__(self, records: Records, options: Options) -> None:
        self.records = records
        self.options = options
        self.config = _with_cascades(records, options)
        self.models = _models(self.config)
        rows = records.complete(self.models)
        if not rows:
            raise DataError(f"No example was answered by every one of {', '.join(self.models)}.")
        self.left_out = len(records.examples) - len(rows)
        self.rows = rows
        tiers = [tier for cascade in self.config.cascades.values() for tier in cascade.tiers[:-1]]
        members = list(dict.fromkeys(model for tier in tiers for model in tier.models))
        if options.fixed is not None and options.fixed not in members:
            raise DataError(f"--fixed: no tier has a member {options.fixed!r}. {choices(options.fixed, members)}")
        self.signals: dict[str, AnySignalConfig] = wanted_signals(self.config, options.signals)
        named = [tier.signal for tier in tiers if tier.signal] if options.tiers is None else []
        columns = [[_text(records.answers[model].without_logprobs(row)) for row in rows] for model in members]
        texts = list(zip(*columns, strict=True))
        computed = measure(plain_signals(self.config, [*self.signals, *named]), texts, options.processes)
        self.replay = Replay(records, rows, members, computed, self.config)
        self._members = members

    @cached_property
    def _shares(self) -> Floats:
        ids = [self.records.examples[row].id for row in self.rows]
        return np.array([hashed_share(id_, self.options.seed) for id_ in ids])

    def parts(self, index: Integers, *edges: float) -> list[Integers]:
        """Disjoint parts of some examples, by the hash of their ids: positions in `index`, cut at `edges` in 0..1."""
        shares = self._shares[index]
        return [np.flatnonzero((shares >= low) & (shares < high)) for low, high in pairwise([0.0, *edges, 1.0])]

    @cached_property
    def groups(self) -> list[Group]:
        """One of each data set, and one of all where there are several."""
        names = [data_set_name(self.records.examples[row].source, self.records.examples[row].task) for row in self.rows]
        found = [self._group(name, [k for k, one in enumerate(names) if one == name]) for name in dict.fromkeys(names)]
        return [*found, _pooled(found)] if len(found) > 1 else found

    def _group(self, name: str, index: Sequence[int]) -> Group:
        examples = [self.records.examples[self.rows[k]] for k in index]
        tasks = list(dict.fromkeys(example.task for example in examples))
        metrics = self._metrics(tasks)
        columns = {model: self.replay.answers(model) for model in self.models}
        answers = {model: [column[k] for k in index] for model, column in columns.items()}
        own = self.config.all_signals()["bleurt"]
        bleurt = own if is_isolated(own) else BleurtConfig()
        quality = {
            metric: {
                model: np.array(values, dtype=np.float64)
                for model, values in qualities(metric, examples, answers, bleurt).items()
            }
            for metric in metrics
        }
        return Group(name, metrics, np.array(index, dtype=np.intp), quality)

    def _metrics(self, tasks: Sequence[str]) -> tuple[str, ...]:
        """Those asked for, else the tasks' own. A signal does not judge alone: there is a second metric beside it."""
        own = tuple(dict.fromkeys(metric for task in tasks for metric in TASKS[task].metrics))
        wanted = self.options.metrics or own
        if len(wanted) == 1 and any(wanted[0] in self.kinds(signal) for signal in self.signals):
            return (*wanted, *[metric for metric in own if metric != wanted[0]][:1])
        return wanted

    def kinds(self, signal: str) -> set[str]:
        """What a signal compares texts by, whatever it is named and however it is made up; nothing if token-level."""
        return {plain.kind for plain in plain_signals(self.config, [signal]).values()}

    def model_cost(self, model: str) -> dict[str, Floats | None]:
        """(n,) for each unit: what asking the model costs; None where that cannot be known."""
        if model not in self._priced:
            self._priced[model] = self._price(model)
        return self._priced[model]

    @cached_property
    def _priced(self) -> dict[str, dict[str, Floats | None]]:
        return {}

    def _price(self, model: str) -> dict[str, Floats | None]:
        answers, cost = [a for a in self.replay.answers(model) if a is not None], self.records.costs[model]
        costs = [price(cost, a.prompt_tokens, a.completion_tokens, a.latency_s) for a in answers]
        return {
            "flops": _column([one.flops for one in costs]),
            "usd": _column([one.usd for one in costs]),
            "device_s": _column([one.device_s for one in costs]),
            "latency_s": np.array([answer.latency_s for answer in answers]),
        }

    def tier_cost(self, tier: Tier) -> dict[str, Floats | None]:
        """(n,) for each unit: what a tier costs every request, its scorer included (shared alike by the texts)."""
        members = [self.model_cost(model) for model in tier.models]
        total = {unit: _sum([cost[unit] for cost in members]) for unit in UNITS}
        slowest = [cost["latency_s"] for cost in members if cost["latency_s"] is not None]
        total["latency_s"] = np.max(slowest, axis=0)
        if tier.token_level or tier.signal is None:
            return total
        share = len(tier.models) / len(self._members)
        for name in plain_signals(self.config, [tier.signal]):
            computed = self.replay.similarities[name]
            seconds = np.full(len(self.rows), computed.device_s * share)
            total["flops"] = _sum([total["flops"], None if computed.flops is None else computed.flops * share])
            total["device_s"] = _sum([total["device_s"], seconds])
            total["latency_s"] = _sum([total["latency_s"], seconds])
        return total

    @cached_property
    def source(self) -> dict[str, Any]:
        """What all numbers come from."""
        header = self.records.header
        return {
            "data_sha256": header.data["digest"],
            "examples": len(self.rows),
            "left_out": self.left_out,
            "files": list(header.data["files"]),
            "config_sha256": header.config["digest"],
            "prompts_sha256": header.prompts["digest"],
            "models": {model: dict(header.models[model]) for model in self.models},
            "models_sha256": _sha256({model: dict(header.models[model]) for model in self.models}),
            "asked": dict(header.asked),
            "collected": header.created,
            "versions": dict(header.versions),
            "version": metadata.version("semantic-cascade"),
            "seed": self.options.seed,
            "fit": self.options.fit,
            "resamples": self.options.resamples,
        }


def _sha256(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def data_set_name(source: str, task: str) -> str:
    """The data set that an example's `source` names, before the place in it; else its task."""
    return source.split(",", 1)[0].strip() or task


def hashed_share(id_: str, seed: int) -> float:
    """Where in 0..1 an id falls: the same whatever other examples there are."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{id_}".encode(errors="replace")).digest()[:8]) / 2**64


def _pooled(groups: Sequence[Group]) -> Group:
    """All examples, each scored by its own data set's main metric; then by its second, as far as all have one."""
    quality: dict[str, dict[str, Floats]] = {}
    for metrics in zip(*(group.metrics for group in groups), strict=False):
        columns = [group.quality[metric] for group, metric in zip(groups, metrics, strict=True)]
        name = " / ".join(dict.fromkeys(metrics))
        quality[name] = {model: np.concatenate([column[model] for column in columns]) for model in columns[0]}
    return Group(POOLED, tuple(quality), np.concatenate([group.index for group in groups]), quality)


def _with_cascades(records: Records, options: Options) -> AppConfig:
    """The records' config, with those cascades only that are evaluated."""
    config = records.config
    if options.tiers is not None or options.target is not None:
        if options.cascades is not None:
            raise DataError("--cascade is one of the config's, --members and --target make one of their own: not both.")
        return config.model_copy(update={"cascades": _ad_hoc(records, config, options)})
    wanted = options.cascades or tuple(id_ for id_, cascade in config.cascades.items() if len(cascade.tiers) > 1)
    if unknown := next((id_ for id_ in wanted if id_ not in config.cascades), None):
        raise DataError(f"The records have no cascade {unknown!r}. {choices(unknown, config.cascades)}")
    if not wanted:
        raise DataError("No cascade in the records has more than one tier, so there is nothing to decide.")
    return _with_tier_signals(
        config.model_copy(update={"cascades": {id_: config.cascades[id_] for id_ in wanted}}), options
    )


def _with_tier_signals(config: AppConfig, options: Options) -> AppConfig:
    """The cascades under other signals, if some are wanted."""
    if (signals := options.tier_signals) is None:
        return config
    if unknown := next((signal for signal in signals if signal not in config.all_signals()), None):
        raise SignalError(f"There is no signal {unknown!r}. {choices(unknown, config.all_signals())}")
    cascades = {}
    for id_, cascade in config.cascades.items():
        *members, target = cascade.tiers
        if len(signals) != len(members):
            each = f"one for each tier but the target, {len(members)} in all"
            raise DataError(f"--signal: {id_!r} needs {each}; got {', '.join(signals)}.")
        scored = [tier.model_copy(update={"signal": name}) for tier, name in zip(members, signals, strict=True)]
        cascades[id_] = cascade.model_copy(update={"tiers": [*scored, target]})
    return config.model_copy(update={"cascades": cascades})


def _ad_hoc(records: Records, config: AppConfig, options: Options) -> dict[str, CascadeConfig]:
    if options.tiers is None or options.target is None:
        raise DataError("A cascade needs both its members and a target: --members a,b --target c.")
    members = [model for tier in options.tiers for model in tier]
    if not all(options.tiers) or not members:
        raise DataError("A cascade needs a member beside its target; the records, or --members, name none.")
    for model in (*members, options.target):
        if model not in records.models:
            raise DataError(f"The records have no model {model!r}. {choices(model, records.models)}")
    if options.target in members or len(set(members)) < len(members):
        raise DataError("A model is asked once: it stands among the members and the target only once.")
    # Signal and threshold are not read: every signal is evaluated under every threshold.
    tiers = [TierConfig(models=list(tier), signal="rougeL", threshold=0.5) for tier in options.tiers]
    name = "->".join(["+".join(tier) for tier in options.tiers] + [options.target])
    return {name: CascadeConfig(tiers=[*tiers, TierConfig(models=[options.target])])}


def _models(config: AppConfig) -> list[str]:
    tiers = (tier for cascade in config.cascades.values() for tier in cascade.tiers)
    return list(dict.fromkeys(model for tier in tiers for model in tier.models))


def _text(answer: object) -> str:
    return answer.compared if isinstance(answer, Generation) else ""


def _column(values: Sequence[float | None]) -> Floats | None:
    known = [value for value in values if value is not None]
    return np.array(known) if len(known) == len(values) else None


def _sum(columns: Sequence[Floats | None]) -> Floats | None:
    known = [column for column in columns if column is not None]
    total: Floats = np.sum(known, axis=0)
    return total if len(known) == len(columns) else None


CHOOSE = 0.25


CALIBRATE = 0.75
"""Where the parts are cut: a quarter, a half, a quarter."""


def writable(threshold: float) -> float:
    """As a config can hold it."""
    return copysign(EVERYTHING, threshold) if isinf(threshold) else float(threshold)


Unit: TypeAlias = Literal["flops", "usd", "device_s", "latency_s"]
