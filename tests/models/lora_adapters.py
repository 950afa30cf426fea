"""LoRA adapters in PEFT's format, made by hand from random numbers, and what they come to. Needs .venv-vllm."""

import json
from pathlib import Path
from typing import Any

ALPHA = 16
LEAD = 1e-3
"""Of the likeliest token over the next, in log-probability: rounding in float32 reaches 2e-5 or so."""


def make(folder: Path, base: Path, *, rank: int, modules: tuple[str, ...], seed: int, scale: float) -> Path:
    """Write an adapter of every layer's `modules` (such as q_proj); `scale` is the deviation of its numbers."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    with safe_open(base / "model.safetensors", framework="pt") as weights:
        for name in sorted(weights.keys()):
            path = name.removesuffix(".weight")
            if path.endswith(modules):
                rows, columns = weights.get_slice(name).get_shape()
                for part, shape in (("A", (rank, columns)), ("B", (rows, rank))):
                    values = torch.randn(shape, generator=generator) * scale
                    tensors[f"base_model.model.{path}.lora_{part}.weight"] = values
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": ALPHA, "target_modules": list(modules), "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def merged(base: Path, adapter: Path | None) -> Any:
    """Load the base in float32 with W + B A alpha / r in place of every weight W that is adapted."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is None:
        return model
    config = json.loads((adapter / "adapter_config.json").read_text())
    tensors = load_file(adapter / "adapter_model.safetensors")
    with torch.no_grad():
        for name, a in tensors.items():
            if name.endswith("lora_A.weight"):
                weight = model.get_parameter(name.removeprefix("base_model.model.").replace("lora_A.", ""))
                b = tensors[name.replace("lora_A", "lora_B")]
                weight += b @ a * (config["lora_alpha"] / config["r"])
    return model


def greedy(model: Any, base: Path, question: str, max_tokens: int) -> tuple[str, list[float]]:
    """Return the answer of a model of transformers, with the log-probability of each token but the end.

    Fails if two tokens are so close that another implementation's rounding may choose the other.
    """
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    messages = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    output = model.generate(
        **prompt, max_new_tokens=max_tokens, do_sample=False, output_scores=True, return_dict_in_generate=True
    )
    tokens = output.sequences[0, prompt["input_ids"].shape[1] :].tolist()
    best = [torch.log_softmax(scores[0], -1).topk(2).values.tolist() for scores in output.scores]
    assert min(first - second for first, second in best) > LEAD, "a tie: choose other adapters, or another question"
    logprobs = [first for first, _ in best]
    length = len(tokens) - (tokens[-1] == tokenizer.eos_token_id)
    return tokenizer.decode(tokens[:length]), logprobs[:length]
