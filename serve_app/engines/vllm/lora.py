"""LoRA adapters of a model that vLLM runs: what a user writes about one, and checks of its folder. Needs no vLLM."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from serve_app.engines.base import WeightsSettings
from serve_app.errors import EngineError

PEFT_CONFIG, PEFT_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM 0.29 takes as `max_lora_rank`."""
UNREAD = ("rank_pattern", "alpha_pattern")
"""Parts of PEFT's config that vLLM ignores: the adapter would load, and answer differently."""


class VllmLoraConfig(WeightsSettings):
    """A LoRA adapter as PEFT saves one. It answers in its base's replicas, with its base's options and abilities."""

    engine: Literal["vllm_lora"]
    base: str = Field(description="The model (engine: vllm) that this is an adapter of; its replicas answer for it.")


def lora_arguments(folders: Mapping[str, Path]) -> dict[str, Any]:
    """Return the arguments with which vLLM loads these adapters when it starts; all of them fit into one batch.

    Raises `EngineError` if a folder is not an adapter that vLLM can run.
    """
    if not folders:
        return {}
    rank = max(_rank(name, folder) for name, folder in folders.items())
    return {
        "enable_lora": True,
        "max_loras": len(folders),
        "max_lora_rank": next(size for size in RANKS if size >= rank),
        "lora_modules": [{"name": name, "path": str(folder)} for name, folder in folders.items()],
    }


def _rank(name: str, folder: Path) -> int:
    path = folder / PEFT_CONFIG
    if missing := [file for file in (path, folder / PEFT_WEIGHTS) if not file.is_file()]:
        raise EngineError(f"The adapter {name!r} must be a folder as PEFT saves it: there is no {missing[0]}.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"The adapter {name!r}: {path} cannot be read: {error}.") from None
    if not isinstance(values, dict):
        raise EngineError(f"The adapter {name!r}: {path} must be a JSON object.")
    if values.get("peft_type") != "LORA":
        raise EngineError(f"The adapter {name!r}: peft_type in {path} is {values.get('peft_type')!r}, not 'LORA'.")
    if unread := [key for key in UNREAD if values.get(key)]:
        raise EngineError(f"The adapter {name!r}: vLLM does not honour the {unread[0]} in {path}.")
    rank = values.get("r")
    if not isinstance(rank, int) or not 1 <= rank <= RANKS[-1]:
        raise EngineError(f"The adapter {name!r}: r in {path} must be 1 to {RANKS[-1]}, not {rank!r}.")
    return rank
