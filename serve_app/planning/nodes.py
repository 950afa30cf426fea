"""Nodes of a cluster as a user writes them, on the command line or in a file, for `cascade plan`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, PositiveInt, ValidationError, model_validator

from serve_app.config.deployment import Resources
from serve_app.config.explain import explain
from serve_app.config.strict import Strict
from serve_app.config.yaml_file import read_yaml
from serve_app.errors import ConfigError
from serve_app.planning.feasibility import NodeGroup

MOST_NODES = 10_000
"""Limit of nodes that are alike: replicas are placed node by node, and more is a typing error."""
EXAMPLE = "'{CPU: 32, GPU: 8, accelerator_type:L4: 1} x 4'"


class Nodes(Strict):
    """Nodes that are alike. With `max_count` an autoscaler may add some."""

    name: str | None = Field(None, description="Default: node1, node2, ...")
    resources: Resources = Field(description="By Ray's names: CPU, GPU, memory (bytes), accelerator_type:L4.")
    count: int = Field(1, ge=0, le=MOST_NODES, description="How many there are.")
    max_count: PositiveInt | None = Field(
        None, le=MOST_NODES, description="How many an autoscaler makes of them. Default: count."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_count is not None and self.max_count < self.count:
            raise ValueError(f"max_count: must be at least count ({self.count})")
        return self


class NodesFile(Strict):
    """The file: `nodes`, a list."""

    nodes: list[Nodes] = Field(min_length=1)


def read(path: Path | None, arguments: Sequence[str]) -> list[NodeGroup]:
    """Return the nodes of a file and those of the command line, each like `{CPU: 8, GPU: 1} x 2`.

    Raises ConfigError with a sentence for each thing that is wrong.
    """
    groups = [*(_file(path) if path else []), *map(_argument, arguments)]
    return [_group(number, nodes) for number, nodes in enumerate(groups, 1)]


def _file(path: Path) -> list[Nodes]:
    return _checked(str(path), read_yaml(path, "file")).nodes


def _argument(text: str) -> Nodes:
    match = re.fullmatch(r"\s*(\{.*\})\s*(?:x\s*(\d+)\s*)?", text)
    try:
        resources = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        resources = None
    if match is None or not isinstance(resources, dict):
        raise ConfigError(f"--node: must be resources of a node, such as {EXAMPLE}, got {text!r}.")
    return _checked("--node", {"nodes": [{"resources": resources, "count": int(match[2] or 1)}]}).nodes[0]


def _checked(source: str, values: Any) -> NodesFile:
    try:
        return NodesFile.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{source}: {sentence}" for sentence in explain(error, NodesFile))) from None


def _group(number: int, nodes: Nodes) -> NodeGroup:
    return NodeGroup(nodes.name or f"node{number}", nodes.resources, nodes.count, nodes.max_count or nodes.count)
