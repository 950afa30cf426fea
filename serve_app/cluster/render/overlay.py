"""Render a serving config as a kustomize base and an overlay.

The overlay's objects are built whole. Its files leave out what the base has: the RayService becomes a merge patch (RFC
7386), with lists whole.
"""

from pathlib import Path
from shlex import quote

from serve_app.cluster.manifests import Fields, Manifest
from serve_app.cluster.render import image, rayservice
from serve_app.cluster.render.files import WRITTEN_BY, Rendered
from serve_app.cluster.render.objects import Part, build, cautions
from serve_app.cluster.render.yaml_text import dumped
from serve_app.cluster.settings import Overlay, Settings


def render(config: Path, overlay: Overlay, settings: Settings) -> Rendered:
    """Return the manifests of a config. Raises ConfigError if it cannot run in a cluster."""
    objects = build(config, settings)
    base = rayservice.base(settings)
    files = _base_files([*objects.common, ("rayservice", [base])])
    files |= _overlay_files(overlay, objects.own, patch_of(base, objects.service), settings, config)
    folders = ("base", f"overlays/{overlay}")
    return Rendered(files, folders, objects.all(), objects.groups, cautions(objects, settings))


def patch_of(before: Manifest, after: Manifest) -> Manifest:
    """Return the merge patch that turns `before` into `after`, with the reference of the object."""
    reference = {key: after[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": after["metadata"]["name"]}}
    return reference | _difference(before, after)


def _difference(before: Manifest, after: Manifest) -> Fields:
    patch: Fields = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := _difference(old, value):
                patch[key] = inner
        elif key not in before or old != value:
            patch[key] = value
    return patch


def _base_files(parts: list[Part]) -> dict[str, str]:
    comment = f"{WRITTEN_BY}`, the same for every overlay of one folder."
    kustomization = _kustomization({"resources": [f"{name}.yaml" for name, _ in parts]})
    files = {f"{name}.yaml": dumped(objects, comment) for name, objects in parts}
    files["kustomization.yaml"] = dumped([kustomization], comment)
    return {f"base/{name}": text for name, text in files.items()}


def _overlay_files(
    overlay: Overlay, parts: list[Part], patch: Fields, settings: Settings, config: Path
) -> dict[str, str]:
    comment = f"{WRITTEN_BY} {quote(config.as_posix())} --overlay {overlay}`: change the config or the settings."
    kustomization = _kustomization(
        {
            "namespace": settings.namespace,
            "resources": ["../../base", *(f"{name}.yaml" for name, _ in parts)],
            "patches": [{"path": "rayservice.yaml"}],
            "images": [_image(settings.image)],
        }
    )
    files = {f"{name}.yaml": dumped(objects, comment) for name, objects in parts}
    files |= {"rayservice.yaml": dumped([patch], comment), "kustomization.yaml": dumped([kustomization], comment)}
    return {f"overlays/{overlay}/{name}": text for name, text in files.items()}


def _kustomization(values: Fields) -> Fields:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"} | values


def _image(address: str) -> dict[str, str]:
    """Return the image as kustomize writes it: a name, and a tag or a digest."""
    repository, tag, digest = image.parse(address)
    fields = {"name": image.IMAGE, "newName": repository, "newTag": tag, "digest": digest}
    return {key: value for key, value in fields.items() if value}
