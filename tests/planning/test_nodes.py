"""Nodes as a user writes them."""

from pathlib import Path

import pytest

from serve_app.errors import ConfigError
from serve_app.planning.feasibility import NodeGroup
from serve_app.planning.nodes import read


def test_on_the_command_line() -> None:
    assert read(None, ["{CPU: 8, GPU: 1} x 2", '{"CPU": 4}']) == [
        NodeGroup("node1", {"CPU": 8, "GPU": 1}, 2, 2),
        NodeGroup("node2", {"CPU": 4}, 1, 1),
    ]


def test_in_a_file_and_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "nodes.yaml"
    path.write_text("nodes:\n- {name: gpu, resources: {CPU: 8, GPU: 4}, count: 0, max_count: 3}\n")
    assert read(path, ["{CPU: 4}"]) == [
        NodeGroup("gpu", {"CPU": 8, "GPU": 4}, 0, 3),
        NodeGroup("node2", {"CPU": 4}, 1, 1),
    ]


@pytest.mark.parametrize("text", ["CPU: 3", "{CPU: 3} 4", "{CPU: [}", "", "[1]"])
def test_what_is_no_node(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--node: must be resources of a node, such as"):
        read(None, [text])


def test_more_nodes_than_any_cluster_has(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--node: nodes\[0\]\.count: must be less than or equal to 10000"):
        read(None, ["{CPU: 1} x 1000000000"])
    path = tmp_path / "nodes.yaml"
    path.write_text("nodes:\n- {resources: {CPU: 8}, max_count: 1000000000}\n")
    with pytest.raises(ConfigError, match=r"nodes\[0\]\.max_count: must be less than or equal to 10000"):
        read(path, [])


def test_a_resource_is_written_as_ray_does() -> None:
    with pytest.raises(ConfigError, match=r"^--node: nodes\[0\]\.resources\.Gpu: did you mean 'GPU'\? Ray's names of"):
        read(None, ["{CPU: 8, Gpu: 1}"])
    assert read(None, ["{CPU: 8, gpus: 1}"]) == [NodeGroup("node1", {"CPU": 8, "gpus": 1})]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the configuration: must be a mapping, got null."),
        ("nodes: []", "nodes: needs at least 1 entry, got 0."),
        ("nodes: [{resources: {CPU: many}}]", "nodes[0].resources.CPU: must be a valid number, got 'many'."),
        ("nodes: [{resources: {CPU: true}}]", "nodes[0].resources.CPU: must be a number, got true."),
        ("nodes: [{resources: {CPU: 1}, count: true}]", "nodes[0].count: must be a number, got true."),
        (
            "nodes: [{resources: {cpu: 1}}]",
            "nodes[0].resources.cpu: did you mean 'CPU'? Ray's names of resources depend",
        ),
        ("nodes: [{resource: {CPU: 1}, resources: {}}]", "nodes[0].resource: unknown key. Did you mean 'resources'?"),
        ("nodes: [{resources: {CPU: 1}, count: 3, max_count: 2}]", "nodes[0].max_count: must be at least count (3)."),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "nodes.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read(path, [])
    assert str(caught.value).startswith(f"{path}: {sentence}")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no file "):
        read(tmp_path / "nodes.yaml", [])
    (tmp_path / "bad.yaml").write_text("nodes: [")
    with pytest.raises(ConfigError, match="is not YAML: "):
        read(tmp_path / "bad.yaml", [])
