"""The SBOM and the licences of the image have every package that is pinned."""

import json
import re

from k8s import locks
from tests.cluster.overlays import ROOT

UNDECLARED = {"cuda-toolkit", "hf-transfer", "humming-kernels", "openai-harmony", "quack-kernels", "torchcodec"}
"""Packages whose metadata names no licence; before you add one, look where its authors declare it."""


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[tuple[str, str], set[str]]:
    """Return the hashes in all locks of each version."""
    hashes: dict[tuple[str, str], set[str]] = {}
    for lock in map(locks.read, locks.HEADS):
        for name, pin in lock.items():
            hashes.setdefault((normalized(name), pin.version), set()).update(pin.hashes)
    return hashes


def licences() -> dict[tuple[str, str], str]:
    rows = re.findall(
        r"^\| *(\w\S*) *\| *(\S+) *\| *(.*\S) *\|$", (ROOT / "k8s" / "licences.md").read_text(), re.MULTILINE
    )
    return {(normalized(name), version): licence for name, version, licence in rows if name != "Name"}


def test_every_pin_has_a_component_in_the_sbom() -> None:
    sbom = json.loads((ROOT / "k8s" / "sbom.cdx.json").read_text())
    assert (sbom["bomFormat"], sbom["metadata"]["component"]["name"]) == ("CycloneDX", "semantic-cascade")
    hashes = {
        (normalized(part["name"]), part["version"]): {digest["content"] for digest in part["hashes"]}
        for part in sbom["components"]
    }
    assert hashes == pins()
    assert all(part["purl"].startswith("pkg:pypi/") for part in sbom["components"])


def test_every_pin_has_a_licence() -> None:
    rows = licences()
    assert rows.keys() == pins().keys()
    assert {name for (name, _), licence in rows.items() if licence == "UNKNOWN"} == UNDECLARED
