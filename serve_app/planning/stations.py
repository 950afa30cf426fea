"""What requests queue at: how many replicas of it a load needs, and when it falls behind."""

from dataclasses import dataclass
from math import ceil, inf

from serve_app.errors import ConfigError

BUSY = 0.7
"""Planned load of a replica as a share of the most that it carries; the remainder is for bursts."""
MOST_REPLICAS = 1e12
"""Limit of replicas of one deployment: more is a typing error, and a float soon cannot count them."""


@dataclass(frozen=True, slots=True)
class Station:
    """One deployment, or Serve's proxies, under the load.

    `visits` a request; `carries_rps` is the most that one replica does, in its own visits; `configured` replicas at the
    most; `max_requests` is how many requests one replica may hold, `seconds` for how long it holds one.
    """

    name: str
    kind: str
    visits: float
    carries_rps: float
    configured: int
    rps: float
    seconds: float
    max_requests: float = inf
    devices: float = 0.0

    @property
    def replicas(self) -> int:
        """Return the number that the load needs, by work and by requests held."""
        load = self.rps * self.visits
        return max(1, _ceil(load / (self.carries_rps * BUSY)), _ceil(load * self.seconds / self.max_requests))

    @property
    def busy(self) -> float:
        """Return the share of the most they carry, with the replicas that the load needs."""
        return self.rps * self.visits / (self.carries_rps * self.replicas)

    @property
    def breaks_rps(self) -> float:
        """Return the requests a second, at the entrance, above which the configured replicas fall behind."""
        return self.configured * self.carries_rps / self.visits if self.visits else inf


def wait_s(station: Station) -> float:
    """Return the mean time in the queue of one process with random arrivals and constant service (M/D/1)."""
    return station.busy / (2 * station.carries_rps * (1 - station.busy)) if station.busy < 1 else inf


def _ceil(number: float) -> int:
    """Round up, but not for a rounding error of floats."""
    if number > MOST_REPLICAS:
        raise ConfigError(f"--rps: that load takes more than {MOST_REPLICAS:g} replicas of a deployment.")
    return ceil(round(number, 9))
