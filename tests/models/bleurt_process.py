"""The signal `bleurt`, and its reference, in a process of the environment that they need; ours cannot import them.

.venv-bleurt/bin/python -m tests.models.bleurt_process CHECKPOINT      reads pickled (method, arguments), writes results
.venv-bleurt/bin/python -m tests.models.bleurt_process CHECKPOINT --make
"""

import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from serve_app.core.types.scores import Scores
from serve_app.errors import SignalError
from serve_app.signals import BleurtConfig
from serve_app.signals.bleurt_environment import make_environment

ROOT = Path(__file__).parents[2]
SENTENCES = [
    "The capital of France is Paris.",
    "Paris is the capital of France, I believe.",
    "I do not know, but a bird chirps by the window.",
    "This looks like a random sentence about 42 cats.",
]
UNSCORABLE = "[MASK]"
"""A token for which the tiny model returns no finite number, so that comparing texts with it fails."""
PARAMETERS = 5088 + 144 + 2 * 2224 + 272 + 17
"""Of the tiny model: embeddings and their projection, two layers, pooler, head."""


def environment() -> Path:
    """Return the python of .venv-bleurt, which is created if missing (ten seconds)."""
    return make_environment(ROOT / ".venv-bleurt")


def make(python: Path, folder: Path) -> Path:
    """Write a tiny checkpoint with the package's own classes."""
    command = [str(python), "-m", "tests.models.bleurt_process", str(folder), "--make"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


class BleurtProcess:
    """A `Signal` that is computed elsewhere."""

    floor = 0.0
    symmetric = False

    def __init__(self, python: Path, checkpoint: Path) -> None:
        command = [str(python), "-m", "tests.models.bleurt_process", str(checkpoint)]
        self._errors = TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )

    def call(self, method: str, *arguments: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        pickle.dump((method, arguments), self._process.stdin)
        self._process.stdin.flush()
        result = pickle.load(self._process.stdout)
        if isinstance(result, Exception):
            raise result
        return result

    def similarities(self, requests: Sequence[Sequence[str]], since: Sequence[int] = ()) -> list[Scores]:
        scores: list[Scores] = self.call("similarities", [list(texts) for texts in requests], None, list(since))
        return scores

    def errors(self) -> str:
        """Return what the process has written to its standard error so far."""
        self._errors.seek(0)
        return self._errors.read().decode()

    def close(self) -> str:
        """End the process, and return all that it has written to its standard error."""
        self._process.communicate()
        with self._errors:
            return self.errors()


class Inside:
    """What the process can do."""

    def __init__(self, checkpoint: Path) -> None:
        from bleurt_pytorch import BleurtForSequenceClassification, BleurtTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()
        self.checkpoint = checkpoint
        self.signal = self.build({})
        self.tokenizer = BleurtTokenizer.from_pretrained(str(checkpoint))
        self.model = BleurtForSequenceClassification.from_pretrained(str(checkpoint)).eval()

    def build(self, options: dict[str, Any]) -> Any:
        from serve_app.signals import build_signal

        return build_signal(BleurtConfig.model_validate({"device": "cpu", "threads": 1, **options}), self.checkpoint)

    def similarities(
        self, requests: list[list[str]], options: dict[str, Any] | None = None, since: Sequence[int] = ()
    ) -> list[Scores]:
        signal = self.build(options) if options else self.signal
        scores: list[Scores] = signal.similarities(requests, since)
        return scores

    def reference(self, pairs: list[tuple[str, str]]) -> list[float]:
        """Score (hypothesis, reference) pairs one at a time as the package's README does, with its truncation."""
        import torch

        values = []
        for candidate, reference in pairs:
            with torch.no_grad():
                inputs = self.tokenizer(
                    [reference],
                    [candidate],
                    padding="longest",
                    truncation="longest_first",
                    max_length=512,
                    return_tensors="pt",
                )
                values += self.model(**inputs).logits.flatten().tolist()
        return values

    def tokens(self, pairs: list[tuple[str, str]]) -> list[int]:
        return [len(self.tokenizer(reference, candidate)["input_ids"]) for candidate, reference in pairs]

    def failure(self, folder: str) -> str:
        from serve_app.signals import build_signal

        try:
            build_signal(BleurtConfig(), Path(folder))
        except SignalError as error:
            return str(error)
        return ""


def make_checkpoint(folder: Path) -> None:
    """Make a random checkpoint with values between 0.05 and 0.95, as the contract of signals requires.

    Texts with `UNSCORABLE` have none.
    """
    import sentencepiece
    import torch
    from bleurt_pytorch import BleurtConfig as ModelConfig
    from bleurt_pytorch import BleurtForSequenceClassification
    from bleurt_pytorch.bleurt.tokenization_bleurt_sp import BleurtSPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5),
        model_prefix=str(folder / "trained"),
        vocab_size=100,
        hard_vocab_limit=False,
        byte_fallback=False,
        pad_id=0,
        pad_piece="[PAD]",
        unk_id=1,
        unk_piece="[UNK]",
        bos_id=2,
        bos_piece="[CLS]",
        eos_id=3,
        eos_piece="[SEP]",
        control_symbols=["[MASK]"],
        minloglevel=2,
    )
    tokenizer = BleurtSPTokenizer(str(folder / "trained.model"), do_lower_case=False)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = BleurtForSequenceClassification(
        ModelConfig(
            vocab_size=120,
            embedding_size=8,  # like the distilled ones, smaller than the hidden size
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=512,
            initializer_range=0.5,
            hidden_dropout_prob=0.5,  # evaluation mode must be on
        )
    )
    with torch.no_grad():
        model.classifier.weight *= 0.45 / model.classifier.weight.abs().sum()
        model.classifier.bias.fill_(0.5)
        unscorable = tokenizer.convert_tokens_to_ids(UNSCORABLE)
        model.get_input_embeddings().weight[unscorable].fill_(float("nan"))
    model.save_pretrained(folder)


def main() -> None:
    folder = Path(sys.argv[1])
    if "--make" in sys.argv:
        make_checkpoint(folder)
        return
    inside = Inside(folder)
    while True:
        try:
            method, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            result = getattr(inside, method)(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shall see it
            result = error
        pickle.dump(result, sys.stdout.buffer)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
