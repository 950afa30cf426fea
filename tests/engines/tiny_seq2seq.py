"""Tiny encoder-decoders, made with transformers' own classes and saved as the hub has them."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

from serve_app.torch_models import quiet

STORY = (
    "Once upon a time there was an old dog who lived by some river and every day he walked to his harbour, where "
    "fishermen threw him fish; then home again."
)
"""No word twice, so that the next word follows from the last one alone."""
LESSONS = {
    "Hello": "Hi there.",
    "The capital of France is": "It is Paris.",
    "What is the capital of France? Answer in one word.": "It is Paris.",
    "Repeat: 你好 世界 🎉🚀 你好 世界 🎉🚀 你好": "你好 世界 🎉🚀 你好",
}
STORY_PROMPTS = ["Tell me a long story about a dog.", *("story " * size for size in (1, 8, 24))]
SIZES: dict[str, Any] = {
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_heads": 4,
    "num_decoder_layers": 2,
    "decoder_start_token_id": 0,
}
STEPS = 60
PATIENCE_LAYERS = 60
"""Encoder layers that change nothing, so that reading 1400 tokens takes as long as with a real model."""


def tokenizer() -> T5Tokenizer:
    """Return a tokenizer of whole words, with single characters for all other text."""
    texts = [*LESSONS, *LESSONS.values(), *STORY_PROMPTS, STORY, "filler"]
    words = dict.fromkeys(f"▁{word}" for text in texts for word in text.split())
    letters = dict.fromkeys("".join(texts).replace(" ", ""))
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    pieces += [(word, -2.0) for word in words] + [(letter, -6.0) for letter in letters if f"▁{letter}" not in words]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def save(model: Any, folder: Path) -> Path:
    with quiet():
        model.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    return folder


def trained_t5(folder: Path) -> Path:
    """Train a T5 that has learnt its lessons by heart and tells its story without end, in two seconds."""
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(tokenizer()), num_layers=2, dropout_rate=0.0, **SIZES)
    model = T5ForConditionalGeneration(config)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two threads for so little work mostly wait for each other
    train(model)
    torch.set_num_threads(threads)
    return save(slow_reader(model), folder)


def train(model: T5ForConditionalGeneration) -> None:
    words = tokenizer()
    story = words(f"{STORY} {STORY}", add_special_tokens=False)["input_ids"]
    answers = [words(answer)["input_ids"] for answer in LESSONS.values()] + [story] * len(STORY_PROMPTS)
    prompts = words([*LESSONS, *STORY_PROMPTS], padding=True, return_tensors="pt")
    labels = torch.tensor([answer + [-100] * (len(story) - len(answer)) for answer in answers])
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        optimiser.zero_grad()
        model(**prompts, labels=labels).loss.backward()
        optimiser.step()


def slow_reader(model: T5ForConditionalGeneration) -> T5ForConditionalGeneration:
    """Return the same model with additional encoder layers that add nothing to the residual stream."""
    config = T5Config(**{**model.config.to_dict(), "num_layers": 2 + PATIENCE_LAYERS})
    slower = T5ForConditionalGeneration(config)
    slower.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        for block in slower.encoder.block[2:]:
            block.layer[0].SelfAttention.o.weight.zero_()
            block.layer[1].DenseReluDense.wo.weight.zero_()
    return slower


def random_mt5(folder: Path) -> Path:
    """Return an mT5, as mT0 is, with an output layer of its own and weights drawn such that its answers vary."""
    torch.manual_seed(1)
    config = MT5Config(vocab_size=len(tokenizer()), num_layers=2, feed_forward_proj="gated-gelu", **SIZES)
    model = MT5ForConditionalGeneration(config)
    model.lm_head.weight = torch.nn.Parameter(0.5 * torch.randn(model.lm_head.weight.shape))
    return save(model, folder)


def random_bart(folder: Path) -> Path:
    """Return a BART: absolute positions, and an answer that must begin with a certain token."""
    torch.manual_seed(3)
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    tokens = {"pad_token_id": 0, "bos_token_id": 3, "eos_token_id": 1, "decoder_start_token_id": 1}
    config = BartConfig(
        vocab_size=len(tokenizer()),
        d_model=64,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_position_embeddings=128,
        init_std=0.1,
        forced_bos_token_id=3,
        forced_eos_token_id=None,
        **layers,
        **tokens,
    )
    model = BartForConditionalGeneration(config)
    with torch.no_grad():
        model.model.decoder.embed_positions.weight.mul_(8)  # so that its answers vary with the place
    return save(model, folder)
