"""A response and its decision record on the terminal. Imports rich late, since a command must start fast."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from serve_app.core.record import AnswerRecord, CallRecord, DecisionRecord, TierDecision, TierRecord, Timings
from serve_app.core.record_json import from_json
from serve_app.core.text.characters import whole
from serve_app.terminal.table import left_out

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

Body: TypeAlias = dict[str, Any]
"""A JSON body of a request or a response."""


def render(body: Body, console: "Console") -> None:
    """Show a response on the terminal: the answer, then how it was decided."""
    from rich.text import Text

    record = from_json(body["cascade"])
    choice = body["choices"][0]
    text = clean(_written(choice["message"])).strip("\n")
    answer = Text(text, "bold") if text.strip() else Text("(an empty answer)", "dim")
    # Into a pipe, so that code keeps the model's own lines.
    console.print(answer, soft_wrap=not console.is_terminal)
    if choice["finish_reason"] == "length":
        console.print(Text("(cut off at the limit of tokens)", "dim"))
    if reasoning := choice["message"].get("reasoning_content"):
        console.print(_line(f"(thought before: {reasoning})", "dim"), no_wrap=True, overflow="ellipsis")
    console.print()
    if record.cached is None:
        _print_models(record, console)
        console.print()
    for table in _matrices(record.tiers, console.width):
        console.print(table)
        console.print()
    for line in _verdicts(record):
        console.print(line)
    console.print(_facts(record, body["usage"]))


def _matrices(tiers: Sequence[TierRecord], width: int) -> "Iterator[Table | Text]":
    from rich.text import Text

    for number, tier in enumerate(tiers, 1):
        if tier.decision and tier.decision.similarities:
            title = f"similarities of tier {number}" if _several(tiers) else "similarities"
            longest = max(len(_number(value)) for row in tier.decision.similarities for value in row)
            columns = len(tier.models) + (len(tier.models) > 2)
            fits = LEAST_NUMBERED + columns * (longest + 2) <= width
            yield _similarities(tier.models, tier.decision, title) if fits else Text(left_out([title]), "dim")


def _written(message: Body) -> str:
    """Return an answer's text, then its tool calls, one per line."""
    calls = [call["function"] for call in message.get("tool_calls") or []]
    return "\n".join([*filter(None, [message["content"]]), *map(_call, calls)])


def _call(function: Body) -> str:
    return _signature(function["name"], function["arguments"])


def _signature(name: str, arguments: str) -> str:
    return f"{name}({arguments})"


LEAST_NUMBERED = 8
"""Characters for a number and the beginning of a model's name, before its similarities."""
LEAST_ANSWER = 12
"""Characters of an answer that are shown at least, before columns of numbers."""
HEADER = ("tier", "  model", "answer", "in", "out", "seconds", "status")
OPTIONAL = (4, 3, 5, 6, 0)
"""Columns that a narrow terminal leaves out, the first of them first."""


def _print_models(record: DecisionRecord, console: "Console") -> None:
    """Print a table of every model that was called, with a `*` before the one that answered."""
    from rich.table import Table
    from rich.text import Text

    rows = list(_model_rows(record))
    widths = [max(len(row[column]) for row in [HEADER, *rows]) for column in range(len(HEADER))]
    widths[1] = min(widths[1], console.width // 2)
    shown = _columns_shown([*widths[:2], min(widths[2], LEAST_ANSWER), *widths[3:]], console.width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in shown:
        is_text = column in (1, 2)
        table.add_column(
            HEADER[column],
            justify="right" if column in (0, 3, 4, 5) else "left",
            no_wrap=not is_text,
            min_width=widths[1] if column == 1 else None,
        )
    for row in rows:
        table.add_row(*(row[column] for column in shown))
    console.print(table)
    if missing := [name for column, name in enumerate(HEADER) if column not in shown]:
        console.print(Text(left_out(missing), "dim"))


def _columns_shown(widths: Sequence[int], width: int) -> list[int]:
    """Return the columns that fit into a width, with two spaces behind each."""
    shown = list(range(len(widths)))
    for column in OPTIONAL:
        if sum(widths[index] + 2 for index in shown) <= width:
            break
        shown.remove(column)
    return shown


def _model_rows(record: DecisionRecord) -> "Iterator[tuple[str | Text, ...]]":
    for number, tier in enumerate(record.tiers, 1):
        for index, (model, text) in enumerate(zip(tier.models, _texts(tier), strict=True)):
            tier_number = str(number) if index == 0 else ""
            call = record.models.get(model, NOT_ASKED)
            yield tier_number, *_model_row(model, call, text, model == record.answered_by)


STYLES = {"ok": "green", "not asked": "dim"}
NOT_ASKED = CallRecord("not asked")
"""Status of a model whose tier was settled, or lost, by the answers of earlier tiers."""


def _model_row(model: str, call: CallRecord, text: str | None, answered: bool) -> "tuple[str | Text, ...]":
    from rich.text import Text

    failed = call.status not in ("ok", NOT_ASKED.status)
    status = "truncated" if call.finish_reason == "length" else call.status.replace("_", " ")
    about = "~" if call.estimated else ""
    return (
        _line(f"{'*' if answered else ' '} {model}", "bold" if answered else ""),
        Text(clean(call.message or ""), "red") if failed else _shortened(text),
        f"{about}{call.prompt_tokens}",
        f"{about}{call.completion_tokens}",
        f"{call.latency_s:.2f}",
        Text(status, "red" if failed else STYLES.get(status, "yellow")),
    )


def _texts(tier: TierRecord) -> list[str | None]:
    """Return what each model of a tier wrote or called, None for a failure and in a record without answers."""
    if tier.answers is None:
        return [None] * len(tier.models)
    return [None if answer is None else _text(answer) for answer in tier.answers]


def _text(answer: AnswerRecord) -> str:
    if not answer.tool_calls:
        return answer.text
    calls = [_signature(call.name, call.arguments) for call in answer.tool_calls]
    return " ".join([*filter(None, [answer.text]), *calls])


def _shortened(answer: str | None) -> "Text":
    return _line("(empty)", "dim") if answer is not None and not answer.strip() else _line(answer or "", "")


def _line(text: str, style: str) -> "Text":
    """Return text on one line, cut to its column's width. (Rich narrows only columns that it believes can wrap.)"""
    from rich.text import Text

    indent = text[: len(text) - len(text.lstrip(" "))]
    return Text(indent + " ".join(clean(text).split()), style, no_wrap=True, overflow="ellipsis")


def _similarities(models: Sequence[str], decision: TierDecision, title: str) -> "Table":
    """Return the matrix: row i, column j is the signal for hypothesis i and reference j.

    Output scores are shown only if they differ from the similarities, so for more than two models.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    has_scores = len(models) > 2
    columns = [str(number) for number in range(1, len(models) + 1)]
    table.add_column(f"{title} ({decision.signal})")
    for name in [*columns, "score"] if has_scores else columns:
        table.add_column(name, justify="right", no_wrap=True)
    for i, (model, row) in enumerate(zip(models, decision.similarities or (), strict=True)):
        values = [*row, decision.output_scores[i]] if has_scores else row
        table.add_row(_line(f"{i + 1} {model}", ""), *(_number(value) for value in values))
    return table


def _number(value: float | None, digits: int = 2) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"


def _verdicts(record: DecisionRecord) -> "Iterator[Text]":
    """Yield a line for each tier that had something to decide, and one if a cache answered or the target failed."""
    from rich.text import Text

    tiers = record.tiers
    if (skipped := record.skipped) is not None:
        share = "n/a" if skipped.share is None else f"{skipped.share:.0%}"
        past = f"{share} of {skipped.neighbours} past requests like it were deferred"
        asked_model = next((name for tier in tiers for name in tier.models), record.answered_by)
        yield Text(f"{past}, so {asked_model} alone was asked", "green")
    elif _alone(record):
        yield Text(f"{record.answered_by} was asked alone, so there was nothing to decide")
    for number, tier in enumerate(tiers, 1):
        if tier.decision is None:
            continue
        if tier.decision.accepted:
            result, style = f"accepted, {tier.decision.selected} answered", "green"
        else:
            following = f" to {' + '.join(tiers[number].models)}" if number < len(tiers) else ""
            result, style = f"deferred{following}", "yellow"
        prefix = f"tier {number}: " if _several(tiers) else ""
        yield Text(f"{prefix}{_why(tier.decision)}: {result}", style)
        if tier.scorer_error:
            yield Text(clean(tier.scorer_error), "red")
    if (shed := record.shed) is not None:
        effect = "any answer of the members was accepted" if shed.by == "members" else "a lower threshold decided"
        yield Text(f"{shed.pressure:.0%} of the target's queue was taken, so {effect}", "yellow")
    if record.cached:
        source = "shared with an equal request" if record.cached.shared else f"cached {record.cached.age_s:.0f} s ago"
        yield Text(f"{source}, so no model was asked", "green")
    if record.replaced:
        model = record.replaced.model
        cause = "was not asked, for the budget" if record.replaced.kind == "unaffordable" else "failed"
        yield Text(f"{model} {cause}, so the best member answer stands in, by {record.answered_by}", "red")


def _alone(record: DecisionRecord) -> bool:
    """Return whether one model was asked and nothing was to be decided."""
    return not record.tiers or record.tiers[0].decision is None


def _several(tiers: Sequence[TierRecord]) -> bool:
    """Return whether more than one tier decided something, so that a line must name its tier."""
    return sum(tier.decision is not None for tier in tiers) > 1


REASONS = {
    "too_few_answers": "too few answers to compare",
    "refused": "a model cannot do what the request asks for",
    "nothing_to_return": "no answer that could be returned",
    "scorer_failed": "scoring failed",
    "forced": "forced",
}


def _why(decision: TierDecision) -> str:
    compared = _comparison(decision)
    if decision.reason in ("agreement", "disagreement", "confident", "unsure"):
        return f"{compared} ({decision.signal})"
    details = f"{decision.signal}, {compared}" if decision.agreement is not None else decision.signal
    return f"{REASONS.get(decision.reason, decision.reason.replace('_', ' '))} ({details})"


def _comparison(decision: TierDecision) -> str:
    """Return `agreement 0.73 < threshold 0.80`, with as many digits as the two need to differ."""
    value, threshold = decision.agreement, decision.threshold
    bound = ""
    if decision.agreement_bounds is not None:
        lowest, highest = decision.agreement_bounds
        value, bound = (lowest, "at least ") if decision.accepted else (highest, "at most ")
    name = "confidence" if decision.reason in ("confident", "unsure") else "agreement"
    if value is None or threshold is None:
        return f"no {name} to compare with threshold {_number(threshold)}"
    digits = next((d for d in range(2, 5) if round(threshold, d) == threshold), 4)
    while digits < 9 and value != threshold and round(value, digits) == round(threshold, digits):
        digits += 1
    sign = ">=" if value >= threshold else "<"
    return f"{name} {bound}{_number(value, digits)} {sign} threshold {_number(threshold, digits)}"


def _facts(record: DecisionRecord, usage: Body) -> "Table":
    """Return a table of tokens, cost and time."""
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    tokens = f"{usage['total_tokens']} ({usage['prompt_tokens']} in, {usage['completion_tokens']} out)"
    for name, fact in [("tokens", tokens), *_costs(record), ("time", _times(record.timings))]:
        facts.add_row(Text(name, "dim"), Text(fact))
    return facts


def _costs(record: DecisionRecord) -> Iterator[tuple[str, str]]:
    cost = record.cost
    alone = None if _alone(record) else cost.target_only
    about = "about " if cost.estimated else ""
    if cost.flops is None:
        yield "cost", "FLOPs unknown: the config does not give every model's parameters"
    else:
        share = "" if alone is None else _share(cost.flops, alone.flops, _flops, alone.estimated)
        yield "cost", f"{about}{_flops(cost.flops)} FLOPs{share}"
    if cost.usd or (alone and alone.usd):
        share = "" if alone is None else _share(cost.usd, alone.usd, _usd, alone.estimated)
        yield "", f"{about}{_usd(cost.usd)}{share}"


def _times(timings: Timings) -> str:
    parts = [f"tiers: {', '.join(map(_seconds, timings.tiers))}"] if len(timings.tiers) > 1 else []
    if timings.scoring:
        parts.append(f"scoring: {_seconds(timings.scoring)}")
    return _seconds(timings.total or 0.0) + (f" ({'; '.join(parts)})" if parts else "")


def _share(
    amount: float | None, by_target: float | None, format_number: Callable[[float], str], estimated: bool
) -> str:
    if amount is None or not by_target:
        return ""
    share = amount / by_target
    percent = "<1%" if 0 < share < 0.01 else f"{share:.0%}"
    return f", {percent} of the target alone ({format_number(by_target)}{', estimated' if estimated else ''})"


def _flops(value: float) -> str:
    return f"{value:.2e}".replace("e+", "e")


def _usd(value: float | None) -> str:
    """Format with at least two significant digits, never in powers of ten."""
    if value is None:
        return "US dollars unknown"
    digits = next((d for d in range(2, 12) if round(value, d) and value * 10 ** (d - 1) >= 1), 2)
    return f"${value:.{digits}f}"


def _seconds(value: float) -> str:
    return "<0.01 s" if 0 < value < 0.01 else f"{value:.2f} s" if value < 1 else f"{value:.1f} s"


def clean(text: str) -> str:
    """Remove control characters, so that a model's text cannot control the terminal, and halves of surrogate pairs."""
    return "".join(sign for sign in whole(text) if sign in "\n\t" or unicodedata.category(sign) != "Cc")
