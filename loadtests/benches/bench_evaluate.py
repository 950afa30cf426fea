"""How long `cascade evaluate` takes on how many records: all lexical signals, every baseline, the bootstrap.

    python -m loadtests.benches.bench_evaluate --examples 1000 10000 100000

Synthetic records of three members and a target, with answers of twelve words and their log-probabilities, are written,
then evaluated by the command itself in a process of its own. Printed are its time, its CPU time and its peak memory,
its workers' included; on a machine that has other work the CPU time is what compares.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from serve_app.evaluation.records.lines import encode_line

MODELS = {"small": 5e8, "tiny": 1e8, "odd": 3e8, "large": 3e9}
WORDS = [
    f"{a}{b}" for a in ("am", "bir", "ce", "del", "em", "fjo", "gro") for b in ("ber", "ch", "dar", "ta", "rd", "ve")
]
EVALUATE = "import sys; from serve_app.cli.main import main; sys.argv = ['cascade', *sys.argv[1:]]; main()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--words", type=int, default=12, help="of an answer")
    parser.add_argument("--signals", default="exact,bleu,rouge1,rouge2,rougeL,chrf")
    options = parser.parse_args()
    print("| examples | seconds | CPU seconds | CPU ms an example | peak memory |\n| --- | --- | --- | --- | --- |")
    for count in options.examples:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "records.jsonl"
            write(path, count, options.words)
            seconds, cpu_s, gigabytes = measure(path, options.signals)
        figures = f"{seconds:.0f} | {cpu_s:.0f} | {1000 * cpu_s / count:.1f} | {gigabytes:.2f} GB"
        print(f"| {count} | {figures} |", flush=True)


def write(path: Path, count: int, words: int) -> None:
    """Write records in which every model changes a share of the reference's words: the larger, the fewer."""
    draw = random.Random(0)
    tiers = [{"models": ["small", "tiny", "odd"], "signal": "rougeL", "threshold": 0.5}, {"models": ["large"]}]
    models = {name: {"engine": "replay", "default": "x", "parameters": size} for name, size in MODELS.items()}
    header = {
        "kind": "header",
        "format": 1,
        "created": "synthetic",
        "config": {"digest": "synthetic", "args": {"models": models, "cascades": {"default": {"tiers": tiers}}}},
        "data": {"digest": "synthetic", "examples": count, "files": ["synthetic"]},
        "prompts": {"digest": "synthetic", "texts": {}},
        "sampling": {},
        "asked": {"through": "engines", "concurrency": 1},
        "models": {name: {"engine": "replay", "cost": {"parameters": size}} for name, size in MODELS.items()},
        "versions": {},
    }
    with path.open("wb") as file:
        file.write(encode_line(header))
        for k in range(count):
            reference = draw.choices(WORDS, k=words)
            inputs, references = {"question": f"Question {k}?"}, [" ".join(reference)]
            example = {"kind": "example", "id": f"e{k}", "task": "closed_book_qa", "source": "Synthetic, 1"}
            file.write(encode_line(example | {"prompt_inputs": inputs, "references": references}))
            hard = draw.random()
            for rank, name in enumerate(MODELS):
                file.write(encode_line(answer(draw, f"e{k}", name, reference, hard * (0.9 - 0.2 * rank))))


def answer(draw: random.Random, example: str, model: str, reference: list[str], wrong: float) -> dict[str, object]:
    text_words = [draw.choice(WORDS) if draw.random() < wrong else word for word in reference]
    return {
        "kind": "answer",
        "example": example,
        "model": model,
        "text": " ".join(text_words),
        "finish_reason": "stop",
        "prompt_tokens": 20,
        "completion_tokens": len(text_words),
        "latency_s": 0.1,
        "first_token_s": 0.05,
        "logprobs": [[f" {word}", -draw.expovariate(1 / (0.05 + wrong))] for word in text_words],
    }


def measure(path: Path, signals: str) -> tuple[float, float, float]:
    """Return the command's wall-clock and CPU seconds, and the peak memory of it and its workers together, in GB."""
    command = [sys.executable, "-c", EVALUATE, "evaluate", str(path), "--signals", signals, "--json"]
    started, before = time.perf_counter(), spent()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(resident, family(process.pid))))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"cascade evaluate ended with code {process.returncode}.")
    return time.perf_counter() - started, spent() - before, peak / 1e9


def spent() -> float:
    """Return the CPU seconds of all processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def family(pid: int) -> list[int]:
    """Return the ids of a process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(member for child in children for member in family(int(child)))]


def resident(pid: int) -> int:
    """Return the resident bytes; shared pages count in every process that has them."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
