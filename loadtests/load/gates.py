"""Service level objectives: bounds in a YAML file, compared with a run's figures."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import LoadError
from .summary import Summary

GATES: dict[str, Callable[[Summary], float | None]] = {
    "max_p95_latency_s": lambda summary: summary.p95_latency_s,
    "max_p95_ttft_s": lambda summary: summary.p95_ttft_s,
    "max_error_rate": lambda summary: summary.error_rate,
    "min_throughput_rps": lambda summary: summary.throughput_rps,
    "max_deferral_rate": lambda summary: summary.deferral_rate,
    "max_cost_ratio": lambda summary: summary.cost_ratio,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One gate, and what was measured; a gate without a measurement is not held."""

    gate: str
    bound: float
    measured: float | None

    @property
    def passed(self) -> bool:
        """Return whether the objective was met."""
        if self.measured is None:
            return False
        return self.measured >= self.bound if self.gate.startswith("min_") else self.measured <= self.bound

    def __str__(self) -> str:
        measured = "not measured" if self.measured is None else f"{self.measured:.4g}"
        sign = ">=" if self.gate.startswith("min_") else "<="
        return f"{'ok  ' if self.passed else 'FAIL'}  {self.gate:<18}  {measured} (must be {sign} {self.bound:g})"


def read_gates(path: Path) -> dict[str, float]:
    """Read the bounds of a file: gate -> number. Raises `LoadError` for unknown gates and invalid bounds."""
    import yaml  # here, so that a machine without it can send load as a worker

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LoadError(f"--slo: cannot read {str(path)!r}: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise LoadError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict) or not content:
        raise LoadError(f"{path}: must have lines such as 'max_p95_latency_s: 5'. Gates: {', '.join(GATES)}.")
    for gate, bound in content.items():
        if gate not in GATES:
            raise LoadError(f"{path}: there is no gate {gate!r}. Available: {', '.join(GATES)}.")
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not bound >= 0:
            raise LoadError(f"{path}: {gate}: must be a number from 0, not {bound!r}.")
    return {gate: float(bound) for gate, bound in content.items()}


def judge(bounds: dict[str, float], summary: Summary) -> list[Verdict]:
    """Return a verdict for each bound."""
    return [Verdict(gate, bound, GATES[gate](summary)) for gate, bound in bounds.items()]
