"""`cascade ask`: one question to a running server, and its decision record as people read it.

Only needs httpx and rich, and imports them late: the command line must start fast.
"""

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from serve_app.errors import RequestError, ServerError, UnknownModelError

if TYPE_CHECKING:
    import httpx
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

Body: TypeAlias = dict[str, Any]

CONNECT_S = 5.0
LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")
"""Never behind a proxy, though HTTP_PROXY without NO_PROXY would send us there."""


def ask(
    url: str,
    question: str,
    *,
    model: str = "default",
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    threshold: float | None = None,
    signal: str | None = None,
    force: Literal["accept", "defer"] | None = None,
    timeout_s: float = 300,
) -> Body:
    """The response body of one chat completion, with every model's answer in its decision record.

    `url` is the server's, with or without `/v1`. What is None is left to the server. A spinner turns on stderr if that
    is a terminal. Raises `RequestError` for what the server refuses, `ServerError` where it is missing, broken or not
    ours.
    """
    base = url.rstrip("/").removesuffix("/v1")
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages.append({"role": "user", "content": question})
    options = {"threshold": threshold, "signal": signal, "force": force}
    request = {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": temperature}
    with _spinner(f"asking {model}"):
        response = _post(base, _given(request) | {"cascade": {"include_answers": True} | _given(options)}, timeout_s)
    return _body(base, response)


def _given(values: Body) -> Body:
    return {name: value for name, value in values.items() if value is not None}


def _spinner(text: str) -> AbstractContextManager[Any]:
    from rich.console import Console
    from rich.text import Text

    # Not rich's own notion of a terminal: FORCE_COLOR in a CI job is no reason to spin.
    return Console(stderr=True).status(Text(text)) if sys.stderr.isatty() else nullcontext()


def _post(base: str, request: Body, timeout_s: float) -> "httpx.Response":
    import httpx

    try:
        host = httpx.URL(base).host
        timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
        with httpx.Client(timeout=timeout, trust_env=host not in LOOPBACK) as client:
            return client.post(f"{base}/v1/chat/completions", json=request)
    except ValueError as error:  # NaN, or half of a surrogate pair
        raise RequestError(f"The request cannot be said in JSON: {error}.") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise RequestError(f"{base!r} is not the address of a server; one looks like http://127.0.0.1:8000.") from None
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        if "SSL" in str(error):
            raise ServerError(f"No secure connection to {base}: {error}.") from error
        raise ServerError(
            f"No server answers at {base}. Start one with: make serve (or cascade serve configs/quickstart.yaml), "
            "or name another with --url."
        ) from error
    except httpx.TimeoutException as error:
        raise ServerError(f"The server at {base} did not answer within {timeout_s:g} s.") from error
    except httpx.HTTPError as error:
        raise ServerError(
            f"The connection to {base} broke before there was an answer: {error}".rstrip(".") + "."
        ) from error


def _body(base: str, response: "httpx.Response") -> Body:
    """The body of a good response; else the server's own words as an error."""
    try:
        body = response.json()
    except ValueError:
        body = None
    body = body if isinstance(body, dict) else {}
    error = body.get("error")
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        if response.is_server_error:
            raise ServerError(_clean(error["message"]))
        kind = UnknownModelError if error.get("code") == "model_not_found" else RequestError
        raise kind(_clean(error["message"]), error.get("param"), error.get("code"))
    if response.is_server_error:
        raise ServerError(f"The server at {base} failed with {_said(response)}.")
    if response.is_success and body.get("choices") and isinstance(body.get("cascade"), dict):
        return body
    if response.status_code == 404 and "/-/routes" in response.text:  # Ray Serve, where no application is yet
        raise ServerError(f"The server at {base} runs, but serves no cascade there: it may still be starting.")
    raise ServerError(f"What answers at {base} is not a cascade server: it sent {_said(response)}.")


def _said(response: "httpx.Response") -> str:
    line = " ".join(_clean(response.text[:1000]).split())
    shown = f": {line[:100].rstrip('. ')}" if line and "text/plain" in response.headers.get("content-type", "") else ""
    return f"HTTP {response.status_code}{shown}"


def render(body: Body, console: "Console") -> None:
    """Show a response to people: the answer, then how it came about."""
    from rich.table import Table
    from rich.text import Text

    record = body["cascade"]
    tiers = record["tiers"]
    choice = body["choices"][0]
    text = _clean(_written(choice["message"])).strip("\n")
    answer = Text(text, "bold") if text.strip() else Text("(an empty answer)", "dim")
    # Copied out of a pipe, code should have the lines that the model gave it.
    console.print(answer, soft_wrap=not console.is_terminal)
    if choice["finish_reason"] == "length":
        console.print(Text("(cut off at the limit of tokens)", "dim"))
    console.print()
    console.print(_models(record))
    console.print()
    for number, tier in enumerate(tiers, 1):
        if tier.get("similarities"):
            console.print(_similarities(tier, f"similarities of tier {number}" if _several(tiers) else "similarities"))
            console.print()
    for line in _verdicts(record):
        console.print(line)
    facts = Table.grid(padding=(0, 2))
    for name, fact in _facts(body):
        facts.add_row(Text(name, "dim"), Text(fact))
    console.print(facts)


def _written(message: Body) -> str:
    """An answer's text, then its tool calls, one a line."""
    calls = [call["function"] for call in message.get("tool_calls") or []]
    return "\n".join([*filter(None, [message["content"]]), *map(_call, calls)])


def _call(function: Body) -> str:
    return f"{function['name']}({function['arguments']})"


def _models(record: Body) -> "Table":
    """Every model that was asked, a `*` before the one that answered."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("tier", justify="right", no_wrap=True)
    table.add_column("  model")
    table.add_column("answer")
    for name in ("in", "out", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for number, tier in enumerate(record["tiers"], 1):
        texts = _answers(tier)
        for place, (name, text) in enumerate(zip(tier["models"], texts, strict=True)):
            call = record["models"][name]
            answered = name == record["answered_by"]
            failed = call["status"] != "ok"
            status = "truncated" if call.get("finish_reason") == "length" else call["status"].replace("_", " ")
            about = "~" if call.get("estimated") else ""
            table.add_row(
                str(number) if place == 0 else "",
                _line(f"{'*' if answered else ' '} {name}", "bold" if answered else ""),
                Text(_clean(call["message"]), "red") if failed else _shortened(text),
                f"{about}{call['prompt_tokens']}",
                f"{about}{call['completion_tokens']}",
                f"{call['latency_s']:.2f}",
                Text(status, "red" if failed else "yellow" if status != "ok" else "green"),
            )
    return table


def _answers(tier: Body) -> list[str | None]:
    """What each model of a tier said or called, None where that is not known."""
    nothing = [None] * len(tier["models"])
    pairs = zip(tier.get("answers") or nothing, tier.get("tool_calls") or nothing, strict=True)
    return [" ".join([*filter(None, [text]), *map(_call, calls)]) if calls else text for text, calls in pairs]


def _shortened(answer: str | None) -> "Text":
    return _line("(empty)", "dim") if answer is not None and not answer.strip() else _line(answer or "", "")


def _line(text: str, style: str) -> "Text":
    """Text on one line, cut to the width of its column. (Rich only narrows columns that it thinks can wrap.)"""
    from rich.text import Text

    indent = text[: len(text) - len(text.lstrip(" "))]
    return Text(indent + " ".join(_clean(text).split()), style, no_wrap=True, overflow="ellipsis")


def _similarities(tier: Body, title: str) -> "Table":
    """Row i, column j: the signal for hypothesis i and reference j. Scores are shown where they differ from these."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    scored = len(tier["models"]) > 2
    columns = [str(number) for number in range(1, len(tier["models"]) + 1)]
    table.add_column(f"{title} ({tier['signal']})")
    for name in [*columns, "score"] if scored else columns:
        table.add_column(name, justify="right", no_wrap=True)
    for i, (model, row) in enumerate(zip(tier["models"], tier["similarities"], strict=True)):
        values = [*row, tier["output_scores"][i]] if scored else row
        table.add_row(_line(f"{i + 1} {model}", ""), *(_number(value) for value in values))
    return table


def _number(value: float | None, digits: int = 2) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"


def _verdicts(record: Body) -> "Iterator[Text]":
    """One line for each tier that had something to decide, and one where the target failed."""
    from rich.text import Text

    tiers = record["tiers"]
    if "reason" not in tiers[0]:
        yield Text(f"{record['answered_by']} was asked alone, so there was nothing to decide")
    for number, tier in enumerate(tiers, 1):
        if "reason" not in tier:
            continue
        if tier["accepted"]:
            result, style = f"accepted, {tier['selected']} answered", "green"
        else:
            result, style = f"deferred to {' + '.join(tiers[number]['models'])}", "yellow"
        prefix = f"tier {number}: " if _several(tiers) else ""
        yield Text(f"{prefix}{_why(tier)}: {result}", style)
        if tier.get("scorer_error"):
            yield Text(_clean(tier["scorer_error"]), "red")
    if replaced := record.get("replaced"):
        sentence = f"{replaced['model']} failed, so the best member answer stands in, by {record['answered_by']}"
        yield Text(sentence, "red")


def _several(tiers: list[Body]) -> bool:
    """Whether more than one tier had something to decide, so that lines must say which they are about."""
    return sum("reason" in tier for tier in tiers) > 1


REASONS = {
    "too_few_answers": "too few answers to compare",
    "nothing_to_return": "no answer that could be returned",
    "scorer_failed": "scoring failed",
    "forced": "forced",
}


def _why(tier: Body) -> str:
    compared = _comparison(tier)
    reason, signal = tier["reason"], tier["signal"]
    if reason in ("agreement", "disagreement", "confident", "unsure"):
        return f"{compared} ({signal})"
    details = f"{signal}, {compared}" if tier["agreement"] is not None else signal
    return f"{REASONS.get(reason, reason.replace('_', ' '))} ({details})"


def _comparison(tier: Body) -> str:
    """`agreement 0.73 < threshold 0.80`, with as many digits as the two need to differ."""
    value, threshold = tier["agreement"], tier["threshold"]
    name = "confidence" if tier["reason"] in ("confident", "unsure") else "agreement"
    if value is None:
        return f"no {name} to hold against threshold {_number(threshold)}"
    digits = next((d for d in range(2, 5) if round(threshold, d) == threshold), 4)
    while digits < 9 and value != threshold and round(value, digits) == round(threshold, digits):
        digits += 1
    sign = ">=" if value >= threshold else "<"
    return f"{name} {_number(value, digits)} {sign} threshold {_number(threshold, digits)}"


def _facts(body: Body) -> Iterator[tuple[str, str]]:
    """Tokens, cost and time."""
    record, usage = body["cascade"], body["usage"]
    cost, times = record["cost"], record["timings_s"]
    alone = cost.get("target_only", {}) if "reason" in record["tiers"][0] else {}
    yield "tokens", f"{usage['total_tokens']} ({usage['prompt_tokens']} in, {usage['completion_tokens']} out)"
    about = "about " if cost.get("estimated") else ""
    if cost["flops"] is None:
        yield "cost", "FLOPs unknown: the config does not give every model's parameters"
    else:
        yield "cost", f"{about}{_flops(cost['flops'])} FLOPs" + _against(cost["flops"], alone, "flops")
    if cost["usd"] or alone.get("usd"):
        yield "", about + _usd(cost["usd"]) + _against(cost["usd"], alone, "usd")
    parts = [f"tiers: {', '.join(map(_seconds, times['tiers']))}"] if len(times["tiers"]) > 1 else []
    if times["scoring"]:
        parts.append(f"scoring: {_seconds(times['scoring'])}")
    yield "time", _seconds(times["total"]) + (f" ({'; '.join(parts)})" if parts else "")


def _against(spent: float | None, alone: Body, unit: Literal["flops", "usd"]) -> str:
    wanted = alone.get(unit)
    if spent is None or not wanted:
        return ""
    share = spent / wanted
    percent = "<1%" if 0 < share < 0.01 else f"{share:.0%}"
    shown = _flops(wanted) if unit == "flops" else _usd(wanted)
    return f", {percent} of the target alone ({shown}{', estimated' if alone.get('estimated') else ''})"


def _flops(value: float) -> str:
    return f"{value:.2e}".replace("e+", "e")


def _usd(value: float | None) -> str:
    """Two digits that count at least, never in powers of ten."""
    if value is None:
        return "US dollars unknown"
    digits = next((d for d in range(2, 12) if round(value, d) and value * 10 ** (d - 1) >= 1), 2)
    return f"${value:.{digits}f}"


def _seconds(value: float) -> str:
    return "<0.01 s" if 0 < value < 0.01 else f"{value:.2f} s" if value < 1 else f"{value:.1f} s"


def _clean(text: str) -> str:
    """Without control characters: what a model writes must not steer the terminal."""
    return "".join(sign for sign in text if sign in "\n\t" or unicodedata.category(sign) != "Cc")
