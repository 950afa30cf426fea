"""`bleurt`: a learned metric. All ordered pairs of all waiting requests are computed in batches of similar length.

`bleurt-pytorch` needs transformers 4 and the rest of this project transformers 5, so no environment can hold both, and
it is not an extra of this package. The signal runs in a deployment and an environment of its own; see
`bleurt_environment`.
"""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import nan
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from serve_app.common.options import OPERATIONAL
from serve_app.core.text.characters import whole
from serve_app.core.types.scores import Scores
from serve_app.errors import SignalError
from serve_app.signals.base import SignalOptions, TextSignal, freeze
from serve_app.torch_models import best_device, quiet
from serve_app.weights import WeightsSetting

PACKAGES = ("transformers==4.57.6", "bleurt-pytorch==0.0.1", "sentencepiece>=0.2,<0.3")
"""Packages that the environment has in addition to, or in place of, the server's own."""
MAX_TOKENS = 512
"""Tokens of a pair that every checkpoint of the BLEURT-20 family reads."""
SETUP_TIMEOUT_S = 1800
"""Ray copies the server's environment before it installs; that took five minutes on a busy machine."""

Pair = tuple[str, str]
"""Hypothesis, reference."""


class BleurtConfig(SignalOptions):
    """BLEURT (Sellam et al., 2020; Pu et al., 2021), a regression trained on human ratings. Not symmetric."""

    needs_weights: ClassVar[bool] = True
    isolated: ClassVar[bool] = True

    kind: Literal["bleurt"] = "bleurt"
    weights: WeightsSetting = Field(
        "hf://lucadiliello/BLEURT-20",
        description="A checkpoint for bleurt-pytorch: BLEURT-20 (579M parameters), or a distilled one, faster and less "
        "accurate: BLEURT-20-D12 (167M), -D6 (45M), -D3 (30M).",
    )
    sha256: str | None = Field(None, description="Checksum of the weights, if their source is one file.")
    environment: Annotated[str | None, OPERATIONAL] = Field(
        None,
        description="The python of an environment that has bleurt-pytorch, on every node (`make bleurt-env` makes "
        ".venv-bleurt/bin/python). By default Ray makes one when the server starts, which takes minutes.",
    )
    device: Annotated[str | None, OPERATIONAL] = Field(
        None, description="cpu, cuda, cuda:1, mps, ...; by default the fastest available."
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Number format that the model computes in."
    )
    batch_tokens: Annotated[int, OPERATIONAL] = Field(
        2048, gt=0, description="Tokens in one forward pass, padding included."
    )
    threads: Annotated[int | None, OPERATIONAL] = Field(
        None, gt=0, description="CPU threads, for all of torch in this process."
    )

    @field_validator("environment")
    @classmethod
    def _is_a_path(cls, environment: str | None) -> str | None:
        if environment is not None and "/" not in environment:
            raise ValueError("write the path of a python executable, such as .venv-bleurt/bin/python")
        return environment

    def runtime_env(self) -> dict[str, Any]:
        """Return Ray's description of the environment that the signal runs in."""
        if self.environment is not None:
            return {"py_executable": shlex.quote(self.environment)}  # Ray passes it to a shell
        return {"pip": {"packages": list(PACKAGES)}, "config": {"setup_timeout_seconds": SETUP_TIMEOUT_S}}


@dataclass(frozen=True, slots=True)
class Encoded:
    """A pair's token ids and segment types as the model reads them; `cut` if the pair was too long."""

    ids: Sequence[int]
    types: Sequence[int]
    cut: bool


class BleurtSignal(TextSignal):
    """The raw output of `BleurtForSequenceClassification` for each pair: unbounded, for BLEURT-20 about 0 to 1.

    May be called from several threads; the calls then run one after another.
    """

    floor: ClassVar[float] = 0.0
    symmetric: ClassVar[bool] = False

    def __init__(self, model: Any, tokenizer: Any, batch_tokens: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._batch_tokens = batch_tokens
        self._max_tokens = min(MAX_TOKENS, model.config.max_position_embeddings)
        self._parameters = sum(weights.numel() for weights in model.parameters())
        self._lock = Lock()  # the tokeniser cannot be shared by threads

    def compare(self, requests: Sequence[Sequence[str]], since: Sequence[int]) -> list[Scores]:
        """Return the matrices; a pair that several requests wait for is computed once and charged in equal shares."""
        requested = [_new_pairs(texts, count) for texts, count in zip(requests, since, strict=True)]
        owners = Counter(pair for pairs in requested for pair in set(pairs))
        with self._lock:
            encoded = self._encode(owners)
            values = dict(zip(encoded, self._values(list(encoded.values())), strict=True))
        shares = {pair: 2.0 * self._parameters * len(item.ids) / owners[pair] for pair, item in encoded.items()}
        return [
            Scores(
                freeze(
                    [1.0 if i == j else values.get((a, b), nan) for j, b in enumerate(texts)]
                    for i, a in enumerate(texts)
                ),
                flops=sum((shares[pair] for pair in dict.fromkeys(pairs)), 0.0),
                truncated_pairs=sum(encoded[pair].cut for pair in pairs),
            )
            for texts, pairs in zip(requests, requested, strict=True)
        ]

    def pairs(self, pairs: Sequence[Pair]) -> list[float]:
        """Return the value of each (hypothesis, reference), in this direction only; no text may be empty."""
        with self._lock:
            encoded = self._encode(dict.fromkeys(pairs))
            values = dict(zip(encoded, self._values(list(encoded.values())), strict=True))
        return [values[pair] for pair in pairs]

    def _encode(self, pairs: Iterable[Pair]) -> dict[Pair, Encoded]:
        """Tokenise each text once, whatever the number of its pairs."""
        pairs = list(pairs)
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        if not texts:
            return {}
        tokens = self._tokenizer(
            [whole(text) for text in texts],
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # silences its warning about long texts, which are cut below
        )["input_ids"]
        ids = dict(zip(texts, tokens, strict=True))
        return {(hypothesis, reference): self._pair(ids[reference], ids[hypothesis]) for hypothesis, reference in pairs}

    def _pair(self, reference: Sequence[int], hypothesis: Sequence[int]) -> Encoded:
        """Return [CLS] reference [SEP] hypothesis [SEP], the order that BLEURT was trained on."""
        room = self._max_tokens - self._tokenizer.num_special_tokens_to_add(pair=True)
        is_cut = len(reference) + len(hypothesis) > room
        if is_cut:
            # As BLEURT does: cut the longer of the two, and of two equal lengths the hypothesis.
            length = max(room - len(hypothesis), (room + 1) // 2)
            reference = reference[:length]
            hypothesis = hypothesis[: room - len(reference)]
        return Encoded(
            self._tokenizer.build_inputs_with_special_tokens(reference, hypothesis),
            self._tokenizer.create_token_type_ids_from_sequences(reference, hypothesis),
            is_cut,
        )

    def _values(self, pairs: Sequence[Encoded]) -> list[float]:
        import torch

        values = [0.0] * len(pairs)
        with torch.inference_mode():
            for batch in self._batches(pairs):
                logits = self._forward([pairs[row] for row in batch])
                for row, value in zip(batch, logits.flatten().tolist(), strict=True):
                    values[row] = value
        if not bool(torch.isfinite(torch.tensor(values)).all()):
            raise SignalError("The bleurt model returned numbers that are not finite; try dtype 'float32'.")
        return values

    def _batches(self, pairs: Sequence[Encoded]) -> Iterator[list[int]]:
        """Yield indices of pairs of similar length: as many as fit into `batch_tokens`, but at least one."""
        batch: list[int] = []
        for row in sorted(range(len(pairs)), key=lambda row: len(pairs[row].ids)):
            if batch and (len(batch) + 1) * len(pairs[row].ids) > self._batch_tokens:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _forward(self, batch: Sequence[Encoded]) -> Any:
        import torch

        longest = max(len(pair.ids) for pair in batch)
        padding = self._tokenizer.pad_token_id
        rows = [
            [
                [*pair.ids, *[padding] * (longest - len(pair.ids))],
                [*pair.types, *[0] * (longest - len(pair.ids))],
                [1] * len(pair.ids) + [0] * (longest - len(pair.ids)),
            ]
            for pair in batch
        ]
        ids, types, mask = torch.tensor(rows, device=self._model.device).unbind(1)
        return self._model(input_ids=ids, token_type_ids=types, attention_mask=mask).logits.float().cpu()


def _new_pairs(texts: Sequence[str], since: int) -> list[Pair]:
    """Return the ordered pairs of texts but those of the first `since`."""
    return [(texts[i], texts[j]) for i, j in permutations(range(len(texts)), 2) if max(i, j) >= since]


def build(config: BleurtConfig, weights: Path | None) -> BleurtSignal:
    """Return the signal for these options, its model loaded from the local folder `weights`.

    Raises `SignalError` outside its environment, or if the folder holds no BLEURT model.
    """
    try:
        import torch
        from bleurt_pytorch import BleurtForSequenceClassification, BleurtTokenizer
    except ImportError as error:
        raise SignalError(
            f"bleurt cannot be loaded here ({error}): it needs an environment of its own, with transformers 4. "
            "`make bleurt-env` makes .venv-bleurt; a server runs bleurt there if the signal's `environment` says "
            "so, and .venv-bleurt/bin/python does by itself."
        ) from error
    if weights is None or not (weights / "config.json").is_file():
        raise SignalError(
            f"bleurt needs the folder that {config.weights!r} was fetched to, with a config.json, not {weights!r}."
        )
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    try:
        with quiet():
            tokenizer = BleurtTokenizer.from_pretrained(str(weights), local_files_only=True)
            # Its checkpoints are published as pickles; read as bare tensors they can run nothing.
            model, loading = BleurtForSequenceClassification.from_pretrained(
                str(weights), local_files_only=True, weights_only=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise SignalError(f"{str(weights)!r} holds no model that bleurt-pytorch can load: {error}") from error
    if missing := loading["missing_keys"]:
        raise SignalError(f"{str(weights)!r} holds no whole BLEURT model: it lacks {min(missing)!r} and perhaps more.")
    _first_token_only(model)
    device = config.device or best_device()
    return BleurtSignal(model.to(device, getattr(torch, config.dtype)).eval(), tokenizer, config.batch_tokens)


def _first_token_only(model: Any) -> None:
    """Compute only the first token in the last layer, which is all that the head reads: a quarter less work for D3."""
    attention = model.bleurt.encoder.layer[-1].attention
    for module in (attention.self.query, attention.output):
        module.register_forward_pre_hook(lambda _, states: tuple(state[:, :1] for state in states))
