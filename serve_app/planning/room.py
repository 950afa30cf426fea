"""What is free on one node, counted as Ray counts: in ten-thousandths, and GPU by GPU."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from serve_app.config.deployment import Bundle

UNITS = 10_000
"""Ray's resources are whole numbers of ten-thousandths, so that sums are exact."""


@dataclass(slots=True)
class Room:
    """A node: its resources in all, and what is free of them. A fraction of a GPU lies on one GPU."""

    total: Bundle
    free: dict[str, int]
    gpus: list[int]

    @classmethod
    def of(cls, resources: Mapping[str, float]) -> Self:
        """Return an empty node."""
        free = {resource: _units(amount) for resource, amount in resources.items() if resource != "GPU"}
        return cls(dict(resources), free, [UNITS] * int(resources.get("GPU", 0)))

    def copy(self) -> "Room":
        """Return a copy, for trial placements."""
        return Room(self.total, dict(self.free), list(self.gpus))

    def become(self, trial: "Room") -> None:
        """Take over the state of a trial copy."""
        self.free, self.gpus = trial.free, trial.gpus

    def take(self, bundles: Iterable[Bundle]) -> bool:
        """Reserve all bundles, or nothing."""
        trial = self.copy()
        # The largest shares of GPUs first: small ones fill what is left.
        if all(trial._take(bundle) for bundle in sorted(bundles, key=lambda bundle: -bundle.get("GPU", 0))):
            self.become(trial)
            return True
        return False

    def could_hold(self, bundles: Sequence[Bundle]) -> bool:
        """Return whether the sums of the bundles are within the whole node; if not, it can never hold them."""
        sums: dict[str, int] = {}
        for bundle in bundles:
            for resource, amount in bundle.items():
                sums[resource] = sums.get(resource, 0) + _units(amount)
        return all(units <= _units(self.total.get(resource, 0)) for resource, units in sums.items())

    def _take(self, bundle: Bundle) -> bool:
        for resource, amount in bundle.items():
            if resource == "GPU":
                if not self._take_gpus(_units(amount)):
                    return False
            elif (units := _units(amount)) > self.free.get(resource, 0):
                return False
            elif units:
                self.free[resource] -= units
        return True

    def _take_gpus(self, units: int) -> bool:
        """Take whole GPUs, or a share of the fullest GPU that has room for it."""
        if units >= UNITS:
            whole = [number for number, free_units in enumerate(self.gpus) if free_units == UNITS][: units // UNITS]
            for number in whole:
                self.gpus[number] = 0
            return len(whole) == units // UNITS
        able = [number for number, free_units in enumerate(self.gpus) if free_units >= units]
        if units and able:
            self.gpus[min(able, key=lambda number: self.gpus[number])] -= units
        return not units or bool(able)


def _units(amount: float) -> int:
    return round(amount * UNITS)
