"""What vLLM counts, collected in its process: a stat logger that vLLM loads by its entry point (see pyproject.toml).

It records only if `COLLECTING` has a tally, which the engine sets around its start; it does nothing in another vLLM of
the same environment. Imported by vLLM only.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from vllm.v1.metrics.loggers import StatLoggerBase  # noqa: TID253


@dataclass(slots=True)
class Tally:
    """Totals since the start; `active` are the requests that the scheduler had in its last step."""

    active: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


COLLECTING: ContextVar[Tally | None] = ContextVar("COLLECTING", default=None)


class TallyLogger(StatLoggerBase):  # type: ignore[misc]  # vLLM is not installed where types are checked
    """Adds each step's figures to the tally."""

    def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
        self._tally = COLLECTING.get()

    def record(self, scheduler_stats: Any, iteration_stats: Any, **_unused: Any) -> None:
        """Add a step's figures; vLLM calls this after each step, and either may be None."""
        if self._tally is None:
            return
        if scheduler_stats is not None:
            self._tally.active = scheduler_stats.num_running_reqs
        if iteration_stats is not None:
            self._tally.prompt_tokens += iteration_stats.num_prompt_tokens
            self._tally.completion_tokens += iteration_stats.num_generation_tokens

    def log_engine_initialized(self) -> None:
        """Do nothing: vLLM requires the method."""
