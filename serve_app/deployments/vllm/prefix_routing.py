"""Which replica of a model gets a prompt: the one that has read the same beginning (Ray's prefix-aware routing).

Serve loads this class wherever a handle of the model lives: in every router.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ray.exceptions import RayError

# Ray's public name for this class, in ray.serve.llm.request_router, imports vLLM: 530 MB and 11 s in every router.
from ray.llm._internal.serve.routing_policies.prefix_aware.prefix_aware_router import PrefixCacheAffinityRouter
from ray.serve.request_router import PendingRequest, ReplicaID, RunningReplica

from serve_app.core.types.prompt import Prompt

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Readable:
    """A request's argument as Ray's class reads it."""

    prompt: str


def text_of(prompt: Prompt) -> str:
    """Return the text that is compared: the raw text, or the messages' contents, joined."""
    return prompt.text if prompt.text is not None else "".join(message.content for message in prompt.messages)


def readable(request: PendingRequest) -> PendingRequest:
    """Return the request with the prompt's text in place of its arguments, or without arguments if there is no text.

    An adapter's name comes first: what a replica has read as one adapter is of no use to another.
    """
    adapter = request.kwargs.get("adapter", "")
    texts = [text_of(argument) for argument in request.args if isinstance(argument, Prompt)]
    return replace(request, args=[Readable(adapter + text) for text in texts if text])


class PromptPrefixRouter(PrefixCacheAffinityRouter):
    """Ray's `PrefixCacheAffinityRouter` for our `Prompt`; if it fails, Serve's usual choice by load is used.

    Ray's class remembers prompts in one actor for all routers, and raises if that is lost with its node, or tells of a
    replica that this router does not have. Serve lets a request wait indefinitely if the choice of its replica raises.
    """

    _warned = False

    async def choose_replicas(  # type: ignore[override]  # Ray annotates one group, and returns a list of them
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Return groups of replicas, the best first; Serve takes the next group if all replicas of one are full."""
        if pending_request is None:
            return await self._groups(candidate_replicas, None)
        by_load = await self._groups(candidate_replicas, replace(pending_request, args=[]))
        try:
            by_prefix = await self._groups(candidate_replicas, readable(pending_request))
        except (KeyError, RayError) as error:
            logger.debug("A replica is chosen by load, since its prefixes are not known: %r", error)
            return by_load
        return [*by_prefix, *by_load]

    async def _groups(
        self, candidates: list[RunningReplica], request: PendingRequest | None
    ) -> list[list[RunningReplica]]:
        groups: list[list[RunningReplica]] = await super().choose_replicas(candidates, request)  # type: ignore[assignment]
        return groups

    def _fulfill_next_pending_request(self, replica: RunningReplica, request_metadata: Any = None) -> None:
        """Give a replica to the call that it was chosen for.

        Ray looks for it by an id that all calls made for one HTTP request share, a base's and its adapters' too, and
        finds only the first: the others would never be routed.
        """
        for pending in self._pending_requests_to_fulfill:
            if pending.metadata is request_metadata and not pending.future.done():
                self._record_queue_wait_time(pending)
                pending.future.set_result(replica)
                if self._pending_requests_by_id.get(request_metadata.internal_request_id) is pending:
                    self._remove_pending_request_from_indices(pending)
                return
        super()._fulfill_next_pending_request(replica, request_metadata)

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        """Remember that this replica has read this prompt."""
        with self._memory_may_be_lost():
            super().on_request_routed(readable(pending_request), replica_id, result)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Take over Serve's list of replicas."""
        with self._memory_may_be_lost():
            super().update_replicas(replicas)

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        """Forget a replica."""
        with self._memory_may_be_lost():
            super().on_replica_actor_died(replica_id)

    @contextmanager
    def _memory_may_be_lost(self) -> Iterator[None]:
        """Log a lost memory and carry on: Ray's class updates its actor only after all that Serve needs."""
        try:
            yield
        except RayError as error:
            if not self._warned:
                logger.warning("Prefix-aware routing has lost its memory, so replicas are chosen by load: %s", error)
            self._warned = True
