"""The files in configs/, read once."""

from functools import cache
from pathlib import Path

from serve_app.config import AppConfig
from serve_app.config.serve_file import ServeFile, load
from serve_app.planning.plan import Plan, plan_of

CONFIGS = Path(__file__).parents[2] / "configs"
PAPER = CONFIGS / "paper"
ALL = sorted(CONFIGS.rglob("*.yaml"))
PAPERS = sorted(PAPER.glob("*.yaml"))


@cache
def loaded(path: Path) -> ServeFile:
    return load(path)


def args_of(path: Path) -> AppConfig:
    return loaded(path).application.args


def planned(path: Path) -> Plan:
    return plan_of(loaded(path))


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS))
