"""Imports point one way only, and no room is crowded."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
ROOT = PROJECT / "serve_app"
MODULES = sorted(ROOT.rglob("*.py"))
FOLDERS = sorted(
    {path.parent for name in ("serve_app", "tests", "loadtests") for path in (PROJECT / name).rglob("*.py")}
)
MOST_MODULES = 14

# Which rooms a room may import. Every room may import `errors`; a room's own modules may import each other. A folder
# that is not listed belongs to the room of its parent. Ruff keeps `ray` and the heavy libraries where they belong.
ENGINES = {"common", "core", "torch_models", "engines.base", "engines.running", "engines.wire"}
METRICS = {"config", "core", "signals", "weights", "evaluation.records"}
EVALUATION = METRICS | {"engines", "evaluation.metrics", "evaluation.statistics"}
COMMAND = EVALUATION | {"evaluation.analysis", "files", "skipping", "terminal"}
CLUSTER = {"common", "config", "core", "engines", "planning", "weights", "cluster"}
ALLOWED: dict[str, set[str]] = {
    "common": set(),
    "core": set(),
    "errors": set(),
    "torch_models": set(),
    "confinement": set(),
    "files": {"core"},
    "terminal": set(),
    "weights": {"core", "files", "terminal"},
    "signals": {"common", "core", "torch_models", "weights"},
    "engines": {"core", "engines"},
    "engines.base": {"common", "core", "weights"},
    "engines.running": {"core", "engines.base"},
    "engines.wire": {"core", "engines.base", "engines.running"},
    "engines.llama_cpp": ENGINES,
    "engines.openai_api": ENGINES,
    "engines.replay": ENGINES | {"files"},
    "engines.seq2seq": ENGINES,
    "engines.vllm": ENGINES,
    "api": {"common", "core", "engines.wire"},
    "config": {"common", "confinement", "core", "engines", "signals", "weights"},
    "planning": {"config", "core", "engines"},
    "skipping": {"config", "core", "files"},
    "page": {"api", "core", "signals"},
    "deployments": {
        "api",
        "common",
        "config",
        "confinement",
        "core",
        "engines",
        "page",
        "planning",
        "signals",
        "skipping",
        "weights",
    },
    "evaluation": set(),
    "evaluation.statistics": set(),
    "evaluation.records": {"config", "core", "files"},
    "evaluation.metrics": METRICS,
    "evaluation.analysis": EVALUATION | {"skipping"},
    "evaluation.collect": EVALUATION - {"evaluation.metrics", "evaluation.statistics"} | {"common", "terminal"},
    "evaluation.importing": {"config", "core", "engines", "evaluation.records", "files", "terminal"},
    "evaluation.evaluate": COMMAND | {"confinement"},
    "evaluation.calibrate": COMMAND,
    "evaluation.choose": COMMAND,
    "evaluation.fit_skip": COMMAND,
    "cluster": CLUSTER,
    "cluster.render": CLUSTER,
    "cluster.check": CLUSTER - {"weights"},
    "cluster.live": CLUSTER - {"weights"},
    "app": {"config", "deployments", "signals"},
    "cli": {
        "app",
        "cluster",
        "common",
        "config",
        "core",
        "deployments",
        "evaluation",
        "files",
        "planning",
        "signals",
        "terminal",
        "weights",
    },
}
LOOSE = {"__init__.py", "app.py", "errors.py", "torch_models.py"}


def room(name: str) -> str:
    """Return the longest listed beginning of a dotted name: `engines.wire` of `engines.wire.answer`."""
    parts = name.split(".")
    beginnings = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((beginning for beginning in beginnings if beginning in ALLOWED), parts[0])


def imports(path: Path) -> set[str]:
    """Return the dotted names of the modules of `serve_app` that a file imports anywhere, without `serve_app.`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            # What is imported may be a module itself.
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.removeprefix("serve_app.") for name in names if name.startswith("serve_app.")} - {"__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    if own == "__init__":
        return
    allowed = ALLOWED[own] | {own, "errors"}
    assert {
        name for name in imports(path) if not any(_within(room(name), importable) for importable in allowed)
    } == set()


def _within(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(f"{allowed}.")


def test_nothing_stands_loose_beside_the_rooms() -> None:
    assert {path.name for path in ROOT.glob("*.py")} == LOOSE


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_folder_is_crowded(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MOST_MODULES


def documented_layers() -> dict[str, set[str]]:
    """Return the rooms that each top-level room may import, as the table of docs/architecture.md says."""
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## Layers")[2].partition("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    rooms = {where.strip("`").removesuffix(".py").rstrip("/"): importable for where, _, importable in cells}
    return {room: set(re.findall(r"[a-z_]+", importable)) & rooms.keys() for room, importable in rooms.items()}


def test_the_documented_layers_are_the_allowed_ones() -> None:
    shared = {"errors", "torch_models"}
    allowed: dict[str, set[str]] = {}
    for name, importable in ALLOWED.items():
        top = name.split(".")[0]
        allowed.setdefault(top, set()).update({room_name.split(".")[0] for room_name in importable} - shared - {top})
    assert documented_layers() == {top: importable for top, importable in allowed.items() if top not in shared}


def test_the_documented_layers_point_downwards() -> None:
    layers = documented_layers()
    order = list(layers)
    upwards = {
        (room, imported) for room in order for imported in layers[room] if order.index(imported) < order.index(room)
    }
    assert upwards == set()
