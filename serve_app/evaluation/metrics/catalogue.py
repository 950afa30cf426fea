"""The metrics that a name may mean: ours, a config's own and its signals, scores in the records, a user's function."""

from collections.abc import Collection, Iterator, Sequence

from serve_app.config import AppConfig, MetricConfig
from serve_app.config.metrics import LEARNED
from serve_app.errors import ConfigError, UsageError, choices
from serve_app.evaluation.metrics.quality import LEXICAL, PLAIN, Metric, by_function, by_pairs, by_signal
from serve_app.signals import RougeConfig, SignalConfig, is_isolated, needs_weights

METRICS = (*PLAIN, *LEXICAL, "bleurt")
"""Metrics that every config has."""
LEARNED_FUNCTIONS = {name: f"serve_app.evaluation.metrics.learned:{name}" for name in LEARNED}
STEMMED = {kind: RougeConfig(kind=kind, stemmer=True) for kind in ("rouge1", "rouge2", "rougeL")}
"""Metrics whose options differ from those of the built-in signal of their name."""


class MetricCatalogue:
    """The metrics of one config. `score_names` are the scores that the records' answers carry, taken as they are."""

    def __init__(self, config: AppConfig, score_names: Sequence[str] = ()) -> None:
        self.score_names = tuple(score_names)
        self._config = config

    def is_score(self, name: str) -> bool:
        """Return whether a metric is a score that the records' answers carry."""
        return name in self.score_names and name not in self._config.metrics

    def binary(self, name: str) -> bool:
        """Return whether a metric gives only 0 and 1; False for a recorded score, whose values are unknown."""
        return not self.is_score(name) and self.build(name).binary

    def kind(self, name: str) -> str:
        """Return what a metric computes: the kind of its signal, if it is one; the name of a recorded score."""
        return name if self.is_score(name) else self.build(name).kind

    def build(self, name: str) -> Metric:
        """Return a metric that is not a recorded score. Raises UsageError or ConfigError if the name is unknown."""
        config = self._config.metrics.get(name)
        return self._build(name, config or MetricConfig(metric=name), f"metrics.{name}.metric: " if config else "")

    def own_for(self, labels: Collection[str]) -> tuple[str, ...]:
        """Return the config's own metrics for a task or data set that one of `labels` names."""
        return tuple(name for name, metric in self._config.metrics.items() if set(labels) & set(metric.tasks))

    def _build(self, name: str, config: MetricConfig, where: str) -> Metric:
        base = LEARNED_FUNCTIONS.get(config.metric, config.metric)
        view = None if config.compare is None else config.compare.view()
        if base in PLAIN:
            return Metric(name, base, by_pairs(PLAIN[base]), view)
        if ":" in base:
            return Metric(name, base, by_function(base, config.environment, config.options), view)
        if signal := self._signal(base):
            return Metric(name, signal.kind, by_signal(signal), view)
        available = dict.fromkeys([*METRICS, *LEARNED, *self._signals(), *([] if where else [*self._config.metrics])])
        kind = ConfigError if where else UsageError
        raise kind(f"{where}There is no metric {base!r}. {choices(base, [*available, *self.score_names])}")

    def _signal(self, name: str) -> SignalConfig | None:
        """Return the signal that grades under this name, or None."""
        if name in STEMMED and name not in self._config.signals:
            return STEMMED[name]
        return dict(self._usable()).get(name)

    def _signals(self) -> list[str]:
        return [name for name, _ in self._usable()]

    def _usable(self) -> Iterator[tuple[str, SignalConfig]]:
        for name, signal in self._config.all_signals().plain().items():
            if is_isolated(signal) or not needs_weights(signal):
                yield name, signal


def metrics_for(requested: Sequence[str], labels: Collection[str]) -> tuple[str, ...]:
    """Return the metrics for a group of examples, of `squad=accuracy` or plain `f1`; the plain are for all others.

    `labels` are the names by which a request may call the group: its task and data set.
    """
    parts = [item.rpartition("=") for item in requested]
    own_metrics = tuple(metric for label, _, metric in parts if label in labels)
    return own_metrics or tuple(metric for label, _, metric in parts if not label)


def check_labels(requested: Sequence[str], labels: Collection[str]) -> None:
    """Raise UsageError if a request names a task or data set that is not in `labels`."""
    for item in requested:
        label, separator, _ = item.rpartition("=")
        if separator and label not in labels:
            raise UsageError(f"--metric {item}: no task or data set {label!r}. {choices(label, labels)}")
