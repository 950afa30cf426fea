"""Records as past requests: embedded by the encoder of a cascade's `skip`, and decided by the core."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serve_app.core.deciding.skip import SkipPolicy, asked_text
from serve_app.core.types.outcome import Precheck
from serve_app.errors import DataError
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.statistics.curves import Floats, Integers
from serve_app.signals import SbertSignal, build_signal, needs_weights
from serve_app.skipping.fitted import PROBE, Fitted
from serve_app.skipping.identity import identity
from serve_app.skipping.lookup import Lookup, Neighbours
from serve_app.skipping.prechecker import vector_of
from serve_app.weights import RichProgress, fetch


@dataclass(frozen=True, slots=True, eq=False)
class PastRequests:
    """The n examples of a data set as past requests of one cascade.

    `index`, (m,): which of the n examples have a text to look up; `nearest`: the neighbours of these among the others;
    `lookup`: the m of `fitted` in memory; `flops`, (n,), and `embedding_s`, the mean for an example: what a look-up
    costs here.
    """

    index: Integers
    nearest: Sequence[Neighbours]
    fitted: Fitted
    lookup: Lookup
    flops: Floats
    embedding_s: float

    def prechecks(self, policy: SkipPolicy, thresholds: Sequence[float]) -> list[Precheck]:
        """Return the precheck of each of the n examples by the others; no example is its own neighbour.

        `policy.k` is that of `nearest`.
        """
        prechecks = [Precheck(None)] * len(self.flops)
        for k, neighbours in zip(self.index.tolist(), self.nearest, strict=True):
            prechecks[k] = self.lookup.check(policy, neighbours, thresholds)
        return prechecks


def past_requests(dataset: Dataset, cascade: str) -> PastRequests:
    """Embed the prompts of all examples, and score the answers to them by the tiers of a cascade that has `skip`.

    Raises `SignalError` and `WeightsError` if the encoder cannot be used, DataError if no prompt has a text.
    """
    config = dataset.config
    skip, policy = config.cascades[cascade].skip, config.cascades[cascade].skip_policy()
    assert skip is not None
    assert policy is not None
    tiers = config.tiers(cascade, config.thresholds()[cascade])
    texts = [asked_text(prompt) for prompt in dataset.replay.prompts()]
    index = np.array([k for k, text in enumerate(texts) if text is not None], dtype=np.intp)
    if not len(index):
        raise DataError("No example has a prompt whose text could be embedded.")
    encoder = _encoder(dataset, skip.encoder)
    started = time.process_time()
    embedded = encoder.embed([text for text in texts if text is not None] + [PROBE])
    embedding_s = (time.process_time() - started) / len(embedded)
    vectors = np.stack([vector_of(embedding) for embedding in embedded])
    flops = np.zeros(len(dataset))
    flops[index] = [embedding.flops for embedding in embedded[:-1]]
    scores = [
        dataset.replay.score(tier, config.confidence_of(tier.signal), index).scores[index]
        for tier in tiers[:-1]
        if tier.signal is not None
    ]
    fitted = Fitted(identity(config, cascade), vectors[:-1].astype(np.float16), np.stack(scores, axis=1), vectors[-1])
    lookup = Lookup(fitted)
    nearest = lookup.nearest(vectors[:-1], policy.k, np.arange(len(index)))
    return PastRequests(index, nearest, fitted, lookup, flops, embedding_s)


def _encoder(dataset: Dataset, name: str) -> SbertSignal:
    config = dataset.config.all_signals()[name]
    assert needs_weights(config)
    with RichProgress() as progress:
        weights = fetch(config.weights, config.sha256, progress=progress, name=name)
    signal = build_signal(config, weights)
    assert isinstance(signal, SbertSignal)
    return signal


def with_verdict(prechecks: Sequence[Precheck], verdict: str) -> npt.NDArray[np.bool_]:
    """Return which prechecks have a verdict."""
    return np.array([precheck.verdict == verdict for precheck in prechecks])
