"""Make the schemas that `cascade k8s check` has built in, from the CustomResourceDefinitions of a release of KubeRay.

    .venv/bin/python k8s/kuberay_schemas.py FOLDER VERSION

FOLDER is helm-chart/kuberay-operator/crds of https://github.com/ray-project/kuberay at the tag of VERSION. What a
check does not need is left out, and parts that are equal, such as the 40 copies of a pod's, are written once.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from serve_app.cluster.check.custom_resource import versions
from serve_app.cluster.check.kuberay_schema import GROUP, file_name

OUTPUT = Path(__file__).parents[1] / "serve_app" / "cluster" / "check" / "kuberay.json"
KINDS = ("RayService", "RayCluster", "RayJob")
LEAST_CHARACTERS = 100
"""Of a part that is worth sharing."""


def main() -> None:
    """Write the file; ends with a sentence if the arguments are wrong."""
    if len(sys.argv) != 3:
        sys.exit("usage: kuberay_schemas.py FOLDER VERSION")
    OUTPUT.write_text(bundled(Path(sys.argv[1]), sys.argv[2]), encoding="utf-8")


def bundled(folder: Path, version: str) -> str:
    """Return the text of the file: the schemas by `apiVersion/kind`, and the parts that they share."""
    schemas = {
        f"{GROUP}/{name}/{kind}": schema
        for kind in KINDS
        for name, schema in versions(folder / file_name(kind)).items()
    }
    shared = Shared(schemas.values())
    small = {name: shared.without(schema) for name, schema in schemas.items()}
    comment = (
        f"Derived from the CustomResourceDefinitions of KubeRay {version} (https://github.com/ray-project/kuberay), "
        "copyright the KubeRay authors, under the Apache License 2.0. Changed by k8s/kuberay_schemas.py: rewritten as "
        "JSON Schema, without descriptions, with equal parts shared."
    )
    comment = json.dumps(comment)
    return f'{{"$comment":{comment},\n"$defs":{_lines(shared.parts)},\n"schemas":{_lines(small)}}}\n'


def _lines(entries: dict[str, Any]) -> str:
    """Return a JSON object with each entry on a line of its own."""
    lines = [f"{json.dumps(name)}:{json.dumps(entry, separators=(',', ':'))}" for name, entry in entries.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


class Shared:
    """Parts that occur more than once, by the names under which `$ref` finds them."""

    def __init__(self, schemas: Iterable[dict[str, Any]]) -> None:
        self.parts: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        for schema in schemas:
            self._count(schema)

    def without(self, schema: Any) -> Any:
        """Return the schema with a reference in place of each shared part below it."""
        if isinstance(schema, list):
            return [self.without(part) for part in schema]
        if not isinstance(schema, dict):
            return schema
        return {key: self._replaced(part) for key, part in schema.items()}

    def _count(self, schema: Any) -> None:
        """Count the parts that are large enough. What is in a part counts once, however many copies of it there are."""
        for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
            text = _text(part)
            if _is_schema(part) and len(text) >= LEAST_CHARACTERS:
                self._counts[text] += 1
            if self._counts[text] < 2:
                self._count(part)

    def _replaced(self, part: Any) -> Any:
        text = _text(part)
        if not _is_schema(part) or self._counts[text] < 2:
            return self.without(part)
        if text not in self._names:
            self._names[text] = str(len(self._names))
            self.parts[self._names[text]] = self.without(part)
        return {"$ref": f"#/$defs/{self._names[text]}"}


def _is_schema(part: Any) -> bool:
    """Return whether a mapping is a schema, and not the properties of one, among which may be one named `type`."""
    return isinstance(part, dict) and isinstance(part.get("type"), str | list)


def _text(part: Any) -> str:
    return json.dumps(part, sort_keys=True)


if __name__ == "__main__":
    main()
