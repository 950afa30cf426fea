"""How many requests each model takes: those that it works on, and those that may wait for it."""

from dataclasses import dataclass
from math import ceil

from serve_app.config import AppConfig


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
    slots = min(model.concurrency, options.max_ongoing_requests) * options.most_replicas
    return Queue(ceil(slots / routers), ceil(slots * config.router.max_waiting / routers))
