"""BLEURT in batches against one pair at a time: the row of `make bench-signals` that needs an environment of its own.

    .venv-bleurt/bin/python loadtests/benches/bench_bleurt.py            (make bleurt-env makes the environment)
    .venv-bleurt/bin/python loadtests/benches/bench_bleurt.py --json     for machines: a list of rows

The model has the size of BLEURT-20-D3 (30M parameters) and random weights: speed does not depend on their values. Its
vocabulary is trained on the text that is compared, this repository's licence. The reference is the plain way that
bleurt-pytorch's README shows: tokenise a pair, run it, for every ordered pair of different texts. Both arms run in the
same process with the same number of threads, in turn, and the fastest round of each counts.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import torch

from serve_app.signals import BleurtConfig, build_signal

TEXT = Path(__file__).parents[2] / "LICENSE"
REQUESTS = 32
TOLERANCE = 1e-5


def make_d3(folder: Path) -> None:
    """Make a D3: 3 layers of 640, embeddings of 128, 120,300 pieces (Pu et al., 2021; the config of D12)."""
    import sentencepiece
    from bleurt_pytorch import BleurtConfig as ModelConfig
    from bleurt_pytorch import BleurtForSequenceClassification
    from bleurt_pytorch.bleurt.tokenization_bleurt_sp import BleurtSPTokenizer

    sentencepiece.SentencePieceTrainer.train(
        input=str(TEXT),
        model_prefix=str(folder / "trained"),
        vocab_size=3000,
        hard_vocab_limit=False,
        pad_id=0,
        pad_piece="[PAD]",
        unk_id=1,
        unk_piece="[UNK]",
        bos_id=2,
        bos_piece="[CLS]",
        eos_id=3,
        eos_piece="[SEP]",
        control_symbols=["[MASK]"],
        minloglevel=2,
    )
    BleurtSPTokenizer(str(folder / "trained.model"), do_lower_case=False).save_pretrained(folder)
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=120_300,
        embedding_size=128,
        hidden_size=640,
        num_hidden_layers=3,
        num_attention_heads=10,
        intermediate_size=2560,
    )
    BleurtForSequenceClassification(config).save_pretrained(folder)


def requests(texts: int, words: int) -> list[list[str]]:
    """Return passages of real text, from random places."""
    rng, source = random.Random(0), TEXT.read_text(encoding="utf-8").split()

    def passage() -> str:
        start = rng.randrange(len(source) - words)
        return " ".join(source[start : start + words])

    return [[passage() for _ in range(texts)] for _ in range(REQUESTS)]


def plain_way(folder: Path) -> Callable[[list[list[str]]], list[list[float]]]:
    from bleurt_pytorch import BleurtForSequenceClassification, BleurtTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    tokenizer = BleurtTokenizer.from_pretrained(str(folder))
    model = BleurtForSequenceClassification.from_pretrained(str(folder)).eval()

    def value(candidate: str, reference: str) -> float:
        with torch.no_grad():
            inputs = tokenizer(
                [reference],
                [candidate],
                padding="longest",
                truncation="longest_first",
                max_length=512,
                return_tensors="pt",
            )
            return float(model(**inputs).logits)

    return lambda batch: [[value(a, b) for a, b in permutations(texts, 2)] for texts in batch]


def ours(folder: Path) -> Callable[[list[list[str]]], list[list[float]]]:
    signal = build_signal(BleurtConfig(device="cpu"), folder)

    def values(batch: list[list[str]]) -> list[list[float]]:
        matrices = [scores.similarities for scores in signal.similarities(batch)]
        return [[matrix[i][j] for i, j in permutations(range(len(matrix)), 2)] for matrix in matrices]

    return values


def measure(texts: int, words: int, rounds: int, arms: dict[str, Any]) -> dict[str, Any]:
    """Return the seconds per request of both arms, and their ratio. Their values must be equal."""
    batch = requests(texts, words)
    best: dict[str, float] = {}
    values: dict[str, list[float]] = {}
    for _ in range(rounds + 1):  # the first to warm up
        for name, arm in arms.items():
            started = time.perf_counter()
            rows = arm(batch)
            best[name] = min(best.get(name, float("inf")), time.perf_counter() - started)
            values[name] = [value for row in rows for value in row]
    difference = max(abs(a - b) for a, b in zip(values["ours"], values["reference"], strict=True))
    if difference > TOLERANCE:
        raise SystemExit(f"The values differ by {difference:g}.")
    return {
        "signal": "bleurt",
        "texts": texts,
        "words": words,
        "requests": REQUESTS,
        "reference_s": best["reference"] / REQUESTS,
        "ours_s": best["ours"] / REQUESTS,
        "ratio": best["reference"] / best["ours"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, nargs="+", default=[3])
    parser.add_argument("--words", type=int, nargs="+", default=[10, 60])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="CPU threads of both arms; by default torch's own choice.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_d3(folder)
        arms = {"reference": plain_way(folder), "ours": ours(folder)}
        rows = [measure(n, words, options.rounds, arms) for n in options.texts for words in options.words]
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(
            f"bleurt, {row['texts']} texts of {row['words']} words, {REQUESTS} requests: "
            f"{1000 * row['reference_s']:.1f} ms a request one pair at a time, {1000 * row['ours_s']:.1f} ms ours, "
            f"ratio {row['ratio']:.2f}"
        )


if __name__ == "__main__":
    main()
