"""How many requests each model takes: those that it works on, and those that may wait for it."""

from dataclasses import dataclass
from math import ceil

from serve_app.config import AppConfig
from serve_app.config.deployment import DeploymentOptions


@dataclass(frozen=True, slots=True)
class Queue:
    """The requests that a deployed model works on at once, over all its replicas, and that may wait beside them."""

    slots: int
    waiting: int


def queue_of(config: AppConfig, name: str, routers: int = 1) -> Queue:
    """Return the queue of the deployed model `name`, as each of `routers` routers counts it.

    Replicas count at their most, because requests that wait are what Serve adds replicas for.
    """
    model = config.deployed()[name]
    options = model.placed()
    slots = min(model.concurrency, options.max_ongoing_requests) * most_replicas(options)
    return Queue(ceil(slots / routers), ceil(slots * config.router.max_waiting / routers))


def most_replicas(options: DeploymentOptions) -> int:
    """Return how many replicas a deployment may have."""
    scaling = options.autoscaling_config
    return scaling.max_replicas if scaling else options.num_replicas or 1
