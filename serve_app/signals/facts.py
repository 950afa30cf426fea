"""Facts for choosing a signal, one row for each name, for `cascade signals` and the documentation."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Facts:
    """One kind of signal. `needs` are modules that must be importable, `install` is what to do if they are not."""

    measures: str
    range: str
    symmetric: Literal["yes", "no", "as its parts", "n/a"]
    cost: str
    choose: str
    needs: tuple[str, ...] = ()
    install: str = "pip install semantic-cascade"

    @property
    def installed(self) -> bool:
        """Return whether all modules it needs can be imported here."""
        return all(find_spec(module) is not None for module in self.needs)

    @property
    def status(self) -> str:
        """Return `yes`, or `no` and how to install it."""
        return "yes" if self.installed else f"no: {self.install}"


_CHOW = "none"

FACTS: dict[str, Facts] = {
    "exact": Facts(
        "equality, but for case, spacing and punctuation around it",
        "0 or 1",
        "yes",
        "microseconds",
        "names, numbers, labels",
    ),
    "bleu": Facts(
        "shared runs of 1 to 4 words, and length (sacreBLEU)",
        "0 to 1",
        "no",
        "under 1 ms",
        "translations, and to compare with published numbers",
        ("sacrebleu",),
    ),
    "rouge1": Facts("shared words, F1", "0 to 1", "yes", "under 1 ms", "answers of a few words, in any order"),
    "rouge2": Facts(
        "shared pairs of words, F1",
        "0 to 1",
        "yes",
        "under 1 ms",
        "summaries; 0 for one-word answers, even equal ones",
    ),
    "rougeL": Facts(
        "longest common subsequence of words, F1",
        "0 to 1",
        "yes",
        "under 1 ms",
        "longer answers, where no encoder may run",
        ("rapidfuzz",),
    ),
    "chrf": Facts(
        "shared runs of 1 to 6 characters, F-score (sacreBLEU)",
        "0 to 1",
        "no",
        "about 1 ms",
        "languages that inflect, scripts without spaces, translations",
    ),
    "json": Facts(
        "share of equal leaves of two JSON values",
        "0 to 1",
        "yes",
        "under 1 ms",
        "structured answers and tool calls",
    ),
    "sbert": Facts(
        "cosine of sentence embeddings",
        "-1 to 1",
        "yes",
        "a small encoder, once an answer",
        "open answers, the first choice: paraphrases count as agreement",
        ("sentence_transformers", "torch"),
        "pip install 'semantic-cascade[sbert]'",
    ),
    "sbert_mbert": Facts(
        "the same, by mean-pooled multilingual BERT: the paper's own choice",
        "-1 to 1",
        "yes",
        "an encoder of 178M parameters, once an answer",
        "several languages, and to compare with the paper",
        ("sentence_transformers", "torch"),
        "pip install 'semantic-cascade[sbert]'",
    ),
    "bleurt": Facts(
        "human ratings of likeness, as a trained regression (BERT) predicts them",
        "about 0 to 1",
        "no",
        "a larger encoder, once an ordered pair",
        "translations and summaries, with a GPU to spare",
        ("bleurt_pytorch",),
        "make bleurt-env, then use .venv-bleurt/bin/python",
    ),
    "mix": Facts(
        "weighted mean of other signals, each normalised by its range",
        "0 to 1",
        "as its parts",
        "as its parts",
        "answers that no signal alone judges well; written in a config",
    ),
    "by_length": Facts(
        "what the signal chosen by the longest answer's length measures",
        "as its parts",
        "as its parts",
        "as the chosen part",
        "short and long answers mixed; written in a config",
    ),
    "veto": Facts(
        "another signal's value, but a floor for contradictions",
        "as its part",
        "as its parts",
        "as its part",
        "answers that differ in a number, a name or a not; written in a config",
    ),
    "blend": Facts(
        "agreement and token confidence combined, by weights or a fitted regression",
        "any; 0 to 1 if fitted",
        "as its parts",
        "as its parts",
        "local models that give log-probabilities; written in a config",
    ),
    "chow_sum": Facts(
        "log-probability of one whole answer",
        "up to 0",
        "n/a",
        _CHOW,
        "tiers of one member, short answers",
    ),
    "chow_avg": Facts(
        "mean log-probability of one answer's tokens",
        "up to 0",
        "n/a",
        _CHOW,
        "tiers of one member, or of several with fitted z-scores",
    ),
    "chow_quantile": Facts(
        "a quantile of one answer's log-probabilities, by default the lowest",
        "up to 0",
        "n/a",
        _CHOW,
        "answers that one unsure word makes wrong; tiers as for chow_avg",
    ),
}
"""Costs are for three answers of 60 words on a CPU; `make bench-signals` measures them."""

_HEADER = ("signal", "what it measures", "range", "symmetric", "cost", "when to choose it")
_WIDE = 170  # characters


def markdown() -> str:
    """Return the table in Markdown."""
    rows = [_HEADER, ("---",) * len(_HEADER), *_rows(mark="`")]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def table(width: int) -> "Table":
    """Return the table for a terminal: a line for each signal if `width` characters suffice, else a paragraph."""
    from rich.table import Table
    from rich.text import Text

    wide = width >= _WIDE
    result = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=wide, header_style="bold")
    for name in (*_HEADER, "installed") if wide else ("", ""):
        result.add_column(name)
    for (kind, *row), facts in zip(_rows(), FACTS.values(), strict=True):
        cells = [*row, facts.status]
        if not wide:
            measures, range_, symmetric, cost, choose, status = cells
            details = f"range: {range_}; symmetric: {symmetric}; cost: {cost}; installed: {status}"
            cells = [f"{measures}\nfor {choose}\n{details}\n"]
        result.add_row(Text(kind, "bold"), *map(Text, cells))
    return result


def _rows(mark: str = "") -> Iterator[tuple[str, ...]]:
    for kind, facts in FACTS.items():
        yield f"{mark}{kind}{mark}", facts.measures, facts.range, facts.symmetric, facts.cost, facts.choose
