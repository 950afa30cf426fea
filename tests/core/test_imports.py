"""What importing a package pulls in, seen in a fresh interpreter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CORE = {"ray", "torch", "transformers", "vllm", "xllamacpp", "pydantic", "fastapi", "starlette", "numpy", "httpx"}
LIGHT = {"ray", "torch", "transformers", "sentence_transformers", "vllm", "xllamacpp"}

SCRIPT = """
import importlib, json, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def imported(package: str) -> set[str]:
    """Return the top-level packages in `sys.modules` once every module of `package` is imported."""
    result = subprocess.run([sys.executable, "-c", SCRIPT, package], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout))


@pytest.mark.parametrize("package", ["serve_app.core", "serve_app.common"])
def test_these_need_the_standard_library_only(package: str):
    modules = imported(package)
    assert not modules & CORE
    # Names that start with an underscore, and the editable install's finder, are the interpreter's own start-up.
    third_party = modules - set(sys.stdlib_module_names) - {"serve_app"}
    assert {name for name in third_party if not name.startswith("_") and "editable" not in name} <= {
        "distutils-precedence"
    }


def test_the_api_imports_nothing_heavy():
    assert not imported("serve_app.api") & LIGHT


def test_evaluation_imports_nothing_heavy():
    assert not imported("serve_app.evaluation") & (LIGHT | {"datasets", "fastapi", "sacrebleu"})


def test_planning_imports_nothing_heavy():
    assert not imported("serve_app.planning") & LIGHT


def test_a_config_is_read_without_ray():
    read = "import sys; from pathlib import Path; from serve_app.config.serve_file import load; load(Path(sys.argv[1]))"
    config = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
    check = f"{read}; sys.exit('ray' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", check, config], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
