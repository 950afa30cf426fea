"""The SBOM and the licences of the image have every package that is pinned."""

import json
import re

from tests.cluster.overlays import ROOT

PINS = ("constraints.txt", "constraints-bleurt.txt")
UNDECLARED = {"cuda-toolkit", "hf-transfer", "humming-kernels", "openai-harmony", "quack-kernels", "torchcodec"}
"""Packages whose metadata names no licence; before you add one, look where its authors declare it."""


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> set[tuple[str, str]]:
    lines = [line for file in PINS for line in (ROOT / "k8s" / file).read_text().splitlines()]
    names = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {(normalized(name), version) for name, version in names}


def licences() -> dict[tuple[str, str], str]:
    rows = re.findall(
        r"^\| *(\w\S*) *\| *(\S+) *\| *(.*\S) *\|$", (ROOT / "k8s" / "licences.md").read_text(), re.MULTILINE
    )
    return {(normalized(name), version): licence for name, version, licence in rows if name != "Name"}


def test_every_pin_has_a_component_in_the_sbom() -> None:
    sbom = json.loads((ROOT / "k8s" / "sbom.cdx.json").read_text())
    assert (sbom["bomFormat"], sbom["metadata"]["component"]["name"]) == ("CycloneDX", "semantic-cascade")
    components = {(normalized(part["name"]), part["version"]) for part in sbom["components"]}
    assert components == pins()
    assert all(part["purl"].startswith("pkg:pypi/") for part in sbom["components"])


def test_every_pin_has_a_licence() -> None:
    rows = licences()
    assert rows.keys() == pins()
    assert {name for (name, _), licence in rows.items() if licence == "UNKNOWN"} == UNDECLARED
