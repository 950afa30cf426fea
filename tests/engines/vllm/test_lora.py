"""What vLLM is told of adapters, from their folders alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from serve_app.engines.vllm.lora import RANKS, lora_arguments
from serve_app.errors import EngineError

PEFT = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}


def adapter(folder: Path, **values: Any) -> Path:
    folder.mkdir()
    (folder / "adapter_model.safetensors").touch()
    (folder / "adapter_config.json").write_text(json.dumps(PEFT | values))
    return folder


def test_all_adapters_fit_into_a_batch_at_the_rank_of_the_largest(tmp_path: Path) -> None:
    folders = {"sql": adapter(tmp_path / "a", r=8), "law": adapter(tmp_path / "b", r=33)}
    assert lora_arguments(folders) == {
        "enable_lora": True,
        "max_loras": 2,
        "max_lora_rank": 64,
        "lora_modules": [{"name": "sql", "path": f"{tmp_path}/a"}, {"name": "law", "path": f"{tmp_path}/b"}],
    }
    assert lora_arguments({}) == {}


@pytest.mark.parametrize(("rank", "offered"), [(1, 1), (2, 8), (8, 8), (300, 320), (512, 512)])
def test_ranks(tmp_path: Path, rank: int, offered: int) -> None:
    assert lora_arguments({"x": adapter(tmp_path / "x", r=rank)})["max_lora_rank"] == offered


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"r": 513}, r"The adapter 'x': r in .*x/adapter_config\.json must be 1 to 512, not 513\."),
        ({"r": None}, "must be 1 to 512, not None"),
        ({"peft_type": "LOHA"}, r"peft_type in .* is 'LOHA', not 'LORA'\."),
        ({"alpha_pattern": {"q_proj": 4}}, "vLLM does not honour the alpha_pattern in"),
        ({"rank_pattern": {"q_proj": 4}}, "vLLM does not honour the rank_pattern in"),
    ],
)
def test_what_vllm_would_run_as_something_else(tmp_path: Path, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EngineError, match=sentence):
        lora_arguments({"x": adapter(tmp_path / "x", **values)})


def test_a_folder_that_is_no_adapter(tmp_path: Path) -> None:
    for missing in ("adapter_config.json", "adapter_model.safetensors"):
        with pytest.raises(EngineError, match=f"'x' must be a folder as PEFT saves it: there is no .*{missing}"):
            lora_arguments({"x": tmp_path})
        (tmp_path / missing).touch()
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(EngineError, match="cannot be read"):
        lora_arguments({"x": tmp_path})
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(EngineError, match="must be a JSON object"):
        lora_arguments({"x": tmp_path})


@pytest.mark.vllm
def test_vllm_takes_these_ranks() -> None:
    from typing import get_args

    from vllm.config.lora import MaxLoRARanks

    assert get_args(MaxLoRARanks) == RANKS
