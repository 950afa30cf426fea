"""Writes this folder's configs: a file for each distinct cascade (members -> target) that the paper's two texts name.

The data are those of tables 1 to 4 and 7 to 27 (table 1's rows are in others, too), of appendix C and of the figures.
Run it by `make paper-configs`; `tests/configs/test_paper.py` holds the rows against the published tables.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from textwrap import wrap

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Model:
    """`share` of the ensemble's GPU, and bytes of KV cache there; seq2seq where the engine is not vllm."""

    weights: str
    parameters: str
    share: float = 1
    kv_cache: int = 0
    engine: str = "vllm"


@dataclass(frozen=True)
class Target:
    """GPUs of the target: how many, and gigabytes of each; accelerator types where the nodes must differ."""

    model: str
    gpus: int = 1
    gigabytes: int = 24
    accelerator: str | None = None
    suffix: str = ""


@dataclass(frozen=True)
class Row:
    """One row of a table (or curve of a figure): a token-level one has a quantile, a semantic one its best signal."""

    source: str
    data: str
    members: tuple[str, ...]
    target: str
    signal: str = ""
    quantile: float = 0
    select: str = ""


# Tables 2 to 4. Of members in one tier the one named first wins ties: the stronger ones come first, as in table 6.
MODELS = {
    "Llama-3.1-70B": Model("meta-llama/Llama-3.1-70B-Instruct", "70.6e9"),
    "Llama-3.1-8B": Model("meta-llama/Llama-3.1-8B-Instruct", "8.03e9"),
    "Qwen2.5-7B": Model("Qwen/Qwen2.5-7B-Instruct", "7.62e9"),
    "Llama-3.2-3B": Model("meta-llama/Llama-3.2-3B-Instruct", "3.21e9", 0.3, 4_000_000_000),
    "Qwen2.5-3B": Model("Qwen/Qwen2.5-3B-Instruct", "3.09e9", 0.3, 4_000_000_000),
    "Qwen2.5-1.5B": Model("Qwen/Qwen2.5-1.5B-Instruct", "1.54e9", 0.25, 1_500_000_000),
    "Gemma3-1B": Model("google/gemma-3-1b-it", "1.00e9", 0.2, 1_000_000_000),
    "Llama-3.2-1B": Model("meta-llama/Llama-3.2-1B-Instruct", "1.24e9", 0.2, 1_000_000_000),
    "mT0 Large": Model("bigscience/mt0-large", "1.23e9", 0.2, engine="seq2seq"),
    "FLAN-T5 Large": Model("google/flan-t5-large", "783e6", 0.2, engine="seq2seq"),
    "Qwen2.5-0.5B": Model("Qwen/Qwen2.5-0.5B-Instruct", "494e6", 0.15, 1_000_000_000),
}
TARGETS = (
    Target("Llama-3.1-8B"),
    Target("Qwen2.5-7B"),
    Target("Llama-3.1-70B", 4, 80, suffix="-tp4"),
    Target("Llama-3.1-70B", 8, 40, "A100-40G", "-tp8"),
)
BLEURT_SHARE = 0.15
RULES = {"chow_sum": -5.0, "chow_avg": -0.5, "chow_quantile": -1.0}
"""Token-level signals, and a first threshold for one model; for several, which have z-scores, it is 0."""
MIDDLE, MBERT_MIDDLE = 0.5, 0.9
"""First thresholds of semantic signals; cosines of mean-pooled BERT are all high."""

# source; data set; target; then `members: quantile` (token-level) or `members: best signal`, row by row.
TABLES = """
table 7; wmt19_de_fr; Llama-3.1-8B; Qwen2.5-3B: 0.2; Qwen2.5-1.5B: 0.3; Qwen2.5-0.5B: 0.4; Llama-3.2-3B: 0.4; \
Llama-3.2-1B: 0.2; mT0 Large: 0.4; FLAN-T5 Large: 0.2; Gemma3-1B: 0.3
table 8; wmt19_de_fr; Llama-3.1-8B; Gemma3-1B, Qwen2.5-1.5B: 0.2; Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B: 0.2; \
Gemma3-1B, Qwen2.5-1.5B, mT0 Large: 0.2; Gemma3-1B, Qwen2.5-1.5B, FLAN-T5 Large: 0.1; \
Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large: 0.2
table 9; wmt19_de_fr; Llama-3.1-8B; Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B: bleurt; \
Gemma3-1B, Qwen2.5-1.5B, mT0 Large: bleurt; Gemma3-1B, Qwen2.5-1.5B, FLAN-T5 Large: bleurt; \
Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large: bleurt; Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large: bleurt; \
Gemma3-1B, Qwen2.5-1.5B, mT0 Large, FLAN-T5 Large: bleurt
table 10; wmt14_fr_en; Qwen2.5-7B; Qwen2.5-3B: 0.9; Qwen2.5-1.5B: 0.1; Qwen2.5-0.5B: 0.2; Llama-3.2-3B: 0.5; \
Llama-3.2-1B: 1.0; mT0 Large: 0.1; FLAN-T5 Large: 0.1; Gemma3-1B: 0.5
table 11; wmt14_fr_en; Qwen2.5-7B; Gemma3-1B, Qwen2.5-1.5B: 0.7; Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B: 0.0; \
Gemma3-1B, Qwen2.5-1.5B, mT0 Large: 0.2; Gemma3-1B, Qwen2.5-1.5B, FLAN-T5 Large: 0.2; \
Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large: 0.0
table 12; wmt14_fr_en; Qwen2.5-7B; Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B: bleurt; \
Gemma3-1B, Qwen2.5-1.5B, mT0 Large: bleurt; Gemma3-1B, Qwen2.5-1.5B, FLAN-T5 Large: bleurt; \
Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large: bleurt; Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large: bleurt; \
Gemma3-1B, Qwen2.5-1.5B, mT0 Large, FLAN-T5 Large: bleurt
table 13; wmt14_en_fr; Llama-3.1-8B; Qwen2.5-3B: 0.2; Qwen2.5-1.5B: 0.2; Qwen2.5-0.5B: 0.3; Llama-3.2-3B: 0.4; \
Llama-3.2-1B: 0.5; mT0 Large: 0.4; FLAN-T5 Large: 0.3; Gemma3-1B: 0.1
table 14; wmt14_en_fr; Llama-3.1-8B; Gemma3-1B, Qwen2.5-1.5B: 0.1; Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B: 0.1; \
Gemma3-1B, Qwen2.5-1.5B, mT0 Large: 0.2; Gemma3-1B, Qwen2.5-1.5B, FLAN-T5 Large: 0.1; \
Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large: 0.1
table 15; wmt14_en_fr; Llama-3.1-8B; Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B: bleurt; \
Gemma3-1B, Qwen2.5-1.5B, mT0 Large: bleurt; Gemma3-1B, Qwen2.5-1.5B, FLAN-T5 Large: bleurt; \
Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large: bleurt; Gemma3-1B, Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large: bleurt; \
Gemma3-1B, Qwen2.5-1.5B, mT0 Large, FLAN-T5 Large: bleurt
table 16; cnn_dailymail; Llama-3.1-8B; Qwen2.5-3B: 0.3; Qwen2.5-1.5B: 0.6; Qwen2.5-0.5B: 0.6; Llama-3.2-3B: 0.4; \
Llama-3.2-1B: 0.1; mT0 Large: 0.2; Gemma3-1B: 0.8
table 17; cnn_dailymail; Llama-3.1-8B; Llama-3.2-1B, mT0 Large: 0.1; Llama-3.2-1B, Qwen2.5-1.5B: 0.5; \
Qwen2.5-1.5B, Gemma3-1B: 0.8; Llama-3.2-1B, mT0 Large, Qwen2.5-1.5B: 0.2
table 18; cnn_dailymail; Llama-3.1-8B; Llama-3.2-1B, mT0 Large, Qwen2.5-1.5B: rouge2; \
Llama-3.2-1B, mT0 Large, Qwen2.5-0.5B: rouge1; Qwen2.5-1.5B, Qwen2.5-0.5B, Gemma3-1B: rouge2
table 19; xlsum; Llama-3.1-8B; Qwen2.5-3B: 0.0; Qwen2.5-1.5B: 0.4; Qwen2.5-0.5B: 0.4; Llama-3.2-3B: 0.0; \
Llama-3.2-1B: 0.0; Gemma3-1B: 0.6
table 20; xlsum; Llama-3.1-8B; Llama-3.2-1B, Qwen2.5-1.5B: 0.0; Llama-3.2-1B, Qwen2.5-1.5B, Gemma3-1B: 1.0; \
Llama-3.2-1B, Qwen2.5-0.5B, Gemma3-1B: 0.1
table 21; xlsum; Llama-3.1-8B; Llama-3.2-1B, Qwen2.5-1.5B, Gemma3-1B: rouge2; \
Llama-3.2-1B, Qwen2.5-0.5B, Gemma3-1B: rouge2; Qwen2.5-1.5B, Qwen2.5-0.5B, Gemma3-1B: sbert_mbert
table 22; squad; Qwen2.5-7B; Qwen2.5-3B: 0.1; Qwen2.5-1.5B: 0.0; Qwen2.5-0.5B: 0.2; Llama-3.2-3B: 0.1; \
Llama-3.2-1B: 0.3; mT0 Large: 0.1; FLAN-T5 Large: 0.0; Gemma3-1B: 0.0
table 23; squad; Qwen2.5-7B; mT0 Large, Qwen2.5-1.5B: 0.0; mT0 Large, Qwen2.5-1.5B, FLAN-T5 Large: 0.0; \
Qwen2.5-1.5B, FLAN-T5 Large, Gemma3-1B: 0.0
table 24; squad; Qwen2.5-7B; mT0 Large, Qwen2.5-1.5B, FLAN-T5 Large: sbert_mbert; \
mT0 Large, Qwen2.5-1.5B, FLAN-T5 Large, Llama-3.2-1B: rougeL; Qwen2.5-1.5B, FLAN-T5 Large, Gemma3-1B: rougeL; \
Qwen2.5-1.5B, FLAN-T5 Large, Llama-3.2-1B: sbert_mbert
table 25; triviaqa; Llama-3.1-8B; Qwen2.5-3B: 0.1; Qwen2.5-1.5B: 0.1; Llama-3.2-3B: 0.1; Llama-3.2-1B: 0.1; \
mT0 Large: 0.2; FLAN-T5 Large: 0.0; Gemma3-1B: 0.1
table 26; triviaqa; Llama-3.1-8B; Qwen2.5-1.5B, Llama-3.2-1B: 0.1; Llama-3.2-1B, Gemma3-1B: 0.0; \
Qwen2.5-1.5B, Llama-3.2-1B, Gemma3-1B: 0.1; Qwen2.5-1.5B, Llama-3.2-1B, FLAN-T5 Large: 0.0; \
Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large: 0.0
table 27; triviaqa; Llama-3.1-8B; Qwen2.5-1.5B, Llama-3.2-1B, Gemma3-1B: rougeL; \
Qwen2.5-1.5B, Llama-3.2-1B, FLAN-T5 Large: rougeL; Qwen2.5-1.5B, Llama-3.2-1B, mT0 Large: rougeL; \
Llama-3.2-1B, Gemma3-1B, FLAN-T5 Large: rouge1; Qwen2.5-1.5B, Llama-3.2-1B, Gemma3-1B, FLAN-T5 Large: rouge1
"""
# What only figures show. They name no quantile: here it is that of the same model and data in a table, or else 0.
FIGURES = """
figure 2b; wmt19_de_fr; Qwen2.5-7B; Gemma3-1B, Qwen2.5-1.5B, FLAN-T5 Large: bleurt; Qwen2.5-3B: 0.2
figure 4b; squad; Qwen2.5-7B; Gemma3-1B, Qwen2.5-1.5B, mT0 Large: bleurt
appendix C; wmt19_de_fr; Qwen2.5-7B; Qwen2.5-1.5B, Qwen2.5-0.5B: bleurt; Qwen2.5-1.5B: 0.3
appendix C; wmt14_fr_en; Qwen2.5-7B; Qwen2.5-1.5B, Qwen2.5-0.5B: bleurt
appendix C; wmt14_en_fr; Qwen2.5-7B; Qwen2.5-1.5B, Qwen2.5-0.5B: bleurt; Qwen2.5-1.5B: 0.2
conference figure 3a; wmt19_de_fr; Llama-3.1-70B; Qwen2.5-1.5B, Gemma3-1B, FLAN-T5 Large: bleurt; \
Qwen2.5-1.5B: 0.3; Gemma3-1B: 0.3; FLAN-T5 Large: 0.2; Qwen2.5-3B: 0.2
conference figure 3b; squad; Llama-3.1-70B; Llama-3.2-3B, Qwen2.5-3B, FLAN-T5 Large: sbert_mbert; Llama-3.1-8B: 0.0
"""


def rows() -> Iterator[Row]:
    """Every row, the members in the order of `MODELS`."""
    for line in [*TABLES.strip().splitlines(), *FIGURES.strip().splitlines()]:
        source, data, target, *entries = line.split("; ")
        for entry in entries:
            names, value = entry.split(": ")
            row = Row(source, data, tuple(sorted(names.split(", "), key=list(MODELS).index)), target)
            row = replace(row, quantile=float(value)) if value[0].isdigit() else replace(row, signal=value)
            fixed = source == "appendix C" and bool(row.signal)
            yield replace(row, select="Qwen2.5-1.5B") if fixed else row


def files() -> dict[str, str]:
    """Every file's text by its name. The 70B target has eight GPUs in a second file, where there is an ensemble."""
    made = {}
    for (target, members), group in groupby(sorted(rows(), key=_pair), _pair):
        kept = list(group)
        for form in (form for form in TARGETS if form.model == target):
            if form.accelerator is None or len(members) > 1:
                made[f"{'_'.join(map(_id, members))}_to_{_id(target)}{form.suffix}.yaml"] = _text(kept, form)
    return made


def _pair(row: Row) -> tuple[str, tuple[str, ...]]:
    return row.target, row.members


def _id(name: str) -> str:
    return name.lower().replace(" ", "-").replace("gemma3", "gemma-3")


def _text(kept: list[Row], target: Target) -> str:
    members = kept[0].members
    gigabytes = 48 if len(members) > 1 and "Qwen2.5-3B" in members else 24
    beside = {24: "L4", 48: "L40S"}[gigabytes] if target.accelerator else None
    semantic = any(row.signal for row in kept)
    lines = [*_header(kept, target, gigabytes), "      models:"]
    for name in members:
        lines += _model(name, MODELS[name].share if len(members) > 1 else 1, 1, beside)
    lines += _model(target.model, 1, target.gpus, target.accelerator)
    if signals := [*(_scorers(beside) if semantic else ()), *_token_signals(kept)]:
        lines += ["      signals:", *signals]
    lines += ["      metrics:  # of table 6", *_metrics(kept)]
    lines += ["      cascades:", *(line for row in kept for line in _cascades(row))]
    if semantic:
        lines.append("      scorer: {deployment: {ray_actor_options: {num_cpus: 2}, max_ongoing_requests: 256}}")
    return "\n".join(lines) + "\n"


def _header(kept: list[Row], target: Target, gigabytes: int) -> Iterator[str]:
    ensemble = len(kept[0].members) > 1
    sources = list(dict.fromkeys(row.source.removeprefix("table ") for row in kept))
    tables = sum(source.isdigit() for source in sources)
    where = ("tables " if tables > 1 else "table " if tables else "") + ", ".join(sources)
    over = f", tensor parallel over {target.gpus} GPUs" if target.gpus > 1 else ""
    yield from _comment(f"The paper's cascade {' + '.join(kept[0].members)} -> {target.model}{over} ({where}).")
    one = f"1 GPU of {gigabytes} GB or more for the {'ensemble' if ensemble else 'member'}"
    nodes = "on nodes of the types below" if target.accelerator else "on one machine"
    start = "serve deploy this file to the cluster" if target.accelerator else "cascade serve this file"
    yield from _comment(
        f"Needs {one} and {target.gpus} of {target.gigabytes} GB for the target, {nodes}; HF_TOKEN for gated weights. "
        f"Start it: pip install -e '.[vllm,seq2seq,sbert]', then {start}. Checked, but not run on GPUs."
    )
    yield from _comment(
        "The paper gives no thresholds: these are first guesses, to be calibrated on your data (see the README)."
    )
    if ensemble:
        yield from _comment(
            "vLLM models that start at once on one GPU take each other's memory for their own (vllm#55827), so their "
            "KV caches have a fixed size."
        )
    yield from _comment("Written by generate.py (make paper-configs): change it there.")
    if not target.accelerator:
        yield "http_options: {host: 127.0.0.1, port: 8000}"
    yield "logging_config: {enable_access_log: false}"
    yield "applications:"
    yield "  - name: cascade"
    yield "    route_prefix: /"
    yield "    import_path: serve_app.app:build_app"
    yield "    args:"


def _comment(text: str, indent: str = "") -> list[str]:
    return wrap(text, 120, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False)


T5_LARGE_ENCODER = "308e6"
"""24 layers of 4 x 1024 x 1024 (attention) and 3 x 1024 x 2816 (feed-forward): the same in FLAN-T5 and mT0 Large."""


def _model(name: str, share: float, gpus: int, accelerator: str | None) -> Iterator[str]:
    model, devices = MODELS[name], share * gpus
    yield f"        {_id(name)}:"
    yield f"          engine: {model.engine}"
    yield f'          weights: "hf://{model.weights}"'
    yield f"          parameters: {model.parameters}"
    yield f"          devices: {devices:g}"
    if model.engine == "seq2seq":
        yield f"          encoder_parameters: {T5_LARGE_ENCODER}"
        yield from ("          device: cuda", "          dtype: bfloat16", "          slots: 8")
        yield f"          deployment: {_on(share, accelerator, 'num_cpus: 1, ')}"
        return
    yield from ("          context_tokens: 4096", "          max_num_seqs: 64")
    if gpus > 1:
        yield from (f"          tensor_parallel_size: {gpus}", "          worker_strategy: STRICT_PACK")
    if share < 1:
        yield f"          gpu_memory_utilization: {share - 0.01:g}"
        yield f"          engine_kwargs: {{kv_cache_memory_bytes: {model.kv_cache}}}"
    yield f"          deployment: {_on(devices, accelerator)}"


def _on(gpus: float, accelerator: str | None, more: str = "") -> str:
    kind = f", accelerator_type: {accelerator}" if accelerator else ""
    return f"{{ray_actor_options: {{{more}num_gpus: {gpus:g}{kind}}}}}"


def _scorers(accelerator: str | None) -> Iterator[str]:
    yield "        # A request may choose any signal of the paper: bleu, rouge1, rouge2, rougeL, bleurt, sbert_mbert."
    yield '        sbert_mbert: {kind: sbert, weights: "hf://google-bert/bert-base-multilingual-cased", device: cpu}'
    yield "        bleurt:  # figure 4 compares BLEURT-20 with BLEURT-20-D12, -D6 and -D3"
    yield "          kind: bleurt"
    yield '          weights: "hf://lucadiliello/BLEURT-20"'
    yield "          device: cuda"
    placed = _on(BLEURT_SHARE, accelerator, "num_cpus: 1, ").removesuffix("}")
    yield f"          deployment: {placed}, max_ongoing_requests: 256}}"


METRICS = {
    "translation": "bleurt",
    "summarization": "rouge2",
    "reading_comprehension": "accuracy",
    "closed_book_qa": "accuracy",
}
DATA_TASKS = {
    "wmt19_de_fr": "translation",
    "wmt14_fr_en": "translation",
    "wmt14_en_fr": "translation",
    "cnn_dailymail": "summarization",
    "xlsum": "summarization",
    "squad": "reading_comprehension",
    "triviaqa": "closed_book_qa",
}


def _metrics(kept: list[Row]) -> Iterator[str]:
    """Yield the paper's metrics of the rows' data sets, each with its tasks."""
    tasks = list(dict.fromkeys(DATA_TASKS[row.data] for row in kept))
    for metric in dict.fromkeys(METRICS[task] for task in tasks):
        graded = ", ".join(task for task in tasks if METRICS[task] == metric)
        yield f"        {metric}: {{metric: {metric}, tasks: [{graded}]}}"


def _token_signals(kept: list[Row]) -> Iterator[str]:
    """Yield the rows' token-level signals that are not built in: quantiles, and those that compare models."""
    token = [row for row in kept if not row.signal]
    members = kept[0].members
    if token and len(members) > 1:
        yield from _comment(
            "Not fitted yet: mean 0 and std 1 leave raw log-probabilities, all of them below the threshold 0, so that "
            "everything is deferred. cascade calibrate --fit measures the numbers on your data.",
            " " * 8,
        )
    unfitted = ", ".join(f"{_id(name)}: {{mean: 0, std: 1}}" for name in members)
    for number, row in enumerate(token):
        for rule in RULES:
            quantile = f", q: {row.quantile:g}" if rule == "chow_quantile" else ""
            if len(members) > 1 and number == 0 and rule == "chow_sum":
                yield f"        {row.data}_{rule}:"
                yield f"          kind: {rule}"
                yield f"          zscores: &unfitted {{{unfitted}}}"
            elif len(members) > 1:
                yield f"        {row.data}_{rule}: {{kind: {rule}{quantile}, zscores: *unfitted}}"
            elif quantile:
                yield f"        {row.data}_{rule}: {{kind: {rule}{quantile}}}"


def _cascades(row: Row) -> Iterator[str]:
    if row.signal:
        yield from _cascade(row, row.data, row.signal, MBERT_MIDDLE if row.signal == "sbert_mbert" else MIDDLE)
        return
    for rule, threshold in RULES.items():
        name, several = f"{row.data}_{rule}", len(row.members) > 1
        yield from _cascade(
            row, name, name if several or rule == "chow_quantile" else rule, 0 if several else threshold
        )


def _cascade(row: Row, name: str, signal: str, threshold: float) -> Iterator[str]:
    select = f", select: {_id(row.select)}" if row.select else ""
    yield f"        {name}:  # {row.source}"
    yield "          tiers:"
    models = ", ".join(map(_id, row.members))
    yield f"            - {{models: [{models}], signal: {signal}, threshold: {threshold:g}{select}}}"
    yield f"            - {{models: [{_id(row.target)}]}}"


if __name__ == "__main__":
    for file, text in files().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
