"""`cascade collect`: every model of a config's cascades answers every example once, into a records file.

Greedy, with log-probabilities where the engine gives them. One model after another, so that only one is in memory and
none slows another down; several requests at once for each.
"""

import asyncio
import hashlib
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_app.config import AppConfig, ModelConfig, VllmLoraModel
from serve_app.config.serve_file import load
from serve_app.core.types import Answer, Failure, Prompt, Sampling
from serve_app.engines import WeightsSettings
from serve_app.errors import DataError
from serve_app.evaluation.collect.progress import CollectProgress
from serve_app.evaluation.collect.sources import Engines, Server, Source, ask_all
from serve_app.evaluation.records.example import Example, canonical, digest
from serve_app.evaluation.records.header import (
    ConfigFacts,
    DataFacts,
    Header,
    ModelFacts,
    PromptFacts,
    SamplingFacts,
    SourceFacts,
)
from serve_app.evaluation.records.load import load_examples
from serve_app.evaluation.records.tasks import TASKS, Prompts
from serve_app.evaluation.records.writer import Recorder

if TYPE_CHECKING:
    from rich.console import Console

GIVE_UP_AFTER = 20
"""So many errors in a row mean that a model is broken, and not one that fails now and then."""
PACKAGES = ("semantic-cascade", "xllamacpp", "vllm", "torch", "transformers", "openai")


@dataclass(frozen=True, slots=True)
class Options:
    """How to collect. `limit` and `seed` are those of `load_examples`; `max_tokens` overrules every task's own."""

    limit: int | None = None
    seed: int | None = None
    concurrency: int = 4
    url: str | None = None
    retry_failures: bool = False
    prompts: Path | None = None
    max_tokens: int | None = None
    timeout_s: float = 600.0


def collect(config: Path, data: Sequence[str], output: Path, options: Options, console: "Console") -> None:
    """Ask what has not been asked yet. Progress and what it came to go to `console`.

    Raises `KeyboardInterrupt` when stopped by Ctrl-C or SIGTERM, with everything kept; `DataError`, `ConfigError`,
    `WeightsError`, `EngineError` or `ServerError` where it cannot begin or go on, and then, too, all that came is kept.
    """
    args = load(config).application.args
    models = {name: args.models[name] for name in asked_models(args)}
    examples = load_examples(data, options.limit, options.seed)
    plan = Plan(Prompts(options.prompts), options)
    loaded = models | {base: args.models[base] for base in map(args.served_by, models)}
    weights = {} if options.url else _fetch(loaded)
    header = _header(args, models, weights, data, examples, plan)
    source = Server(options.url, options.concurrency) if options.url else Engines(loaded, weights)
    with Recorder(output, header, examples) as recorder:
        run = Run(source, models, examples, plan, recorder)
        try:
            with CollectProgress(console) as progress:
                asyncio.run(_stoppable(run.all(progress)))
        except asyncio.CancelledError:
            _say(console, f"Stopped. {run.summary()} The same command goes on from there.")
            raise KeyboardInterrupt from None
        _say(console, run.summary())


def asked_models(args: AppConfig) -> list[str]:
    """Every model of every cascade, each once: as its tiers come, so the target after its members."""
    tiers = (tier for cascade in args.cascades.values() for tier in cascade.tiers)
    return list(dict.fromkeys(model for tier in tiers for model in tier.models))


class Plan:
    """What is asked about an example."""

    def __init__(self, prompts: Prompts, options: Options) -> None:
        self.prompts = prompts
        self.options = options

    def max_tokens(self, task: str) -> int:
        """The longest answer."""
        return self.options.max_tokens or TASKS[task].max_tokens

    def prompt(self, example: Example, logprobs: bool) -> Prompt:
        """Greedy, the same for every model but for the log-probabilities."""
        sampling = Sampling(self.max_tokens(example.task), temperature=0.0, logprobs=logprobs)
        messages = self.prompts.messages(example.task, example.prompt_inputs)
        return Prompt(messages, sampling=sampling, timeout_s=self.options.timeout_s)


class Run:
    """One call of `collect`, once everything is known."""

    def __init__(
        self,
        source: Source,
        models: Mapping[str, ModelConfig],
        examples: Sequence[Example],
        plan: Plan,
        recorder: Recorder,
    ) -> None:
        self._source = source
        self._models = models
        self._examples = examples
        self._plan = plan
        self._recorder = recorder
        self._errors_in_a_row = 0

    async def all(self, progress: CollectProgress) -> None:
        """Ask every model for what it lacks."""
        open_ = {model: self._open(model) for model in self._models}
        for model, todo in open_.items():
            progress.add(model, len(self._examples), len(self._examples) - len(todo))
        for model, todo in open_.items():
            if todo:
                await self._one(model, todo, progress)

    def _open(self, model: str) -> list[Example]:
        done = self._recorder.answered(model, failures=not self._plan.options.retry_failures)
        return [example for example in self._examples if example.id not in done]

    async def _one(self, model: str, todo: Iterable[Example], progress: CollectProgress) -> None:
        self._errors_in_a_row = 0

        def take(example: str, answer: Answer) -> None:
            self._recorder.add(example, model, answer)
            progress.advance(model, self._recorder.failures(model))
            self._give_up(model, answer)

        logprobs = self._models[model].honours_logprobs
        prompts = ((example.id, self._plan.prompt(example, logprobs)) for example in todo)
        async with self._source.open(model) as ask:
            progress.start(model)
            await ask_all(ask, prompts, self._plan.options.concurrency, take)

    def _give_up(self, model: str, answer: Answer) -> None:
        broken = isinstance(answer, Failure) and answer.kind in ("error", "unavailable")
        self._errors_in_a_row = self._errors_in_a_row + 1 if broken else 0
        if isinstance(answer, Failure) and self._errors_in_a_row == GIVE_UP_AFTER:
            raise DataError(
                f"{model!r} failed {GIVE_UP_AFTER} times in a row, so it was left: {answer.message} "
                f"{self.summary()} The same command goes on from there."
            )

    def summary(self) -> str:
        """How many answers there are, and of which models some are failures."""
        wanted = len(self._models) * len(self._examples)
        there = sum(len(self._recorder.answered(model)) for model in self._models)
        failed = {model: count for model in self._models if (count := self._recorder.failures(model))}
        named = ", ".join(f"{count} of {model!r}" for model, count in failed.items())
        failures = f" Failures: {named}; --retry-failures asks them again." if failed else ""
        return f"{there} of {wanted} answers are in {self._recorder.path}.{failures}"


def _say(console: "Console", sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


async def _stoppable(work: Any) -> None:
    """Ctrl-C and SIGTERM cancel the work, even where a shell started us in the background with SIGINT ignored."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    await task


def _fetch(models: Mapping[str, ModelConfig]) -> dict[str, Path]:
    from serve_app.weights import RichProgress, fetch

    with RichProgress() as progress:
        return {
            name: fetch(model.weights, model.sha256, progress=progress, name=name)
            for name, model in models.items()
            if isinstance(model, WeightsSettings)
        }


def _header(
    args: AppConfig,
    models: Mapping[str, ModelConfig],
    weights: Mapping[str, Path],
    data: Sequence[str],
    examples: Sequence[Example],
    plan: Plan,
) -> Header:
    tasks = sorted({example.task for example in examples})
    texts = {task: plan.prompts.template(task) for task in tasks if task != "custom"}
    written = args.model_dump(mode="json", exclude_unset=True)
    options = plan.options
    return Header(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=ConfigFacts(_sha256(written), written),
        data=DataFacts(digest(examples), len(examples), list(data)),
        prompts=PromptFacts(_sha256(texts), texts),
        sampling=SamplingFacts(0.0, True, {task: plan.max_tokens(task) for task in tasks}),
        asked=SourceFacts("server" if options.url else "engines", options.concurrency),
        models={name: _facts(args, name, weights) for name in models},
        versions=dict(_versions()),
    )


def _facts(args: AppConfig, name: str, weights: Mapping[str, Path]) -> ModelFacts:
    model = args.models[name]
    sha256 = _known_sha256(model, weights.get(name))
    if isinstance(model, VllmLoraModel) and sha256 is not None:
        # Another base makes it another model.
        sha256 = _sha256([_known_sha256(args.models[model.base], weights.get(model.base)), sha256])
    return ModelFacts(
        engine=model.engine,
        parameters=model.parameters,
        active_parameters=model.active_parameters,
        cost=model.cost(),
        weights=model.model_dump(mode="json")["weights"] if isinstance(model, WeightsSettings) else None,
        weights_sha256=sha256,
    )


def _known_sha256(model: ModelConfig, weights: Path | None) -> str | None:
    if not isinstance(model, WeightsSettings):
        return None
    # What was fetched with a checksum has been checked against it.
    return model.sha256 or (None if weights is None else weights_sha256(weights))


def weights_sha256(path: Path) -> str:
    """Of a file: its SHA-256. Of a folder: that of the list of its files' relative paths and SHA-256."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return _sha256([[file.relative_to(path).as_posix(), weights_sha256(file)] for file in files])


def _sha256(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", ".".join(map(str, sys.version_info[:3]))
    for package in PACKAGES:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
