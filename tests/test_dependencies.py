"""pyproject.toml declares what the code imports, and no core dependency that nothing imports."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"serve_app", "tests", "loadtests", "k8s", "load"}
FOR_DEVELOPMENT = {"dev", "docs", "load"}
"""Extras that no module of serve_app may rely on."""
ELSEWHERE = {
    "bleurt_pytorch": "installed into an environment of its own by serve_app/signals/bleurt_environment.py",
    "bert_score": "installed by users into the environment that a metric names",
    "comet": "the same",
    **dict.fromkeys(
        ("automix", "cascade", "cascadeflow", "pandas", "ucci"),
        "installed into environments of their own by loadtests/peers/environments.py",
    ),
    "helm_python": "installed into an environment of its own by make helm-env",
    "results": "docs/recorded/results.py, which loadtests/benches/bench_peers.py imports from its folder",
}
"""Imported, but in no extra."""
RUN_ONLY = {"pip": "weights/pypi.py runs it as a process"}
"""Core dependencies that are not imported."""


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names_of(requirements: Iterable[str]) -> set[str]:
    names = {normalized(match[0]) for line in requirements if (match := re.match(r"[\w.-]+", line))}
    return names - {normalized(PROJECT["name"])}


DISTRIBUTIONS = packages_distributions()
CORE = names_of(PROJECT["dependencies"])
EXTRAS = {extra: names_of(lines) for extra, lines in PROJECT["optional-dependencies"].items()}


def third_party(path: Path) -> set[str]:
    """Return the dotted names of the third-party modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name for name in names if name.split(".")[0] not in OURS | sys.stdlib_module_names | ELSEWHERE.keys()}


@cache
def owners(module: str) -> frozenset[str]:
    """Return the distributions that hold a module, or the one of the same name if it is not installed."""
    top = module.split(".")[0]
    names = set(DISTRIBUTIONS.get(top, [top]))
    if len(names) > 1:  # a namespace that several share, such as opentelemetry
        names = {name for name in names if holds(name, module)}
    return frozenset(map(normalized, names))


def holds(name: str, module: str) -> bool:
    stem = module.replace(".", "/")
    return any(str(file) in (f"{stem}.py", f"{stem}/__init__.py") for file in distribution(name).files or ())


def undeclared(folder: str, declared: set[str]) -> dict[str, set[str]]:
    modules = {path: third_party(path) for path in (ROOT / folder).rglob("*.py")}
    missing = {
        str(path.relative_to(ROOT)): {name for name in names if not owners(name) & declared}
        for path, names in modules.items()
    }
    return {path: names for path, names in missing.items() if names}


def test_serve_app_imports_only_what_is_declared() -> None:
    extras = [names for extra, names in EXTRAS.items() if extra not in FOR_DEVELOPMENT]
    assert undeclared("serve_app", CORE.union(*extras)) == {}


@pytest.mark.parametrize("folder", ["tests", "loadtests", "k8s", "configs"])
def test_the_tools_around_it_import_only_what_is_declared(folder: str) -> None:
    assert undeclared(folder, CORE.union(*EXTRAS.values())) == {}


def test_a_core_dependency_is_imported_somewhere() -> None:
    imported = {name for path in (ROOT / "serve_app").rglob("*.py") for name in third_party(path)}
    assert CORE - set().union(*map(owners, imported)) == RUN_ONLY.keys()
