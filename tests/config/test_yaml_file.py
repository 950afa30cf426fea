"""YAML 1.1 has meanings that nobody expects: they are refused with the line and what to write instead."""

from pathlib import Path
from typing import Any

import pytest

from serve_app.config.yaml_file import read_yaml
from serve_app.errors import ConfigError


def read(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path, "config file")


@pytest.mark.parametrize(
    ("text", "written", "reading"),
    [
        ("a: 1\nport: 010", "010", "8"),
        ("a: 1\nport: -010", "-010", "-8"),
        ("a: 1\nwait: 2:15", "2:15", "135"),
        ("a: 1\nwait: 1:30.5", "1:30.5", "90.5"),
        ("a: 1\nname: on", "on", "true"),
        ("a: 1\nname: No", "No", "false"),
        ("a: 1\nyes: b", "yes", "true"),
        ("a: 1\nb: [off]", "off", "false"),
    ],
)
def test_surprises_are_refused(tmp_path: Path, text: str, written: str, reading: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    assert str(error.value).endswith(
        f"has {written} in line 2, which YAML 1.1 reads as {reading}; write {reading}, or '{written}' in quotes."
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("0", 0),
        ("0.5", 0.5),
        ("1e-3", "1e-3"),
        ("'010'", "010"),
        ('"on"', "on"),
        ("true", True),
        ("False", False),
        ("0x10", 16),
        ("2026-11-29", None),
        ("12:75", "12:75"),
        ("hf://a/b", "hf://a/b"),
    ],
)
def test_what_looks_like_what_it_is_is_read(tmp_path: Path, text: str, value: Any) -> None:
    read_value = read(tmp_path, f"a: {text}")["a"]
    assert value is None or (read_value, type(read_value)) == (value, type(value))


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000, "!!int '0x" + "f" * 5000 + "'"])
def test_a_number_that_python_would_not_write_again_is_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"a: {number}\n")
    with pytest.raises(ConfigError, match=r"has a number, a date or a tag that cannot be read\.$"):
        read_yaml(path, "file")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^There is no settings file '.*gone.yaml'\.$"):
        read_yaml(tmp_path / "gone.yaml", "settings file")
    with pytest.raises(ConfigError, match=r"^The settings file '.*' cannot be read: "):
        read_yaml(tmp_path, "settings file")
    with pytest.raises(ConfigError, match="has the key 'a' twice, in line 1 and in line 2"):
        read(tmp_path, "a: 1\na: 2")
    with pytest.raises(ConfigError, match="is not YAML: "):
        read(tmp_path, "a: [")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nkey: sk-secret: x\n", r"is not YAML: mapping values are not allowed here \(line 2, column 15\)\.$"),
        ("key: 'sk-secret\n", r"is not YAML: while scanning a quoted scalar, found unexpected end of stream \(line 2"),
        ("key: sk-secret\x00", r"is not YAML: it holds a character that YAML does not allow\.$"),
        ("a: 1\npassword: 0715234\n", r"has a value in line 2 that YAML 1\.1 reads as another one; write it in quotes"),
        ("{a: 1, password: 0234}\n", r"has a value in line 1 that YAML 1\.1 reads as another one"),
    ],
)
def test_a_line_that_may_hold_a_secret_is_not_repeated(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem) as caught:
        read_yaml(path, "config file")
    message = str(caught.value).replace(str(path), "")  # pytest numbers its folders
    assert "secret" not in message
    assert "234" not in message
