"""`cascade collect`: every model of a config's cascades answers every example once, into a records file.

Decoding is greedy, but for the samples of a model, with log-probabilities if the engine gives them. Models are asked
one after another, so that only one is in memory and none slows another down; each gets several requests at once.
"""

import asyncio
import hashlib
import signal
import sys
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from serve_app.config import AppConfig, ModelConfig, VllmLoraModel
from serve_app.config.serve_file import load
from serve_app.core.sampling import Sample, base_name, sampled
from serve_app.core.types.answer import Answer, Failure
from serve_app.core.types.prompt import Prompt, Sampling
from serve_app.engines import WeightsSettings
from serve_app.errors import DataError
from serve_app.evaluation.collect.progress import CollectProgress
from serve_app.evaluation.collect.server import Server
from serve_app.evaluation.collect.sources import Ask, Engines, Source, ask_all
from serve_app.evaluation.records.example import Example, digest, sha256_of
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
"""After so many consecutive errors a model counts as broken, not as one that fails now and then."""
PACKAGES = ("semantic-cascade", "xllamacpp", "vllm", "torch", "transformers", "openai")


@dataclass(frozen=True, slots=True)
class Options:
    """How to collect. `limit` and `seed` are those of `load_examples`; `max_tokens` overrides every task's own."""

    limit: int | None = None
    seed: int | None = None
    concurrency: int = 4
    url: str | None = None
    retry_failures: bool = False
    prompts: Path | None = None
    max_tokens: int | None = None
    timeout_s: float = 600.0


def collect(config: Path, data: Sequence[str], output: Path, options: Options, console: "Console") -> None:
    """Ask every model the examples that it has not answered yet, and print progress and a summary to `console`.

    Raises `KeyboardInterrupt` if Ctrl-C or SIGTERM stops it; `DataError`, `ConfigError`, `WeightsError`, `EngineError`
    or `ServerError` if it cannot begin or continue. Every answer up to then stays in the records.
    """
    args = load(config).application.args
    models = {name: args.model(name) for name in models_to_ask(args)}
    examples = load_examples(data, options.limit, options.seed)
    plan = Plan(Prompts(options.prompts), options)
    bases = [base_name(name) for name in models]
    configs = {name: args.models[name] for name in [*bases, *map(args.served_by, bases)]}
    weights = {} if options.url else _fetch(configs)
    header = _header(args, models, weights, data, examples, plan)
    source = Server(options.url, options.concurrency) if options.url else Engines(configs, weights)
    with Recorder(output, header, examples) as recorder:
        run = Run(source, models, args.samples(), examples, plan, recorder)
        try:
            with CollectProgress(console) as progress:
                asyncio.run(_stoppable(run.all(progress)))
        except asyncio.CancelledError:
            _say(console, f"Stopped. {run.summary()} Run the same command again to resume.")
            raise KeyboardInterrupt from None
        _say(console, run.summary())


def models_to_ask(args: AppConfig) -> list[str]:
    """Return every model of every cascade, and every sample of one, each once, in the order of the tiers."""
    tiers = (tier for cascade in args.cascades.values() for tier in cascade.tiers)
    return list(dict.fromkeys(model for tier in tiers for model in tier.models))


class Plan:
    """The prompts and limits that examples are asked with."""

    def __init__(self, prompts: Prompts, options: Options) -> None:
        self.prompts = prompts
        self.options = options

    def max_tokens(self, task: str) -> int:
        """Return the longest answer to an example of this task, in tokens."""
        return self.options.max_tokens or TASKS[task].max_tokens

    def prompt(self, example: Example, logprobs: bool, sample: Sample | None = None) -> Prompt:
        """Return the prompt of an example: greedy, and the same for every model except for log-probabilities.

        A `sample` gets it as it does when it is served; without a temperature of its own it has the model's.
        """
        temperature = 0.0 if sample is None else None
        sampling = Sampling(self.max_tokens(example.task), temperature=temperature, logprobs=logprobs)
        messages = self.prompts.messages(example.task, example.prompt_inputs)
        prompt = Prompt(messages, sampling=sampling, timeout_s=self.options.timeout_s)
        return prompt if sample is None else sampled(prompt, sample)


class Run:
    """One run of `collect`, once its inputs have been checked."""

    def __init__(
        self,
        source: Source,
        models: Mapping[str, ModelConfig],
        samples: Mapping[str, Sample],
        examples: Sequence[Example],
        plan: Plan,
        recorder: Recorder,
    ) -> None:
        self._source = source
        self._models = models
        self._samples = samples
        self._examples = examples
        self._plan = plan
        self._recorder = recorder
        self._errors_in_a_row = 0

    async def all(self, progress: CollectProgress) -> None:
        """Ask every model the examples that it has not answered."""
        unanswered = {model: self._unanswered(model) for model in self._models}
        for model, examples in unanswered.items():
            progress.add(model, len(self._examples), len(self._examples) - len(examples))
        to_load: dict[str, list[str]] = {}
        for model, examples in unanswered.items():
            if examples:
                to_load.setdefault(base_name(model), []).append(model)
        for base, models in to_load.items():
            async with self._source.open(base) as ask:
                for model in models:
                    await self._ask(ask, model, unanswered[model], progress)

    def _unanswered(self, model: str) -> list[Example]:
        answered_ids = self._recorder.answered(model, failures=not self._plan.options.retry_failures)
        return [example for example in self._examples if example.id not in answered_ids]

    async def _ask(self, ask: Ask, model: str, examples: Iterable[Example], progress: CollectProgress) -> None:
        self._errors_in_a_row = 0

        def take(example: str, answer: Answer) -> None:
            self._recorder.add(example, model, answer)
            progress.advance(model, self._recorder.failures(model))
            self._give_up(model, answer)

        logprobs = self._models[model].honours_logprobs
        sample = self._samples.get(model)
        prompts = ((example.id, self._plan.prompt(example, logprobs, sample)) for example in examples)
        progress.start(model)
        await ask_all(ask, prompts, self._plan.options.concurrency, take)

    def _give_up(self, model: str, answer: Answer) -> None:
        broken = isinstance(answer, Failure) and answer.kind in ("error", "unavailable")
        self._errors_in_a_row = self._errors_in_a_row + 1 if broken else 0
        if isinstance(answer, Failure) and self._errors_in_a_row == GIVE_UP_AFTER:
            raise DataError(
                f"Gave up on {model!r} after {GIVE_UP_AFTER} consecutive failures: {answer.message} "
                f"{self.summary()} Run the same command again to resume."
            )

    def summary(self) -> str:
        """Return the number of answers in the records, and of the failures of each model."""
        total = len(self._models) * len(self._examples)
        answer_count = sum(len(self._recorder.answered(model)) for model in self._models)
        failed = {model: count for model in self._models if (count := self._recorder.failures(model))}
        counts = ", ".join(f"{count} of {model!r}" for model, count in failed.items())
        failures = f" Failures: {counts}; ask them again with --retry-failures." if failed else ""
        return f"{answer_count} of {total} answers are in {self._recorder.path}.{failures}"


def _say(console: "Console", sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


async def _stoppable(work: Coroutine[None, None, None]) -> None:
    """Cancel the work on Ctrl-C and SIGTERM, even if a shell started this process with SIGINT ignored."""
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
    values = args.model_dump(mode="json", exclude_unset=True)
    options = plan.options
    return Header(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=ConfigFacts(sha256_of(values), values),
        data=DataFacts(digest(examples), len(examples), list(data)),
        prompts=PromptFacts(sha256_of(texts), texts),
        sampling=SamplingFacts(0.0, True, {task: plan.max_tokens(task) for task in tasks}),
        asked=SourceFacts("server" if options.url else "engines", options.concurrency),
        models={name: _facts(args, name, weights) for name in models},
        versions=dict(_versions()),
    )


def _facts(args: AppConfig, name: str, weights: Mapping[str, Path]) -> ModelFacts:
    model = args.model(name)
    sha256 = _sha256_of(model, weights.get(base_name(name)))
    if isinstance(model, VllmLoraModel) and sha256 is not None:
        # Another base makes it another model.
        sha256 = sha256_of([_sha256_of(args.models[model.base], weights.get(model.base)), sha256])
    return ModelFacts(
        engine=model.engine,
        parameters=model.parameters,
        active_parameters=model.active_parameters,
        cost=model.cost(),
        weights=model.model_dump(mode="json")["weights"] if isinstance(model, WeightsSettings) else None,
        weights_sha256=sha256,
    )


def _sha256_of(model: ModelConfig, weights: Path | None) -> str | None:
    if not isinstance(model, WeightsSettings):
        return None
    # Weights with a configured checksum were verified when they were fetched.
    return model.sha256 or (None if weights is None else weights_sha256(weights))


def weights_sha256(path: Path) -> str:
    """Return a file's SHA-256, or for a folder that of the list of its files' relative paths and SHA-256."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return sha256_of([[file.relative_to(path).as_posix(), weights_sha256(file)] for file in files])


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", ".".join(map(str, sys.version_info[:3]))
    for package in PACKAGES:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
