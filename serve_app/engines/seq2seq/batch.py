"""The arithmetic of the seq2seq engine: requests as rows of one batch, each as if it were alone."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, Protocol, TypeVar


class Drawn(Protocol):
    """How a row's next token is chosen: the likeliest at temperature 0, else drawn with its own generator."""

    temperature: float
    top_p: float
    random: Random


Row = TypeVar("Row", bound=Drawn)


def encode(model: Any, prompts: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """Return encoder states [rows, width, d] and their mask [rows, width], padded on the right. One forward pass."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[*prompt, *[0] * (width - len(prompt))] for prompt in prompts], device=model.device)
    mask = torch.tensor([[1] * len(prompt) + [0] * (width - len(prompt)) for prompt in prompts], device=model.device)
    return model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state, mask


def _cache_argument(model: Any) -> str:
    """Return the name of `forward`'s argument for keys and values: transformers 5.24 renamed it."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


class Batch(Generic[Row]):
    """Rows that are decoded in step, and what the decoder keeps of them.

    Rows may have come at different times: their keys and values are padded, the prompts' on the right and the answers'
    on the left, and masked. With relative positions the distance between two tokens is the same wherever the row
    begins, so a row's numbers do not depend on its company, but for the rounding of sums of other lengths. A model with
    absolute positions must not `join` rows that began at different times.
    """

    def __init__(self, model: Any, states: Any, mask: Any, rows: Sequence[Row]) -> None:
        from transformers.cache_utils import DynamicCache, EncoderDecoderCache

        self.rows = list(rows)
        self._model = model
        self._cache_argument = _cache_argument(model)
        self._states = states
        self._prompts = mask  # [rows, width of the prompts], 1 where there is a token
        self._answers = mask[:, :0]  # [rows, decoder steps so far]
        self._cache: Any = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def step(self, tokens: Sequence[Sequence[int]]) -> Any:
        """Read the rows' next tokens (several at the very beginning) and return float32 logits [rows, vocabulary]."""
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        ids = torch.tensor(tokens, device=self._states.device)
        self._answers = torch.cat([self._answers, torch.ones_like(ids)], dim=1)
        output = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._states),
            attention_mask=self._prompts,
            decoder_input_ids=ids,
            decoder_attention_mask=self._answers,
            use_cache=True,
            **{self._cache_argument: self._cache},
        )
        return output.logits[:, -1].float()

    def keep(self, needed: Callable[[Row], bool]) -> None:
        """Drop the rows that are not needed, and the padding that no other row requires."""
        import torch

        indices = [index for index, row in enumerate(self.rows) if needed(row)]
        if len(indices) == len(self.rows):
            return
        self.rows = [self.rows[index] for index in indices]
        if not indices:
            return
        index = torch.tensor(indices, device=self._states.device)
        width, steps = (int(mask[index].sum(dim=1).max()) for mask in (self._prompts, self._answers))
        self._answers = self._answers[index, self._answers.shape[1] - steps :]
        self._prompts = self._prompts[index, :width]
        self._states = self._states[index, :width]
        self._each_layer(
            lambda own: own[index, :, own.shape[2] - steps :].clone(), lambda cross: cross[index, :, :width].clone()
        )

    def join(self, addition: "Batch[Row]") -> None:
        """Take in the rows of another batch; both have read their first tokens."""
        import torch

        steps = max(self._answers.shape[1], addition._answers.shape[1])
        width = max(self._prompts.shape[1], addition._prompts.shape[1])
        for batch in (self, addition):
            batch._widen(steps, width)
        self.rows += addition.rows
        self._answers = torch.cat([self._answers, addition._answers])
        self._prompts = torch.cat([self._prompts, addition._prompts])
        self._states = torch.cat([self._states, addition._states])
        for layer, new_layer in zip(self._layers(), addition._layers(), strict=True):
            layer.keys = torch.cat([layer.keys, new_layer.keys])
            layer.values = torch.cat([layer.values, new_layer.values])

    def _widen(self, steps: int, width: int) -> None:
        from torch.nn.functional import pad

        before, after = steps - self._answers.shape[1], width - self._prompts.shape[1]
        self._answers = pad(self._answers, (before, 0))
        self._prompts = pad(self._prompts, (0, after))
        self._states = pad(self._states, (0, 0, 0, after))
        self._each_layer(lambda own: pad(own, (0, 0, before, 0)), lambda cross: pad(cross, (0, 0, 0, after)))

    def _each_layer(self, own: Callable[[Any], Any], cross: Callable[[Any], Any]) -> None:
        """Change all keys and values [rows, heads, tokens, d]: the answers' by `own`, the prompts' by `cross`."""
        for cache, change in ((self._cache.self_attention_cache, own), (self._cache.cross_attention_cache, cross)):
            for layer in cache.layers:
                layer.keys, layer.values = change(layer.keys), change(layer.values)

    def _layers(self) -> list[Any]:
        return [*self._cache.self_attention_cache.layers, *self._cache.cross_attention_cache.layers]


@dataclass(frozen=True, slots=True)
class Choice:
    """A row's next token, and its natural-log probability at temperature 1, without top_p."""

    token: int
    logprob: float


def choose(logits: Any, rows: Sequence[Drawn]) -> list[Choice]:
    """Choose the next token of each row, from float32 logits [rows, vocabulary]."""
    tokens = logits.argmax(dim=-1)
    sampled_rows = [index for index, row in enumerate(rows) if row.temperature > 0]
    if sampled_rows:
        tokens[sampled_rows] = _draw(logits[sampled_rows], [rows[index] for index in sampled_rows])
    logprobs = logits.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0]
    return [Choice(token, value) for token, value in zip(tokens.tolist(), logprobs.tolist(), strict=True)]


def _draw(logits: Any, rows: Sequence[Drawn]) -> Any:
    """Draw tokens by where a uniform number falls on the cumulative distribution, likeliest first, down to top_p.

    The number comes from Python's generator: the same on every device, whatever else is drawn meanwhile.
    """
    import torch

    temperatures, top_ps, uniform = (
        torch.tensor(values, dtype=torch.float32, device=logits.device)[:, None]
        for values in ([r.temperature for r in rows], [r.top_p for r in rows], [r.random.random() for r in rows])
    )
    peak = logits.max(dim=-1, keepdim=True).values  # subtracted first: no temperature is too low
    ordered, order = ((logits - peak) / temperatures).softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    below = ordered.cumsum(dim=-1) - ordered
    nucleus = ordered * (below < top_ps)
    sums = nucleus.cumsum(dim=-1)
    # The last token that can be drawn, for when rounding leaves the uniform number above every sum.
    last = (nucleus > 0).sum(dim=-1, keepdim=True) - 1
    rank = (sums <= uniform * sums[:, -1:]).sum(dim=-1, keepdim=True).minimum(last).clamp(min=0)  # of nan, too
    return order.gather(1, rank)[:, 0]
