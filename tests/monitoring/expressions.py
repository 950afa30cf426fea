"""The committed dashboard and rules, and the names in their PromQL."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "k8s" / "monitoring"
RULES: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["spec"]
ALL_RULES: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
RECORDED = [rule for rule in ALL_RULES if "record" in rule]
ALERTS = [rule for rule in ALL_RULES if "alert" in rule]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))

NAME = re.compile(r"\b(?:ray_\w+|cascade:\w+(?::\w+)?)")
SELECTED = re.compile(r"\b(ray_\w+)\s*\{([^}]*)\}")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPED = re.compile(r"\bby\s*\(([^)]*)\)")


def panel_expressions(window: str = "5m") -> list[tuple[str, str]]:
    """Return every panel's title and expression as Grafana sends it if all is selected; rates over `window`."""
    everything = {
        "$__rate_interval": window,
        "$__range": window,
        "$namespace": ".*",
        "$application": ".*",
        "$cascade": ".*",
    }
    expressions = []
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for variable, value in everything.items():
                expression = expression.replace(variable, value)
            expressions.append((f"{panel['title']} {target['refId']}", expression))
    return expressions


def left_side(alert: dict[str, Any]) -> str:
    """Return an alert's expression without its comparison."""
    return re.split(r" [<>]=? ", alert["expr"])[0]


def names(expression: str) -> set[str]:
    """Return the series that an expression reads: Ray's and the rules' own."""
    return set(NAME.findall(expression))


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Return the labels in the braces after each series' name."""
    return [(name, set(MATCHER.findall(inside))) for name, inside in SELECTED.findall(expression)]


def grouping(expression: str) -> list[set[str]]:
    """Return the labels of each `by`."""
    return [{label.strip() for label in inside.split(",")} for inside in GROUPED.findall(expression)]
