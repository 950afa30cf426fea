"""`cascade score`: how far the texts of some files agree, by the code that a server decides with."""

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from serve_app.core.deciding.agreement import agree, survivors
from serve_app.core.deciding.deferral import decide
from serve_app.core.types.answer import Generation
from serve_app.core.types.policy import Agreement, Decision, Tier
from serve_app.core.types.scores import Scores
from serve_app.core.views.view import View
from serve_app.errors import SignalError, UsageError, choices
from serve_app.files.text import read_text, text_of
from serve_app.signals import (
    CompositeScorer,
    SignalCatalogue,
    SignalConfig,
    build_signal,
    needs_weights,
)
from serve_app.signals.facts import FACTS

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores and the decision for the texts of some files; `decision` is None without a threshold."""

    tier: Tier
    compared: tuple[str, ...]
    scores: Scores
    judged: Agreement
    decision: Decision | None

    def body(self) -> dict[str, Any]:
        """Return the JSON: `{signal, matrix, output_scores, agreement, selected}`, and what other options add."""
        selected = self.judged.selected
        body: dict[str, Any] = {
            "signal": self.tier.signal,
            "matrix": [list(row) for row in self.scores.similarities],
            "output_scores": list(self.judged.output_scores),
            "agreement": self.judged.value,
            "selected": None if selected is None else self.tier.models[selected],
        }
        if self.tier.compare:
            body |= {"compared": list(self.compared)}
        if self.decision:
            body |= {"threshold": self.tier.threshold, "accepted": self.decision.accepted}
        return body


def score(
    signal: str,
    files: Sequence[str],
    *,
    config: Path | None = None,
    agreement: Literal["max", "mean"] = "max",
    direction: Literal["both", "hypothesis", "reference"] = "both",
    compare: str | None = None,
    threshold: float | None = None,
) -> Scored:
    """Compare the texts in `files` as a tier compares its members' answers; `-` is standard input.

    `signal` is a built-in one, or one that the serving config `config` defines; `compare` is a view in YAML. Raises
    `DataError` for files and `UsageError` for names that cannot be used, `SignalError` and `WeightsError` if the
    signal cannot be computed.
    """
    signals = _signals(config)
    if signal not in signals:
        raise UsageError(f"There is no signal {signal!r}. {choices(signal, signals)}")
    if signals[signal].needs_logprobs:
        raise UsageError(
            f"{signal!r} needs a model's log-probabilities, which files do not have. "
            "Signals that compare texts: cascade signals."
        )
    answers = [Generation(text, "stop", 0, 0) for text in _read(files)]
    scorer = CompositeScorer(_LocalScorer(signals.plain()), signals.composites())
    tier = Tier(tuple(files), signal, threshold or 0.0, agreement, direction, compare=_view(compare))
    alive = survivors(tier, answers)
    scores = asyncio.run(scorer.score(signal, alive.texts))
    judged = agree(alive, scores.similarities)
    return Scored(tier, alive.texts, scores, judged, None if threshold is None else decide(tier, judged))


def _view(option: str | None) -> View | None:
    if option is None:
        return None
    import yaml
    from pydantic import ValidationError

    from serve_app.config import ViewConfig
    from serve_app.config.explain import explain

    try:
        return ViewConfig.model_validate(yaml.safe_load(option)).view()
    except yaml.YAMLError:
        raise UsageError(f"--compare: {option!r} is not YAML; write '{{take: last_number}}'.") from None
    except ValidationError as error:
        raise UsageError(f"--compare: {' '.join(explain(error, ViewConfig))}") from None


def _signals(config: Path | None) -> SignalCatalogue:
    from serve_app.config.serve_file import SHIPPED, load

    return load(config or SHIPPED["quickstart"]).application.args.all_signals()


def _read(files: Sequence[str]) -> list[str]:
    if len(files) < 2:
        raise UsageError("Agreement takes at least two texts: name two files or more ('-' is standard input).")
    if list(files).count(STDIN) > 1:
        raise UsageError("Standard input can be read only once: '-' is given twice.")
    return [_text(file) for file in files]


def _text(file: str) -> str:
    """Return the text as a model would have written it: without the newline that an editor adds to a file."""
    return text_of(sys.stdin.buffer.read(), "standard input") if file == STDIN else read_text(Path(file))


class _LocalScorer:
    """Computes signals in this process, as the core's `Scorer`."""

    def __init__(self, signals: Mapping[str, SignalConfig]) -> None:
        self._signals = signals

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        config = self._signals[signal]
        facts, weights = FACTS[config.kind], None
        if not facts.installed:
            raise SignalError(f"{signal!r} is not installed: {facts.install}.")
        if needs_weights(config):
            weights = _fetch(signal, config.weights, config.sha256)
        [scores] = build_signal(config, weights).similarities([texts], [since])
        return scores


def _fetch(signal: str, sources: str | tuple[str, ...], sha256: str | None) -> Path:
    from serve_app.weights import RichProgress, fetch

    with RichProgress() as progress:
        return fetch(sources, sha256, progress=progress, name=signal)


def render(scored: Scored, console: "Console") -> None:
    """Print the result: row i, column j is the signal for hypothesis i and reference j."""
    for part in _parts(scored):
        console.print(part, markup=False, highlight=False)


def _parts(scored: Scored) -> "Iterator[RenderableType]":
    from rich.table import Table
    from rich.text import Text

    tier, judged = scored.tier, scored.judged
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(tier.signal or "", overflow="fold")
    for column in [*map(str, range(1, len(tier.models) + 1)), "output score"]:
        table.add_column(column, justify="right", no_wrap=True)
    for i, row in enumerate(scored.scores.similarities):
        table.add_row(Text(f"{i + 1} {tier.models[i]}"), *map(_number, (*row, judged.output_scores[i])))
    yield table
    yield ""
    if tier.compare:
        for number, text in enumerate(scored.compared, start=1):
            yield f"compared   {number} {text!r}"
    yield f"agreement  {_number(judged.value)} ({tier.agreement} of the output scores)"
    yield f"selected   {'none, for no file has a text' if judged.selected is None else tier.models[judged.selected]}"
    if scored.scores.truncated_pairs:
        yield f"truncated  {scored.scores.truncated_pairs} pairs were longer than the model reads"
    if scored.decision:
        verdict = "accepted" if scored.decision.accepted else "deferred"
        yield Text(f"decision   {verdict}: {_why(scored.decision)}", "green" if scored.decision.accepted else "yellow")


def _why(decision: Decision) -> str:
    if decision.agreement is None or decision.reason not in ("agreement", "disagreement"):
        return decision.reason.replace("_", " ")
    value, threshold = _number(decision.agreement), _number(decision.threshold)
    if value == threshold:
        value, threshold = repr(decision.agreement), repr(decision.threshold)
    return f"agreement {value} {'>=' if decision.accepted else '<'} threshold {threshold}"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
