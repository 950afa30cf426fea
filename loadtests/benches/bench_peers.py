"""Our router and our decisions beside those of other projects, each in an environment of its own, in one run.

    make bench-peers        (or: python -m loadtests.benches.bench_peers --part quality --outputs ../shared/outputs)

Throughput: one replayed OpenAI backend; before it our router with a single model, our router with a cascade of two
members whose answers agree (so that the backend is asked twice), and litellm's proxy; plain and streamed, one request
at a time and 16 at once, all in turn, round by round. CPU is that of the server's processes, backend and client apart.

Quality: `loadtests/peers/quality.py` says what is compared. Imported records have neither log-probabilities nor a
self-verification, so ucci-router and automix-llm work on our agreement in their place: they are compared as rules over
the same confidence, not as whole methods. A peer that cannot be installed is skipped, with the reason.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from rich.console import Console

from loadtests.peers import quality, throughput
from serve_app.errors import CascadeError
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.records.file import Records

RECORDED = Path(__file__).parents[2] / "docs" / "recorded"
LEXICAL = ("exact", "bleu", "rouge1", "rouge2", "rougeL", "chrf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("throughput", "quality"), help="default: both")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--requests", type=int, default=50, help="one at a time in a round; four times as many at 16")
    parser.add_argument("--outputs", type=Path, default=Path("../shared/outputs"), help="recorded answers to import")
    parser.add_argument("--embedded", type=int, default=1000, help="examples of each half that SBERT encodes, at most")
    parser.add_argument("--sets", nargs="+", help="of docs/recorded/studies.yaml; default: all with a cascade")
    options = parser.parse_args()
    console = Console(width=150)
    with TemporaryDirectory() as folder:
        if options.part != "quality":
            table, skipped = throughput.measure(Path(folder), options.rounds, options.requests)
            console.print(table, *skipped, sep="\n")
        if options.part != "throughput":
            _quality(options, Path(folder), console)


def _quality(options: argparse.Namespace, folder: Path, console: Console) -> None:
    outputs, sets = options.outputs, options.sets
    if not outputs.is_dir():
        console.print(f"Quality is skipped: there is no folder {outputs}; name one with --outputs.")
        return
    sys.path.insert(0, str(RECORDED))
    import results

    models = yaml.safe_load((RECORDED / "models.yaml").read_text(encoding="utf-8"))
    for study in results.studies():
        if not study.cascades or (sets and study.id not in sets):
            continue
        importing, _ = results.commands(study, outputs, folder)
        (folder / f"{study.id}.yaml").write_text(yaml.safe_dump(study.config(models), sort_keys=False))
        results.cascade(*importing)
        metrics = None if study.compare is not None else (study.metric,)
        chosen = Options(cascades=("c1",), signals=LEXICAL, metrics=metrics, fit=0.5, resamples=100)
        try:
            comparisons: list[quality.Comparison] = []
            dataset = load_dataset(Records.load(folder / f"{study.id}.jsonl"), chosen)
            for comparison in quality.compare(study.id, dataset, options.embedded):
                if isinstance(comparison, str):
                    console.print(comparison)
                else:
                    comparisons.append(comparison)
            console.print(quality.table(comparisons))
        except CascadeError as error:
            console.print(f"{study.id} is skipped: {error}")


if __name__ == "__main__":
    main()
