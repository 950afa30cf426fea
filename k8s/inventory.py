"""List what the image contains: a CycloneDX SBOM, and the licence of each package.

    .venv-audit/bin/python -m k8s.inventory        (make sbom)

Both come from the packages' own metadata in the pinned versions, which pip reads from an index without installing
anything; files other than metadata are not looked at. The SBOM has the hashes of the locks: of all wheels of a package
that fit, of which pip takes one. Debian's packages in the base image are not listed.
"""

import json
import re
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from k8s import locks
from k8s.locks import Lock

# Both variants have the same version of a package; torch is another build in each.
IMAGE, BLEURT = locks.merged(locks.read("cpu"), locks.read("gpu")), locks.read(locks.BLEURT)
SBOM = locks.HERE / "sbom.cdx.json"
LICENCES = locks.HERE / "licences.md"
BIN = Path(sys.executable).parent
HEADERS = {
    "metadata_version": "Metadata-Version",
    "name": "Name",
    "version": "Version",
    "license": "License",
    "license_expression": "License-Expression",
    "classifier": "Classifier",
    "requires_dist": "Requires-Dist",
}
"""Headers of core metadata that the tools read, by their names in pip's report."""
HEAD = """# Licences of the image's packages

As their metadata declares them, in the versions of the locks (`requirements-*.txt`), which hold every package of every
variant of the image. UNKNOWN: the metadata declares none. Made anew by `make sbom`.

"""


def main() -> None:
    """Write both files."""
    with TemporaryDirectory() as folder:
        python = metadata_only(Path(folder), [package for lock in (IMAGE, BLEURT) for package in report(lock)])
        SBOM.write_text(sbom(python), encoding="utf-8")
        LICENCES.write_text(HEAD + licences(python), encoding="utf-8")
    print(f"Written: {SBOM}, {LICENCES}")


def report(lock: Lock) -> list[dict[str, Any]]:
    """Return the metadata of pinned packages, as pip has it from the index."""
    # Without hashes, for which pip would fetch each wheel.
    pins = [locks.line(*item) for item in lock.items()]
    options = ["--dry-run", "--no-deps", "--ignore-installed", "--only-binary", ":all:", "--quiet", "--report", "-"]
    resolved = json.loads(output([sys.executable, "-m", "pip", "install", *options, *pins]))
    # Without the index's own label of a build, such as torch's +cpu.
    return [
        package["metadata"] | {"version": package["metadata"]["version"].partition("+")[0]}
        for package in resolved["install"]
    ]


def metadata_only(folder: Path, packages: list[dict[str, Any]]) -> Path:
    """Make an environment that has the packages' metadata alone, and return its Python."""
    venv.create(folder, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    for metadata in packages:
        info = site / f"{metadata['name'].replace('-', '_')}-{metadata['version']}.dist-info"
        info.mkdir()
        lines = [f"{header}: {line}" for field, header in HEADERS.items() for line in lines_of(metadata.get(field))]
        (info / "METADATA").write_text("\n".join([*lines, "", ""]), encoding="utf-8")
    return folder / "bin" / "python"


def lines_of(value: Any) -> list[str]:
    """Return the values of a header, each on one line: some have the whole text of a licence."""
    values = value if isinstance(value, list) else [value] if value else []
    return [str(text).strip().splitlines()[0] for text in values if str(text).strip()]


def sbom(python: Path) -> str:
    """Return the SBOM of an environment, the same for the same packages."""
    options = ["--output-reproducible", "--pyproject", str(locks.HERE.parent / "pyproject.toml"), "--short-PURLs"]
    listed = json.loads(output([str(BIN / "cyclonedx-py"), "environment", *options, str(python)]))
    pins = {(normalized(name), pin.version): pin for lock in (IMAGE, BLEURT) for name, pin in lock.items()}
    for component in listed["components"]:
        digests = sorted(pins[normalized(component["name"]), component["version"]].hashes)
        component["hashes"] = [{"alg": "SHA-256", "content": digest} for digest in digests]
    return json.dumps(listed, indent=2, sort_keys=True) + "\n"


def normalized(name: str) -> str:
    """Return a package's name as locks have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licences(python: Path) -> str:
    """Return a Markdown table of the packages of an environment, with their licences."""
    options = ["--format=markdown", "--from=mixed", "--with-system", f"--python={python}"]
    return output([str(BIN / "pip-licenses"), *options])


def output(command: list[str]) -> str:
    """Return what a command prints; its errors go to the terminal, and end this process."""
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        sys.exit(f"{' '.join(command[:4])} ... failed.")
    return process.stdout


if __name__ == "__main__":
    main()
