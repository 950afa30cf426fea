"""Folders whose loading could run code, and those whose loading cannot."""

import json
from pathlib import Path

import pytest

from serve_app.errors import WeightsError
from serve_app.weights.trust import check_trust

SAFE = {"config.json": {"model_type": "t5"}, "model.safetensors": ""}
MODULES = [
    {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
]


def written(folder: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"config.json": {}, "pytorch_model.bin": ""}, "pytorch_model.bin is a pickle"),
        ({"config.json": {}, "pytorch_model-00001-of-00002.bin": ""}, "pytorch_model-00001-of-00002.bin is a pickle"),
        ({"config.json": {}, "model.ckpt": ""}, "model.ckpt is a pickle"),
        ({"config.json": {}, "model.pt": ""}, "model.pt is a pickle"),
        ({"config.json": {}, "model.pkl": ""}, "model.pkl is a pickle"),
        (SAFE | {"config.json": {"auto_map": {"AutoModel": "m.M"}}}, "config.json names code in its auto_map"),
        (SAFE | {"tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["t.T", None]}}}, "tokenizer_config.json nam"),
        (SAFE | {"modeling_own.py": ""}, "modeling_own.py is a Python module"),
        (SAFE | {"modules.json": [{"path": "", "type": "modeling.M"}]}, "modules.json names the class 'modeling.M'"),
        (SAFE | {"modules.json": [{"path": "", "type": None}]}, "modules.json names the class None"),
        (SAFE | {"modules.json": MODULES, "2_Dense/pytorch_model.bin": ""}, "2_Dense/pytorch_model.bin is a pickle"),
        (
            SAFE | {"modules.json": MODULES, "2_Dense/router_config.json": {"types": {"a": "os.system"}}},
            "2_Dense/router_config.json names the class 'os.system'",
        ),
        (
            SAFE | {"modules.json": MODULES, "2_Dense/query/config.json": {"auto_map": {"AutoModel": "m.M"}}},
            "2_Dense/query/config.json names code in its auto_map",
        ),
    ],
)
def test_a_folder_that_could_run_code_is_refused(files: dict[str, object], fault: str, tmp_path: Path) -> None:
    folder = written(tmp_path, files)
    with pytest.raises(WeightsError) as caught:
        check_trust(folder, "data")
    assert fault in str(caught.value)
    assert str(caught.value).startswith(f"The weights {str(folder)!r} were not loaded: ")
    assert str(caught.value).endswith("set weights_trust: code.")
    check_trust(folder, "code")


@pytest.mark.parametrize(
    "files",
    [
        SAFE,
        SAFE | {"pytorch_model.bin": "", "training_args.bin": "", "optimizer.pt": ""},
        SAFE | {"train_script.py": "raise SystemExit", "data_config.json": [1], "1_Pooling/config.json": {}},
        SAFE | {"modules.json": MODULES, "2_Dense/model.safetensors": "", "2_Dense/pytorch_model.bin": ""},
        SAFE | {"original/consolidated.00.pth": ""},  # nothing reads that folder
        SAFE | {"config.json": "{"},
        {"model.gguf": ""},
    ],
    ids=["safetensors", "both", "minilm", "modules", "llama", "no-json", "gguf"],
)
def test_a_folder_of_data_is_loaded(files: dict[str, object], tmp_path: Path) -> None:
    check_trust(written(tmp_path, files), "data")
