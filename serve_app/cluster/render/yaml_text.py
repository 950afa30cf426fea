"""Write manifests as text: equal for equal values, keys in the order of the values, long texts as blocks."""

from collections.abc import Iterable
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _block)


def dumped(objects: Iterable[Any], comment: str = "") -> str:
    """Return the objects as documents of one YAML text, under a comment of one line or more."""
    above = "".join(f"# {line}\n" for line in comment.splitlines())
    return above + "---\n".join(
        yaml.dump(body, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True) for body in objects
    )
