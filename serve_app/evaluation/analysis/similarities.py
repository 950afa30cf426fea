"""Similarities of recorded answers: every signal's matrix for every example, by the signals themselves, once."""

import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import permutations
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt

from serve_app.config import AppConfig
from serve_app.core.types.scores import Matrix
from serve_app.errors import UsageError, choices
from serve_app.evaluation.metrics.bleurt_process import score_pairs
from serve_app.evaluation.statistics.curves import Floats
from serve_app.signals import (
    AnySignalConfig,
    BleurtConfig,
    SignalConfig,
    build_signal,
    is_isolated,
    needs_weights,
)

Texts = Sequence[Sequence[str]]
"""For each of n examples the m members' answers; the empty string for a failure."""

LEXICAL = ("exact", "bleu", "rouge1", "rouge2", "rougeL", "chrf")
"""Computed by default, with the signals that the config names."""
CHUNK = 500
ALONE = 2000
"""With at most this many examples a second process takes longer to start than it saves."""


@dataclass(frozen=True, slots=True, eq=False)
class Similarities:
    """One signal over n examples of m members. `matrices` is (n, m, m), `[k, i, j]` hypothesis i against reference j.

    `flops` is (n,), None if unknown; `device_s` the mean CPU seconds per example on this machine.
    """

    matrices: Floats
    flops: Floats | None
    device_s: float

    def of(self, example: int, members: Sequence[int]) -> Matrix:
        """Return the matrix of some of the members, as the decision core takes it."""
        whole = self.matrices[example].tolist()
        return tuple(tuple(whole[i][j] for j in members) for i in members)


def requested_signals(config: AppConfig, requested: Sequence[str] | None) -> dict[str, AnySignalConfig]:
    """Return the signals to evaluate: those requested, else the lexical ones, the config's and SBERT if installed.

    A veto's base comes before it, to compare with. Token-level signals are left out: they are evaluated in any case.
    Raises `UsageError` if a name is unknown.
    """
    available = config.all_signals()
    if requested is None:
        named = [tier.signal for cascade in config.cascades.values() for tier in cascade.tiers if tier.signal]
        requested = [*LEXICAL, *named, *config.signals, *(["sbert"] if _is_here(available["sbert"]) else [])]
    if unknown := next((name for name in requested if name not in available), None):
        raise UsageError(f"There is no signal {unknown!r}. {choices(unknown, available)}")
    named = [name for signal in requested for name in (available.base(signal), signal) if name is not None]
    return {name: available[name] for name in dict.fromkeys(named) if not available[name].token_level}


def _is_here(config: AnySignalConfig) -> bool:
    from importlib.util import find_spec

    from serve_app.weights import cached

    return (
        needs_weights(config)
        and find_spec("sentence_transformers") is not None
        and cached(config.weights, config.sha256) is not None
    )


def plain_signals(config: AppConfig, names: Iterable[str]) -> dict[str, SignalConfig]:
    """Return the signals to compute for these names: themselves, or the parts of those that are composites."""
    signals = config.all_signals()
    plain = signals.plain()
    return {computed: plain[computed] for name in names for computed in signals.computed_for(name)}


def measure(signals: Mapping[str, SignalConfig], texts: Texts, processes: int | None = None) -> dict[str, Similarities]:
    """Compute every signal on every example.

    Lexical signals run in several processes (default: one per CPU), the rest one by one. Raises `SignalError` and
    `WeightsError` if a signal cannot be computed.
    """
    lexical = {name: config for name, config in signals.items() if not config.needs_weights}
    computed = _lexical(lexical, texts, processes or os.cpu_count() or 1) if lexical else {}
    for name, config in signals.items():
        if is_isolated(config):
            computed[name] = _bleurt(config, texts)
        elif config.needs_weights:
            computed[name] = _joined([_compare(name, config, texts)])
    return {name: computed[name] for name in signals}


Part = tuple[Floats, Floats, float]
"""(n, m, m) matrices, (n,) FLOPs and CPU seconds."""


def _chunks(texts: Texts) -> Iterator[Texts]:
    return (texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK))


def _lexical(signals: Mapping[str, SignalConfig], texts: Texts, processes: int) -> dict[str, Similarities]:
    if processes == 1 or len(texts) <= ALONE:
        parts = [_compare_all(signals, chunk) for chunk in _chunks(texts)]
    else:
        parts = _in_processes(signals, texts, processes)
    return {name: _joined([part[name] for part in parts]) for name in signals}


def _in_processes(signals: Mapping[str, SignalConfig], texts: Texts, processes: int) -> list[dict[str, Part]]:
    # Not forked: this process may have threads by now.
    with ProcessPoolExecutor(processes, get_context("spawn"), _die_silently_on_ctrl_c) as pool:
        # The processes inherit the mask, so that Ctrl-C, which a terminal sends to all, cannot break their imports.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            futures = [pool.submit(_compare_all, dict(signals), chunk) for chunk in _chunks(texts)]
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _die_silently_on_ctrl_c() -> None:
    """Make Ctrl-C end this process without a traceback: the command itself says what there is to say."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _compare_all(signals: Mapping[str, SignalConfig], texts: Texts) -> dict[str, Part]:
    return {name: _compare(name, config, texts) for name, config in signals.items()}


def _compare(name: str, config: SignalConfig, texts: Texts) -> Part:
    weights = None
    if needs_weights(config):
        from serve_app.weights import RichProgress, fetch

        with RichProgress() as progress:
            weights = fetch(config.weights, config.sha256, progress=progress, name=name)
    signal = build_signal(config, weights)
    started = time.process_time()
    scores = signal.similarities(texts)
    elapsed = time.process_time() - started
    return (
        np.array([score.similarities for score in scores], dtype=np.float64),
        np.array([score.flops for score in scores], dtype=np.float64),
        elapsed,
    )


def _joined(parts: Sequence[Part]) -> Similarities:
    matrices, flops, seconds = zip(*parts, strict=True)
    matrix: npt.NDArray[np.float64] = np.concatenate(matrices)
    return Similarities(matrix, np.concatenate(flops), sum(seconds) / len(matrix))


def _bleurt(config: BleurtConfig, texts: Texts) -> Similarities:
    """Compute BLEURT in its own environment, each ordered pair of distinct texts once; its FLOPs are unknown."""
    values = {pair: 0.0 for row in texts for pair in permutations((text for text in row if text.strip()), 2)}
    started = time.perf_counter()
    values.update(zip(values, score_pairs(config, list(values)), strict=True))
    elapsed = time.perf_counter() - started
    matrices = [
        [
            [float(bool(a.strip())) if i == j else values.get((a, b), 0.0) for j, b in enumerate(row)]
            for i, a in enumerate(row)
        ]
        for row in texts
    ]
    return Similarities(np.array(matrices), None, elapsed / max(1, len(texts)))
