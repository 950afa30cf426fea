"""Backends that run language models, one package each, behind one contract (`base`)."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from serve_app.engines.base import Engine, EngineCounters, EngineSettings, Meter, WeightsSettings
from serve_app.engines.llama_cpp.config import LlamaCppConfig
from serve_app.engines.llama_cpp.engine import LlamaCppEngine
from serve_app.engines.openai_api.config import OpenAiApiConfig
from serve_app.engines.openai_api.engine import OpenAiApiEngine
from serve_app.engines.replay.config import ReplayConfig
from serve_app.engines.replay.engine import ReplayEngine
from serve_app.engines.seq2seq.config import Seq2SeqConfig
from serve_app.engines.seq2seq.engine import Seq2SeqEngine
from serve_app.engines.vllm.config import VllmConfig
from serve_app.engines.vllm.engine import VllmEngine
from serve_app.engines.vllm.lora import VllmLoraConfig

__all__ = [
    "ENGINES",
    "Engine",
    "EngineConfig",
    "EngineCounters",
    "EngineSettings",
    "LlamaCppConfig",
    "Meter",
    "OpenAiApiConfig",
    "ReplayConfig",
    "Seq2SeqConfig",
    "VllmConfig",
    "VllmLoraConfig",
    "WeightsSettings",
    "load_engine",
]

EngineConfig: TypeAlias = Annotated[
    LlamaCppConfig | OpenAiApiConfig | ReplayConfig | Seq2SeqConfig | VllmConfig, Field(discriminator="engine")
]
"""Any engine's config, told apart by `engine`. Those that need model files are `WeightsSettings`.

`VllmLoraConfig` is not among them: an adapter is loaded with its base.
"""

ENGINES: dict[str, Callable[[Any, Path | None], Awaitable[Engine]]] = {
    "llama_cpp": LlamaCppEngine.load,
    "openai_api": OpenAiApiEngine.load,
    "replay": ReplayEngine.load,
    "seq2seq": Seq2SeqEngine.load,
    "vllm": VllmEngine.load,
}


async def load_engine(config: EngineConfig, weights: Path | None = None) -> Engine:
    """Load a model and return it, ready for requests.

    `weights` is the local file or folder, for `WeightsSettings` configs. Raises `EngineError` if the model cannot be
    loaded.
    """
    return await ENGINES[config.engine](config, weights)
