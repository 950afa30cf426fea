"""The thread that decodes for the seq2seq engine: requests join and leave between any two tokens."""

from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from typing import Any

from serve_app.engines.running.slots import CLOSED
from serve_app.engines.seq2seq.batch import Batch, choose, encode
from serve_app.engines.seq2seq.call import Call
from serve_app.engines.seq2seq.model import LoadedModel
from serve_app.errors import ContextTooLongError, EngineError


class DecodingLoop:
    """Reads prompts and decodes one token for every running request, over and over; sleeps when idle.

    `ended` is called, in this thread, with every call that was submitted and the error that ended it, if one did.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        context_tokens: int,
        batch_tokens: int,
        ended: Callable[[Call, EngineError | None], None],
    ) -> None:
        self.prompt_tokens = self.completion_tokens = 0  # totals
        self.broken: str | None = None  # why the thread ended, if nobody closed it
        self._loaded = loaded
        self._context_tokens = context_tokens
        self._batch_tokens = batch_tokens
        self._ended = ended
        self._inbox: deque[Call] = deque()  # shared with the event loop, as `_closing` is; the rest is the thread's
        self._live: set[Call] = set()
        self._waiting: deque[Call] = deque()
        self._batches: list[Batch[Call]] = []
        self._changed = Condition()
        self._closing = False
        self._thread = Thread(target=self._run, name="seq2seq", daemon=True)
        self._thread.start()

    def submit(self, call: Call) -> None:
        """Hand over a call, which joins after the token being decoded. Raises EngineError if closed or broken."""
        with self._changed:
            if self._closing:
                raise EngineError(self.broken or CLOSED)
            self._inbox.append(call)
            self._changed.notify()

    def close(self) -> None:
        """Stop after the running step; every remaining call ends in an error."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        import torch

        reason = "The model was closed while it answered."
        try:
            with torch.inference_mode():
                while self._receive():
                    self._read()
                    for batch in self._batches:
                        self._guarded(batch.rows, self._step, batch)
                    self._sweep()
        except BaseException as error:
            self.broken = reason = f"The decoding thread broke: {error!r}."
            raise
        finally:
            self._end_all(reason)

    def _receive(self) -> bool:
        """Wait for work, take in new calls, and return whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._inbox or self._live)
            if self._closing:
                return False
            arrived = list(self._inbox)
            self._inbox.clear()
            self._live |= set(arrived)
        for call in arrived:
            self._guarded([call], self._tokenise, call)
        self._waiting += arrived
        self._sweep()
        return True

    def _tokenise(self, call: Call) -> None:
        call.ids = self._loaded.tokens(call.prompt)
        if not call.ids:
            raise EngineError("The prompt has no tokens.")
        if len(call.ids) > self._context_tokens:
            raise ContextTooLongError(len(call.ids), self._context_tokens)

    def _read(self) -> None:
        """Read as many waiting prompts as go through the encoder at once, at least one."""
        group: list[Call] = []
        width = 0
        while self._waiting:
            width = max(width, len(self._waiting[0].ids))
            if group and (len(group) + 1) * width > self._batch_tokens:
                break
            group.append(self._waiting.popleft())
        if group:
            self._guarded(group, self._begin, group)

    def _begin(self, group: list[Call]) -> None:
        loaded = self._loaded
        for call in group:
            call.begin(loaded.tokenizer)
            self.prompt_tokens += len(call.ids)
        batch = Batch(loaded.model, *encode(loaded.model, [call.ids for call in group]), group)
        batch.keep(lambda call: not call.over)  # cancelled meanwhile
        if not batch.rows:
            return
        self._take(batch, batch.step([loaded.prefix] * len(batch.rows)))
        if self._batches and loaded.relative_positions:
            self._batches[0].join(batch)
        else:
            self._batches.append(batch)

    def _step(self, batch: Batch[Call]) -> None:
        batch.keep(lambda call: not call.over)
        if batch.rows:
            self._take(batch, batch.step([[call.last] for call in batch.rows]))

    def _take(self, batch: Batch[Call], logits: Any) -> None:
        for call, choice in zip(batch.rows, choose(logits, batch.rows), strict=True):
            call.take(choice, self._loaded.end_tokens)
            self.completion_tokens += call.error is None

    def _sweep(self) -> None:
        """Drop the calls that are over, wherever they are; one cancelled meanwhile goes with the next sweep."""
        over = {call for call in self._live if call.over}
        if not over:
            return
        self._waiting = deque(call for call in self._waiting if call not in over)
        for batch in self._batches:
            batch.keep(lambda call: call not in over)
        self._batches = [batch for batch in self._batches if batch.rows]
        self._live -= over
        for call in over:
            self._ended(call, call.error)

    def _guarded(self, calls: list[Call], work: Callable[..., None], *arguments: Any) -> None:
        """Do work for these calls alone: if it fails (out of memory, say), they fail and the others go on."""
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, one request must not end the thread of all
            for call in calls:
                call.error = error if isinstance(error, EngineError) else EngineError(f"The model failed: {error!r}.")

    def _end_all(self, reason: str) -> None:
        with self._changed:
            self._closing = True
            remaining = [*self._inbox, *self._live]
            self._inbox.clear()
        self._waiting.clear()
        self._batches.clear()
        for call in remaining:
            self._ended(call, EngineError(reason))
