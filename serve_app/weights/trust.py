"""What may run code while a model's folder is loaded: refused, unless the config says `weights_trust: code`.

Pickles run what they name, and a folder can name Python modules of its own (`auto_map`, `modules.json`) that
transformers and sentence-transformers import. Other files, scripts that nothing names among them, are only data.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from serve_app.errors import WeightsError

WeightsTrust: TypeAlias = Annotated[
    Literal["data", "code"],
    Field(
        description="data: a folder with pickled weights or with Python code of its own is refused; code: both are "
        "loaded, and the code runs with all that the server may do."
    ),
]

_PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
_MODULE = re.compile(r"(modeling|configuration|tokenization|processing|image_processing|feature_extraction)_\w+\.py")
_OWN_CLASSES = "sentence_transformers."


def check_trust(folder: Path, trust: WeightsTrust) -> None:
    """Raise WeightsError, which names the file and the option, if loading the folder could run code from it.

    Pickles beside safetensors are allowed: the loaders are told to read the latter.
    """
    if trust == "data" and folder.is_dir() and (fault := next(_faults(folder), None)):
        raise WeightsError(
            f"The weights {str(folder)!r} were not loaded: {fault}. Use a version in safetensors without code, or, if "
            "you trust its author with your server, set weights_trust: code."
        )


def _faults(folder: Path) -> Iterator[str]:
    for part in _parts(folder):
        files = sorted(path for path in part.iterdir() if path.is_file())
        for file in files:
            name = file.relative_to(folder)
            if _MODULE.fullmatch(file.name):
                yield f"{name} is a Python module of its own"
            elif file.name.endswith("config.json") or file.name == "modules.json":
                yield from (f"{name} names {code}" for code in _code_in(file))
        suffixes = {file.suffix for file in files}
        if ".safetensors" not in suffixes:
            pickled = (file for file in files if file.suffix in _PICKLED)
            yield from (f"{file.relative_to(folder)} is a pickle, which can run code" for file in pickled)


def _parts(folder: Path) -> list[Path]:
    """Return the folders that are read: this one, and those of the parts that `modules.json` lists."""
    listed = _json(folder / "modules.json")
    paths = [entry.get("path") for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    parts = [folder / path for path in paths if isinstance(path, str) and path]
    inner = [path for part in parts for path in part.rglob("*") if path.is_dir()]  # a router's own parts
    return [part for part in dict.fromkeys([folder, *parts, *inner]) if part.is_dir()]


def _code_in(file: Path) -> Iterator[str]:
    """Yield what a JSON file names that its reader would import."""
    values = _json(file)
    if file.name == "modules.json":
        entries = values if isinstance(values, list) else []
        classes = [entry.get("type") for entry in entries if isinstance(entry, dict)]
    elif isinstance(values, dict):
        if values.get("auto_map"):
            yield "code in its auto_map"
        types = values.get("types")  # of router_config.json, which may be called config.json
        classes = list(types.values()) if isinstance(types, dict) else []
    else:
        classes = []
    yield from (f"the class {name!r}" for name in classes if not str(name).startswith(_OWN_CLASSES))


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # the loader that reads the file raises the error
