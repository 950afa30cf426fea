"""One request in progress, and all that it spends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from time import perf_counter

from serve_app.core.cost import ModelCost, Speed, cut_short
from serve_app.core.protocols import Model, Prechecker, Scorer, Speculation
from serve_app.core.running.progress import Progress, Watch
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.outcome import Budget, Call, Force, Precheck, Shed, TierResult
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt


@dataclass
class Run:
    """One request in progress, and all that it has spent so far, also if it is cut short.

    `models` and `scorer` do the work; if the scorer fails, `lexical` compares for tiers with a signal that stands in.
    `speeds` (by model) are observed, and serve to estimate uncounted tokens.
    `escalated` asks the target alone, as if all tiers before it had deferred. `fallback` lets the best member answer
    stand in for a target that failed, as it does for a tier that the `budget`, by the models' `costs`, does not allow.
    `speculation` says when a tier is asked before the one before it has decided. `prechecker` may send the request
    straight to a model, unless it is forced, escalated, or has a budget; `precheck` is its result.
    `shed` says that the `tiers` are those under pressure.
    `choices` is how many answers are wanted of the model whose answer is returned. `stream` asks the target for deltas;
    `caller` is the name of the key by which it came, or None.
    `first_text_s` is how long its first text took, from `started`, in seconds of `clock`. `watch` is called
    with the progress of every model; all models are asked for deltas then.
    """

    prompt: Prompt
    tiers: Sequence[Tier]
    models: Mapping[str, Model]
    scorer: Scorer
    _: KW_ONLY
    lexical: Scorer | None = None
    force: Force | None = None
    fallback: bool = False
    budget: Budget | None = None
    costs: Mapping[str, ModelCost] = field(default_factory=dict)
    escalated: bool = False
    speculation: Speculation | None = None
    prechecker: Prechecker | None = None
    precheck: Precheck | None = None
    shed: Shed | None = None
    stream: bool = False
    choices: int = 1
    caller: str | None = None
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    results: list[TierResult] = field(default_factory=list)
    clock: Callable[[], float] = perf_counter
    started: float = field(init=False)
    first_text_s: float | None = None
    watch: Watch | None = None

    def __post_init__(self) -> None:
        self.started = self.clock()

    def tell(self, progress: Progress) -> None:
        """Tell the watcher of the run, if there is one."""
        if self.watch is not None:
            self.watch(progress)

    @property
    def first(self) -> Tier:
        """Return the tier that is asked first."""
        return self.tiers[-1 if self.escalated else 0]

    @property
    def skipped(self) -> Precheck | None:
        """Return why the request went straight to one model, or None if its cascade ran."""
        return self.precheck if self.precheck is not None and self.precheck.verdict is not None else None

    @property
    def target(self) -> str:
        """Return the name of the last tier's model."""
        return self.tiers[-1].models[0]

    def finished(self, model: str, answer: Answer, *, wasted: bool = False) -> Answer:
        """Note a call, learn from it how fast its model is, and return its answer."""
        if isinstance(answer, Generation) and model in self.speeds:
            self.speeds[model].observe(answer)
        self.calls.append(Call(model, answer, wasted))
        return answer

    def abandoned(
        self, model: str, failure: Failure, elapsed_s: float, latest: Delta | None = None, *, wasted: bool = False
    ) -> Answer:
        """Note a call that was cut short, with the engine's token counts or an estimate, and return it as a failure."""
        peers = [call.answer for call in self.calls]
        speed = self.speeds.get(model)
        failure = cut_short(failure, self.prompt, elapsed_s=elapsed_s, latest=latest, peers=peers, speed=speed)
        return self.finished(model, failure, wasted=wasted)
