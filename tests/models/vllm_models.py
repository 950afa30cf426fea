"""Real models in Hugging Face format for vLLM, made from the quickstart's GGUF weights. Needs .venv-vllm.

    .venv-vllm/bin/python -m tests.models.vllm_models      # makes both (a minute), prints the folders

vLLM 0.29 takes no GGUF files on CPU, and no model hub is needed this way. The folders (bfloat16, 0.3 and 1.2 GB) stay
in the model cache. The k-quants' rounding stays, too: these are not the models as they were published.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from serve_app.config.serve_file import load
from serve_app.weights import cache_home, fetch

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
MODELS = ("smollm2-135m", "qwen-0.5b")
VERSION = "bf16-1"
"""Changes when the way of converting does."""


def folder(name: str) -> Path:
    """Return the folder of one of `MODELS`. If missing, a process makes it, which frees its memory when it ends."""
    target = cache_home() / "hugging-face-format" / f"{name}-{VERSION}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            making = target.parent / f"{target.name}.making"
            shutil.rmtree(making, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "tests.models.vllm_models", name, str(making)], check=True)
            making.rename(target)
    return target


def _convert(name: str, target: Path) -> None:
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    transformers.logging.disable_progress_bar()
    model = load(CONFIG).application.args.models[name]
    gguf = fetch(model.weights, model.sha256)
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    weights = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    # What is left of the quantisation would be written into the config, and vLLM would look for it.
    weights.hf_quantizer = None
    if hasattr(weights.config, "quantization_config"):
        del weights.config.quantization_config
    weights.save_pretrained(target)
    AutoTokenizer.from_pretrained(**source).save_pretrained(target)


if __name__ == "__main__":
    if sys.argv[1:]:
        _convert(sys.argv[1], Path(sys.argv[2]))
    else:
        for model in MODELS:
            print(folder(model))
