"""The image in manifests: its placeholder name, and its address in parts."""

from typing import Any, NamedTuple

IMAGE = "semantic-cascade"
"""The image's name in the objects, which an overlay's kustomization or a chart's values replace by its address."""


class Address(NamedTuple):
    """An image's address; `tag` and `digest` are empty if it has none."""

    repository: str
    tag: str = ""
    digest: str = ""


def parse(image: str) -> Address:
    """Return the parts of an address such as `registry:5000/team/cascade:7` or `cascade@sha256:ab`."""
    if "@" in image:
        name, _, digest = image.partition("@")
        return Address(name, digest=digest)
    folder, slash, last = image.rpartition("/")
    name, _, tag = last.partition(":")
    return Address(folder + slash + name, tag)


def with_image(value: Any, image: str) -> Any:
    """Return a copy of an object, or a part of one, with an address in place of the name."""
    if isinstance(value, list):
        return [with_image(item, image) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: image if (key, item) == ("image", IMAGE) else with_image(item, image) for key, item in value.items()}
