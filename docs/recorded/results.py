"""Evaluate cascades over recorded answers of real models, and write their tables into docs/results.md.

    python docs/recorded/results.py --outputs ../shared/outputs --folder recorded-results

`studies.yaml` names the cascades, `models.yaml` has sizes and prices. Each study is two commands that a user can run as
well: `cascade import` and `cascade evaluate --json`; this script writes the config for them, and reads the JSON.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

import yaml
from cells import number, percent, short, signed
from ladders import section as ladders_section
from rich.progress import track

from serve_app.config.serve_file import SHIPPED
from serve_app.core.cost import price
from serve_app.evaluation.records.file import Records

HERE = Path(__file__).parent
PAGE = HERE.parent / "results.md"
BEGIN, END = "<!-- recorded: begin -->\n", "<!-- recorded: end -->\n"
SHARES = ("0.1", "0.2", "0.4", "0.6")
WHOLE = "-whole"
"""Ends the id of a cascade that compares whole answers, beside the one that compares final answers."""
WHOLE_SIGNALS = "exact,bleu,rouge1,rouge2,rougeL,chrfpp"
"""Signals of whole reasoning answers: of most of them the encoder would read the first 256 tokens alone."""
VETO = ["numbers", "negation", "names", "choice"]
Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """One set of recorded answers. `compare`: the part to compare and grade, or None for whole texts."""

    id: str
    title: str
    description: str
    sources: list[str]
    metric: str
    cascades: list[str]
    compare: Json | None = None
    plot: bool = False
    ladders: Mapping[str, list[str]] | None = None
    """The `members` to try in ladders, larger ones first, and the `targets` behind them."""

    def config(self, models: Mapping[str, Json]) -> Json:
        """Return the serving config of the study's cascades."""
        cascades: Json = {}
        for k, text in enumerate(self.cascades, 1):
            members, target = parsed(text)
            tier = {"models": members, "signal": "rougeL", "threshold": 0.5}
            last = {"models": [target]}
            if self.compare is None:
                cascades[f"c{k}"] = {"tiers": [tier, last]}
            else:
                cascades[f"c{k}"] = {"tiers": [tier | {"compare": self.compare}, last]}
                cascades[f"c{k}{WHOLE}"] = {"tiers": [tier, last]}
        return self._with(cascades, models)

    def ladders_config(self, models: Mapping[str, Json]) -> Json:
        """Return the serving config of a cascade for each target, with all members that are tried in ladders."""
        assert self.ladders is not None
        view = {} if self.compare is None else {"compare": self.compare}
        tier = {"models": self.ladders["members"], "signal": "exact", "threshold": 0.5, **view}
        targets = enumerate(self.ladders["targets"], 1)
        return self._with({f"l{number}": {"tiers": [tier, {"models": [name]}]} for number, name in targets}, models)

    def _with(self, cascades: Json, models: Mapping[str, Json]) -> Json:
        args: Json = {
            "models": {name: {"engine": "replay", **facts} for name, facts in models.items()},
            "signals": {
                "chrfpp": {"kind": "chrf", "word_order": 2},
                "sbert": encoder(),
                "sbert_veto": {"kind": "veto", "signal": "sbert", "by": VETO},
                "rougeL_veto": {"kind": "veto", "signal": "rougeL", "by": VETO},
            },
            "cascades": cascades,
        }
        if self.compare is not None:
            args["metrics"] = {"final": {"metric": self.metric, "compare": self.compare, "tasks": ["custom"]}}
        return {"applications": [{"name": "cascade", "import_path": "serve_app.app:build_app", "args": args}]}


def encoder() -> Json:
    """Return the quickstart's SBERT."""
    body = yaml.safe_load(SHIPPED["quickstart"].read_text(encoding="utf-8"))
    signal: Json = body["applications"][0]["args"]["signals"]["sbert"]
    return signal


def parsed(cascade: str) -> tuple[list[str], str]:
    """Return the members and the target of "a + b -> c"."""
    members, target = cascade.split(" -> ")
    return members.split(" + "), target


def studies() -> list[Study]:
    """Return all studies, in the order of the file."""
    body = yaml.safe_load((HERE / "studies.yaml").read_text(encoding="utf-8"))
    return [Study(id_, **fields) for id_, fields in body.items()]


def cascade(*arguments: str) -> str:
    """Run the command line interface and return what it prints; end if it fails."""
    command = [sys.executable, "-m", "serve_app.cli", *arguments]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        sys.exit(f"`{shlex.join(['cascade', *arguments])}` failed.")
    return process.stdout


def unanimity(study: Study, folder: Path) -> list[str]:
    """Return the arguments of the command that evaluates final answers that are all equal; nothing is fitted."""
    names = ",".join(f"c{number}" for number in range(1, len(study.cascades) + 1))
    records = str(folder / f"{study.id}.jsonl")
    return ["evaluate", records, "--cascade", names, "--signals", "exact", "--fit-share", "0.05", "--json"]


def commands(study: Study, outputs: Path, folder: Path) -> tuple[list[str], list[list[str]]]:
    """Return the arguments of the study's commands: to import, and to evaluate."""
    config, records = str(folder / f"{study.id}.yaml"), str(folder / f"{study.id}.jsonl")
    sources = [str(path) for pattern in study.sources for path in sorted(outputs.glob(pattern))]
    if not sources:
        sys.exit(f"{outputs} has none of {', '.join(study.sources)}; name the folder with --outputs.")
    importing = ["import", *sources, "-o", records, "--config", config, "--force"]
    if not study.cascades:
        importing = ["import", *sources, "-o", records, "--models", os.path.relpath(HERE / "models.yaml"), "--force"]
    numbers = range(1, len(study.cascades) + 1)
    if study.compare is None:
        return importing, [["evaluate", records, "--metric", study.metric, "--fit-share", "0.5", "--json"]]
    final = ["--cascade", ",".join(f"c{number}" for number in numbers)]
    whole = ["--cascade", ",".join(f"c{number}{WHOLE}" for number in numbers), "--signals", WHOLE_SIGNALS]
    return importing, [["evaluate", records, *part, "--fit-share", "0.5", "--json"] for part in (final, whole)]


def evaluated(study: Study, outputs: Path, folder: Path) -> list[Json]:
    """Run a study and return the results of its cascades, those of whole answers after the others."""
    importing, evaluating = commands(study, outputs, folder)
    models = yaml.safe_load((HERE / "models.yaml").read_text(encoding="utf-8"))
    config = yaml.safe_dump(study.config(models), sort_keys=False)
    (folder / f"{study.id}.yaml").write_text(config, encoding="utf-8")
    cascade(*importing)
    results: list[Json] = []
    for command in evaluating:
        [group] = json.loads(cascade(*command))["groups"]
        results += group["cascades"]
    (folder / f"{study.id}.json").write_text(json.dumps(results), encoding="utf-8")
    return results


def best(result: Json) -> Json:
    """Return the row with the largest area on the fit half, among those that select an answer by agreement."""
    rows = [row for row in result["rows"] if row["kind"] == "semantic"]
    return max(rows, key=lambda row: row["fit_auc"])


def unit_of(row: Json) -> str:
    """Return the unit of the figures: FLOPs if they are known."""
    return "flops" if "flops" in row["at"] else "usd"


def label(row: Json) -> str:
    """Return a row's signal, and its policy if it is not the usual one."""
    return f"`{row['signal']}`" + (" (mean)" if row["agreement"] == "mean" else "")


def name_of(result: Json) -> str:
    """Return a cascade as its members and target."""
    return f"{' + '.join(map(short, result['tiers'][0]))} → {short(result['target'])}"


def main_table(study: Study, results: Sequence[Json]) -> Iterator[str]:
    """Yield a row for each cascade: what it costs at the target's quality less a point, and what budgets buy."""
    budgets = " | ".join(f"at {percent(float(share))}" for share in SHARES)
    columns = f"members → target | compared | signal | AUC over random | {budgets} | target"
    yield f"| {columns} | within a point: cost, deferred, quality | agreed and wrong |"
    yield "| --- " * (7 + len(SHARES)) + "|"
    for result in results:
        row = best(result)
        unit = unit_of(row)
        bought = [row["at"][unit]["bought"][share] for share in SHARES]
        cells = [
            name_of(result) + (" ($)" if unit == "usd" else ""),
            "whole" if result["id"].endswith(WHOLE) or study.compare is None else "final",
            label(row),
            signed(row["over_random"]),
            *(number(None if purchase is None else purchase["quality"]) for purchase in bought),
            number(result["models"][result["target"]]["quality"][result["metric"]]),
            within(row),
            agreed_and_wrong(row),
        ]
        yield f"| {' | '.join(cells)} |"


def within(row: Json) -> str:
    """Return what the cheapest threshold within a point of the target does on the test half."""
    cheapest = row["cheapest"]
    if cheapest is None:
        return "-"
    if cheapest["verdict"] == "target alone":
        return "none: the target alone is cheaper"
    shown = ", shown" if cheapest["verdict"] == "holds" else ""
    return f"{percent(cheapest['cost'])}, {percent(cheapest['rate'])}, {number(cheapest['quality'])}{shown}"


def agreed_and_wrong(row: Json) -> str:
    """Return the share of accepted answers worse than the target's if a fifth is deferred, with its interval."""
    worse = row["accepted"]["0.2"]["worse"]
    return "-" if worse is None else "{} [{}, {}]".format(*map(number, worse))


def signals_table(results: Sequence[Json]) -> Iterator[str]:
    """Yield a row for each signal, with its area over random deferral in every cascade."""
    signals = dict.fromkeys(row["signal"] for result in results for row in result["rows"] if is_plain(row))
    names = [result["id"] for result in results]
    yield f"| signal | {' | '.join(names)} |"
    yield "| --- " * (1 + len(names)) + "|"
    for signal in signals:
        rows = [next((r for r in result["rows"] if is_plain(r) and r["signal"] == signal), None) for result in results]
        yield f"| `{signal}` | {' | '.join('-' if row is None else signed(row['over_random']) for row in rows)} |"


def is_plain(row: Json) -> bool:
    """Return whether a row is a signal under the usual policy: the maximum of the output scores."""
    return bool(row["kind"] == "semantic" and row["agreement"] == "max")


def unanimous_table(results: Sequence[Json]) -> Iterator[str]:
    """Yield a row for each cascade that accepts only if all members' final answers are equal."""
    yield "| members → target | deferred | quality | target | share of the target's quality | cost |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for result in results:
        [row] = [row for row in result["rows"] if row["kind"] == "semantic" and row["agreement"] == "mean"]
        unit, curve = unit_of(row), row["curve"]
        target = result["models"][result["target"]]["quality"][result["metric"]]
        # The last point defers all; the one before it accepts only the highest score, which is 1 if all are equal.
        rate, quality, cost = curve["rate"][-2], curve["quality"][-2], curve[unit][-2]
        cells = [
            name_of(result) + (" ($)" if unit == "usd" else ""),
            percent(rate),
            number(quality),
            number(target),
            f"{100 * quality / target:.1f}%",
            percent(cost),
        ]
        yield f"| {' | '.join(cells)} |"


def plot(study: Study, results: Sequence[Json], path: Path) -> None:
    """Draw quality against cost, as a share of the target's, for every cascade's best row by the fit half."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    shown = [result for result in results if not result["id"].endswith(WHOLE)] if len(results) > 4 else results
    for result in shown:
        row = best(result)
        unit = unit_of(row)
        quality = result["models"][result["target"]]["quality"][result["metric"]]
        points = [(x, y / quality) for x, y in zip(row["curve"][unit], row["curve"]["quality"], strict=True)]
        axes.plot(*zip(*points, strict=True), label=f"{name_of(result)}, {row['signal']}")
    axes.axhline(1, color="gray", linestyle=":", label="the target's quality")
    axes.set(xlabel="cost, as a share of always asking the target", ylabel="quality, as a share of the target's")
    axes.set_title(study.title)
    axes.legend(fontsize="x-small", loc="lower right")
    figure.savefig(path, dpi=100)


def alone(study: Study, outputs: Path, folder: Path) -> Iterator[str]:
    """Yield the lines of a study without a cascade: each model by itself, at its list price."""
    importing, _ = commands(study, outputs, folder)
    cascade(*importing)
    records = Records.load(folder / f"{study.id}.jsonl")
    yield f"### {study.title}"
    yield ""
    yield f"{study.description[0].upper()}{study.description[1:]}."
    yield ""
    yield "| model | mean score | $ for 1,000 requests |"
    yield "| --- | --- | --- |"
    for model in records.models:
        scores = [value for value in records.scores(study.metric, model) if value is not None]
        answers = [answer for answer in records.answers[model] if answer is not None]
        spent = [
            price(records.costs[model], answer.prompt_tokens, answer.completion_tokens, 0.0).usd for answer in answers
        ]
        costs = [usd for usd in spent if usd is not None]
        yield f"| {short(model)} | {number(fmean(scores))} | {1000 * fmean(costs) if costs else nan:.3f} |"
    yield ""
    sources = [str(outputs / pattern) for pattern in study.sources]
    yield "```bash"
    yield " ".join(["cascade import", *sources, *importing[importing.index("-o") :]])
    yield "```"
    yield ""


def section(study: Study, results: Sequence[Json], outputs: Path, folder: Path) -> Iterator[str]:
    """Yield the lines of one study: what it is, its tables, its commands and signatures."""
    yield f"### {study.title}"
    yield ""
    yield f"{study.description[0].upper()}{study.description[1:]}."
    yield ""
    yield from main_table(study, results)
    yield ""
    if study.compare is not None:
        [group] = json.loads(cascade(*unanimity(study, folder)))["groups"]
        yield f"Accepted only if all final answers are equal, which takes no fitting, on {group['test']} examples:"
        yield ""
        yield from unanimous_table(group["cascades"])
        yield ""
    if study.ladders is not None:
        models = yaml.safe_load((HERE / "models.yaml").read_text(encoding="utf-8"))
        config = folder / f"{study.id}-ladders.yaml"
        config.write_text(yaml.safe_dump(study.ladders_config(models), sort_keys=False), encoding="utf-8")
        yield from ladders_section(folder / f"{study.id}.jsonl", config, **study.ladders)
    if study.plot:
        yield f"![Quality against cost: {study.title}](recorded/{study.id}.png)"
        yield ""
    yield "AUC over random deferral of every signal (c1 is the first row of the first table, and so on):"
    yield ""
    yield from signals_table(results)
    yield ""
    importing, evaluating = commands(study, outputs, folder)
    sources = [str(outputs / pattern) for pattern in study.sources]
    yield "```bash"
    yield " ".join(["cascade import", *sources, *importing[importing.index("-o") :]])
    if study.compare is not None:
        evaluating = [*evaluating, unanimity(study, folder)]
    yield from (" ".join(["cascade", *command]) for command in evaluating)
    yield "```"
    yield ""
    yield f"Signature of the first row: `{best(results[0])['signature']}`."
    yield ""


def main() -> None:
    """Run every study and write its section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outputs", type=Path, default=Path("../shared/outputs"), help="Folder of recorded answers.")
    parser.add_argument("--folder", type=Path, default=Path("recorded-results"), help="Folder for records and JSON.")
    parser.add_argument("--only", nargs="*", help="Ids of studies to run; the page is not written then.")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    chosen = [study for study in studies() if not options.only or study.id in options.only]
    lines: list[str] = []
    for study in track(chosen, "evaluating"):
        if study.cascades:
            results = evaluated(study, options.outputs, options.folder)
            if study.plot:
                plot(study, results, HERE / f"{study.id}.png")
            lines += section(study, results, options.outputs, options.folder)
        else:
            lines += alone(study, options.outputs, options.folder)
    if options.only:
        print("\n".join(lines))
        return
    page = PAGE.read_text(encoding="utf-8")
    before, remainder = page.split(BEGIN)
    after = remainder.split(END)[1]
    PAGE.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
