"""`sbert`: cosine of sentence embeddings. All texts of all waiting requests are encoded in one call."""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from serve_app.common.options import OPERATIONAL
from serve_app.core.text.characters import whole
from serve_app.core.types.scores import Embedding, Matrix, Scores
from serve_app.core.types.signal_range import Range
from serve_app.errors import SignalError
from serve_app.signals.base import SignalOptions, TextSignal, freeze
from serve_app.torch_models import quiet
from serve_app.weights import WeightsSetting, WeightsTrust, check_trust

MOST_VECTORS = 4096
"""Texts whose vectors are remembered, so that a request may have its answers compared as they arrive."""


class SbertConfig(SignalOptions):
    """Cosine similarity of sentence embeddings (Reimers and Gurevych, 2019)."""

    needs_weights: ClassVar[bool] = True
    encodes_texts: ClassVar[bool] = True
    limits: ClassVar[Range | None] = Range(-1.0, 1.0, "angles")

    kind: Literal["sbert"] = "sbert"
    weights: WeightsSetting = Field(
        "hf://sentence-transformers/all-MiniLM-L6-v2@c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        description="A sentence-transformers model, or a plain encoder, which is then mean-pooled, like the paper's "
        "own choice, the signal sbert_mbert.",
    )
    sha256: str | None = Field(None, description="Checksum of the weights, if their source is one file.")
    weights_trust: WeightsTrust = "data"
    device: Annotated[str | None, OPERATIONAL] = Field(
        None, description="cpu, cuda, cuda:1, mps, ...; by default the fastest available."
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Number format that the model computes in."
    )
    batch_size: Annotated[int, OPERATIONAL] = Field(32, gt=0, description="Texts in one forward pass.")
    threads: Annotated[int | None, OPERATIONAL] = Field(
        None, gt=0, description="CPU threads, for all of torch in this process."
    )


class SbertSignal(TextSignal):
    """Cosines in float64, 1 for equal texts. May be called from several threads; the calls run one after another."""

    floor: ClassVar[float] = -1.0
    symmetric: ClassVar[bool] = True

    def __init__(self, model: Any, batch_size: int) -> None:
        self._model = model
        self._batch_size = batch_size
        self._parameters = sum(weights.numel() for weights in model.parameters())
        self._lock = Lock()  # the tokeniser cannot be shared by threads
        self._vectors: OrderedDict[str, Any] = OrderedDict()

    def compare(self, requests: Sequence[Sequence[str]], since: Sequence[int]) -> list[Scores]:
        """Return the matrices. Texts that were compared before are not encoded, nor charged, again."""
        if not any(requests):
            return [Scores(()) for _ in requests]
        with self._lock:
            before = [self._vectors.keys() & texts[:count] for texts, count in zip(requests, since, strict=True)]
            charged = [
                [text for text in dict.fromkeys(texts) if text not in recalled]
                for texts, recalled in zip(requests, before, strict=True)
            ]
            owners = Counter(chain(*charged))
            distinct = list(owners)
            again = [text for text in dict.fromkeys(chain(*before)) if text not in owners]
            vectors = self._recalling(distinct, again)
            tokens = self._tokens(distinct) if distinct else []
        rows = {text: row for row, text in enumerate([*distinct, *again])}
        flops = {
            text: 2.0 * self._parameters * count / owners[text] for text, count in zip(distinct, tokens, strict=True)
        }
        return [
            Scores(cosines(vectors[index], index), flops=sum((flops[text] for text in new), 0.0))
            for index, new in zip([[rows[text] for text in texts] for texts in requests], charged, strict=True)
        ]

    def _recalling(self, distinct: Sequence[str], again: Sequence[str]) -> Any:
        """Return the unit vectors of texts to encode, which are remembered, then those of texts to recall."""
        import torch

        recalled = [self._vectors[text] for text in again]
        encoded = self._encode(distinct) if distinct else ()
        for text, vector in zip(distinct, encoded, strict=True):
            self._vectors[text] = vector.clone()  # a view would keep the whole batch in memory
            self._vectors.move_to_end(text)
        while len(self._vectors) > MOST_VECTORS:
            self._vectors.popitem(last=False)
        return torch.stack([*encoded, *recalled]) if recalled else encoded

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """Return the vector of each text, cut to what the model reads. Other calls may come between its batches."""
        embeddings: list[Embedding] = []
        for start in range(0, len(texts), self._batch_size):
            batch = texts[start : start + self._batch_size]
            with self._lock:
                vectors, tokens = self._encode(batch).numpy().astype("<f4"), self._tokens(batch)
            embeddings += (
                Embedding(vector.tobytes(), count, 2.0 * self._parameters * count)
                for vector, count in zip(vectors, tokens, strict=True)
            )
        return embeddings

    def _encode(self, texts: Sequence[str]) -> Any:
        """Return unit vectors, shape (texts, dimensions), float64, on the CPU."""
        import torch

        with torch.inference_mode():
            vectors = self._model.encode(
                [whole(text) for text in texts],
                batch_size=self._batch_size,
                show_progress_bar=False,
                convert_to_tensor=True,
            )
            unit = torch.nn.functional.normalize(vectors.cpu().double(), dim=1)
        if not bool(torch.isfinite(unit).all()):
            raise SignalError("The sbert model returned numbers that are not finite; try dtype 'float32'.")
        return unit

    def _tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text that the model reads: all up to its maximum length."""
        limit = self._model.max_seq_length
        encoded = self._model.tokenizer(
            [whole(text) for text in texts],
            padding=False,
            truncation=limit is not None,
            max_length=limit,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        return [len(ids) for ids in encoded["input_ids"]]


def cosines(unit: Any, rows: Sequence[int]) -> Matrix:
    """Return the n x n cosines of n unit vectors, float64: symmetric, in -1..1, and 1 for texts of the same row."""
    products = unit @ unit.T
    # A matrix product may round S[i][j] and S[j][i] differently, and a vector's product with itself to less than 1.
    values = ((products + products.T) / 2).clamp(-1.0, 1.0).tolist()
    return freeze(
        [1.0 if row == column else value for column, value in zip(rows, line, strict=True)]
        for row, line in zip(rows, values, strict=True)
    )


def build(config: SbertConfig, weights: Path | None) -> SbertSignal:
    """Return the signal for these options, its model loaded from the local folder `weights`.

    Raises `SignalError` if sentence-transformers is missing, or the folder holds no model that it can load, and
    `WeightsError` if the folder could run code and the options do not trust it.
    """
    if weights is None or not weights.is_dir():
        raise SignalError(f"sbert needs the local folder that {config.weights!r} was fetched to, not {weights!r}.")
    check_trust(weights, config.weights_trust)
    try:
        import torch
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise SignalError(f"sbert cannot be loaded ({error}): pip install 'semantic-cascade[sbert]'.") from error
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    trusted = config.weights_trust == "code"
    try:
        with quiet():
            model = SentenceTransformer(
                str(weights),
                device=config.device,
                local_files_only=True,
                trust_remote_code=trusted,
                model_kwargs=None if trusted else {"use_safetensors": True},
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise SignalError(f"{str(weights)!r} holds no model that sentence-transformers can load: {error}") from error
    return SbertSignal(model.to(getattr(torch, config.dtype)).eval(), config.batch_size)
