"""Made-up answers that agree on a chosen share of all prompts: for load tests, where only sizes and rates matter."""

from hashlib import sha256

from pydantic import Field

from serve_app.engines.base import Settings
from serve_app.engines.replay.tape import RecordedAnswer


class SyntheticAnswers(Settings):
    """Answers of a given length. Models with the same `agreement` agree on the same prompts.

    If they agree their texts are equal, else they have no word in common: any signal but a semantic one gives 1 or
    0 (BLEU nearly 0). So a tier with a threshold between defers a share `1 - agreement` of all prompts.
    """

    agreement: float = Field(ge=0, le=1, description="Share of prompts that all models answer alike.")
    variant: str = Field(description="Models with different ones differ where they disagree; the model's name will do.")
    completion_tokens: int = Field(default=128, gt=0, description="Words of an answer.")
    prompt_tokens: int | None = Field(default=None, ge=0, description="Of every prompt. Default: its words.")

    def answer(self, key: str, sample: int | None = None) -> RecordedAnswer:
        """Return the answer to a prompt's text. Samples of one model differ where models do."""
        digest = sha256(key.encode("utf-8", "surrogatepass")).digest()
        agree = int.from_bytes(digest[:8], "big") < self.agreement * 2**64
        variant = self.variant if sample is None else f"{self.variant}#{sample}"
        voice = digest if agree else sha256(digest + variant.encode()).digest()
        stem = voice.hex()[:6]
        text = " ".join(f"{stem}{number}" for number in range(self.completion_tokens))
        return RecordedAnswer(text=text, prompt_tokens=self.prompt_tokens)
