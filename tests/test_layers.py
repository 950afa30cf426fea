"""Imports point one way only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "serve_app"

# Who may import whom. `errors` may be imported by all; ruff keeps `ray` and the heavy libraries where they belong.
ALLOWED = {
    "core": set(),
    "errors": set(),
    "torch_models": set(),
    "weights": {"core"},
    "signals": {"core", "torch_models"},
    "engines": {"core", "torch_models"},
    "api": {"core"},
    "config": {"core", "engines", "signals", "weights"},
    "planning": {"config", "engines"},
    "deployments": {"api", "config", "core", "engines", "planning", "signals", "weights"},
    "evaluation": {"config", "core", "engines", "signals", "weights"},
    "cluster": {"config", "core", "deployments", "engines", "planning", "weights"},
    "app": {"config", "deployments", "signals"},
    "cli": {"app", "cluster", "config", "core", "deployments", "evaluation", "planning", "signals", "weights"},
}


def layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The parts of `serve_app` that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module] if node.module != "serve_app" else [f"serve_app.{n.name}" for n in node.names]
        elif isinstance(node, ast.Import):
            modules = [name.name for name in node.names]
        else:
            continue
        found |= {module.split(".")[1] for module in modules if module.startswith("serve_app.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    own = layer(path)
    if own != "__init__":
        assert imports(path) - {own, "errors"} <= ALLOWED[own]
