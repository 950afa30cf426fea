"""The content of a request, the same for every API."""

from dataclasses import dataclass, field
from time import perf_counter

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.caller import Caller
from serve_app.core.types.prompt import Prompt

TIMEOUT_HEADER = "x-request-timeout-s"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for so many answers (`choices`); `watched`: its stream also has the cascade's progress.

    `model` is the id of a cascade or of a single model. Without a caller it is anonymous. `escalated`: its conversation
    was deferred before, so the target alone is asked. `timeout_s` is the header's time limit. It was read at `arrived`,
    in seconds of `perf_counter`.
    """

    model: str
    prompt: Prompt
    options: CascadeOptions = field(default_factory=CascadeOptions)
    stream: bool = False
    choices: int = 1
    watched: bool = False
    caller: Caller = field(default_factory=Caller)
    escalated: bool = False
    timeout_s: float | None = None
    arrived: float = field(default_factory=perf_counter, compare=False)

    @property
    def limit_s(self) -> float | None:
        """Return the seconds that it may take by its header and its options, or None if neither limits them."""
        limits = [limit_s for limit_s in (self.timeout_s, self.options.max_latency_s) if limit_s is not None]
        return min(limits, default=None)

    @property
    def limit_field(self) -> str:
        """Return the name by which the client gave `limit_s`: that of the header, or of the option."""
        return "cascade.max_latency_s" if self.limit_s == self.options.max_latency_s else TIMEOUT_HEADER

    @property
    def left_s(self) -> float | None:
        """Return the seconds that its time limit leaves, at least 0, or None if it has none."""
        limit_s = self.limit_s
        return None if limit_s is None else max(0.0, self.arrived + limit_s - perf_counter())
