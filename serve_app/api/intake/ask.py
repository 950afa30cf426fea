"""The content of a request, the same for every API."""

from dataclasses import dataclass, field
from time import perf_counter

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.caller import Caller
from serve_app.core.types.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for so many answers (`choices`); `watched`: its stream also has the cascade's progress.

    `model` is the id of a cascade or of a single model. Without a caller it is anonymous. `escalated`: its conversation
    was deferred before, so the target alone is asked. It was read at `arrived`, in seconds of `perf_counter`.
    """

    model: str
    prompt: Prompt
    options: CascadeOptions = field(default_factory=CascadeOptions)
    stream: bool = False
    choices: int = 1
    watched: bool = False
    caller: Caller = field(default_factory=Caller)
    escalated: bool = False
    arrived: float = field(default_factory=perf_counter, compare=False)

    @property
    def left_s(self) -> float | None:
        """Return the seconds that its time limit leaves, at least 0, or None if it has none."""
        limit_s = self.options.max_latency_s
        return None if limit_s is None else max(0.0, self.arrived + limit_s - perf_counter())
