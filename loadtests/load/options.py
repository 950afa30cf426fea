"""The options of a load test beside locust's own, and what is made of them."""

import hashlib
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from serve_app.errors import DataError
from serve_app.files.prompts import read_prompts

from . import LoadError
from .gates import read_gates
from .mix import Mix, read_weights
from .schedule import SHAPES
from .trace import Arrival, read_trace

PROMPTS = Path(__file__).parents[1] / "prompts.jsonl"
DURATION_S = 60


@dataclass(frozen=True)
class Plan:
    """What is to be sent; `trace` is empty for shapes that have a number of users."""

    mix: Mix
    trace: list[Arrival]
    timeout_s: float
    think_s: float


def add_options(parser: ArgumentParser) -> None:
    """Add our options. Each can be an environment variable, too, as locust's own can."""
    add = parser.add_argument_group("Cascade load test").add_argument
    add("--shape", choices=SHAPES, default="constant", env_var="LOAD_SHAPE", help="how the users come and go")
    add("--models", default="default", env_var="LOAD_MODELS", help="ids by weight, such as default:3,qwen-1.5b:1")
    add("--stream-share", type=float, default=0.5, env_var="LOAD_STREAM_SHARE", help="share of requests that stream")
    add("--max-tokens", type=int, default=64, env_var="LOAD_MAX_TOKENS", help="of an answer")
    add("--think-time", type=float, default=0.0, env_var="LOAD_THINK_TIME", help="seconds between a user's requests")
    add("--request-timeout", type=float, default=120.0, env_var="LOAD_TIMEOUT", help="seconds for a whole answer")
    add(
        "--prompts",
        default=str(PROMPTS),
        env_var="LOAD_PROMPTS",
        help='JSON Lines of {"prompt": ...} (.jsonl, .jsonl.gz), or a text file with a prompt a line',
    )
    add("--trace", default="", env_var="LOAD_TRACE", help="arrivals for --shape replay: a CSV file, see load/trace.py")
    add("--trace-speed", type=float, default=1.0, env_var="LOAD_TRACE_SPEED", help="2 replays twice as fast")
    add("--mix-seed", type=int, default=1, env_var="LOAD_SEED", help="of the draws of models and streaming")
    add("--log", default="load.jsonl", env_var="LOAD_LOG", help="where each request is written; see report.py")
    add("--slo", default="", env_var="LOAD_SLO", help="YAML file of gates that decide the exit code")
    add("--locust-tables", action="store_true", help="print locust's own tables at the end, too")


def read_options(options: Namespace) -> Plan:
    """Read the files that the options name. Raises `LoadError` if the run is impossible."""
    if not 0 <= options.stream_share <= 1:
        raise LoadError(f"--stream-share: must be from 0 to 1, not {options.stream_share:g}.")
    if options.think_time < 0:
        raise LoadError(f"--think-time: must be seconds from 0, not {options.think_time:g}.")
    for name in ("max_tokens", "request_timeout", "trace_speed"):
        if getattr(options, name) <= 0:
            raise LoadError(f"--{name.replace('_', '-')}: must be above 0, not {getattr(options, name):g}.")
    if bool(options.trace) != (options.shape == "replay"):
        raise LoadError("--shape replay and --trace go together: give both, or neither.")
    if options.slo:
        read_gates(Path(options.slo))
    mix = Mix(
        _prompts(options.prompts),
        read_weights(options.models),
        options.stream_share,
        options.max_tokens,
        options.mix_seed,
    )
    trace = read_trace(Path(options.trace), options.trace_speed) if options.trace else []
    return Plan(mix, trace, options.request_timeout, options.think_time)


def signature(url: str, options: Namespace) -> dict[str, Any]:
    """Return all that a run's figures depend on, except the server: the log's first line."""
    if options.trace:
        load = {"trace": _digest(options.trace), "trace_speed": options.trace_speed}
    else:
        load = {"users": options.num_users, "duration_s": options.run_time, "think_time_s": options.think_time}
    return {
        "url": url,
        "shape": options.shape,
        **load,
        "models": options.models,
        "stream_share": options.stream_share,
        "max_tokens": options.max_tokens,
        "prompts": _digest(options.prompts),
        "mix_seed": options.mix_seed,
        "locust": version("locust"),
    }


def _prompts(path: str) -> list[str]:
    try:
        return read_prompts(Path(path))
    except DataError as error:
        raise LoadError(f"--prompts: {error}") from error


def _digest(path: str) -> str:
    """Return a file's name, and enough of its SHA-256 to identify it."""
    return f"{Path(path).name}@{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]}"
