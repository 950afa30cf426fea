"""Render a serving config as a kustomize base and an overlay: plain objects first, then files.

The overlay's objects are built whole. Its files leave out what the base has: the RayService becomes a merge patch (RFC
7386), with lists whole.
"""

from dataclasses import dataclass
from pathlib import Path

from serve_app.cluster.check.operator_rules import operator_faults
from serve_app.cluster.manifests import Fields, Manifest
from serve_app.cluster.render import network, pods, rayservice, storage, worker_groups
from serve_app.cluster.render.yaml_text import dumped
from serve_app.cluster.serve_config import for_cluster
from serve_app.cluster.settings import Overlay, Settings
from serve_app.config.ray_rules import load
from serve_app.errors import ConfigError
from serve_app.planning.plan import plan_of


@dataclass(frozen=True)
class Rendered:
    """`files` are texts by path, `objects` what base and overlay amount to, `cautions` sentences for the user."""

    files: dict[str, str]
    objects: list[Manifest]
    groups: list[worker_groups.WorkerGroup]
    cautions: list[str]


def render(config: Path, overlay: Overlay, settings: Settings) -> Rendered:
    """Return the manifests of a config. Raises ConfigError if it cannot run in a cluster."""
    file = load(config)
    args = file.application.args
    plan = plan_of(file)
    serve_config = dumped([for_cluster(config, file)])
    workers = worker_groups.worker_groups(plan, settings)
    service = rayservice.whole(settings, file, workers, serve_config)
    if sentences := operator_faults(service):
        raise ConfigError(f"KubeRay would refuse it: {' '.join(sentences)}")
    common = [("namespace", [_namespace(settings)]), ("network", network.base_policies(settings))]
    own = [
        ("models", storage.objects(settings, args, serve_config)),
        ("network", network.overlay_policies(settings, args)),
        ("disruption", [network.budget(settings, workers)]),
        ("ingress", network.ingress(settings, args)),
        ("monitoring", network.monitor(settings)),
    ]
    own = [(name, objects) for name, objects in own if objects]
    base = rayservice.base(settings)
    files = _base_files([*common, ("rayservice", [base])])
    files |= _overlay_files(overlay, own, patch_of(base, service), settings, config)
    objects = [body for _, bodies in [*common, *own] for body in bodies] + [service]
    return Rendered(files, objects, workers, worker_groups.cautions(workers) + network.cautions(settings, args))


def write(rendered: Rendered, folder: Path) -> None:
    """Write the files to a folder, and remove stale ones from its base and overlay."""
    for path in _stale_files(rendered, folder):
        path.unlink()
    for name, text in rendered.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def check(rendered: Rendered, folder: Path) -> None:
    """Raise ConfigError with the files in a folder that differ from what would be written."""
    stale = [name for name, text in rendered.files.items() if not _has_text(folder / name, text)]
    stale += [str(path.relative_to(folder)) for path in _stale_files(rendered, folder)]
    if stale:
        raise ConfigError(f"Stale files, run `cascade k8s render`: {', '.join(f'{folder / name}' for name in stale)}.")


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


def _namespace(settings: Settings) -> Manifest:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": settings.namespace, "labels": labels}}


def _base_files(parts: list[tuple[str, list[Manifest]]]) -> dict[str, str]:
    comment = "Written by `cascade k8s render`, the same for every overlay of one folder."
    kustomization = _kustomization({"resources": [f"{name}.yaml" for name, _ in parts]})
    files = {f"{name}.yaml": dumped(objects, comment) for name, objects in parts}
    files["kustomization.yaml"] = dumped([kustomization], comment)
    return {f"base/{name}": text for name, text in files.items()}


def _overlay_files(
    overlay: Overlay, parts: list[tuple[str, list[Manifest]]], patch: Fields, settings: Settings, config: Path
) -> dict[str, str]:
    comment = (
        f"Written by `cascade k8s render {config.as_posix()} --overlay {overlay}`: change the config or the settings."
    )
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


def _image(image: str) -> dict[str, str]:
    """Return the image as kustomize writes it: a name, and a tag or a digest."""
    if "@" in image:
        name, _, digest = image.partition("@")
        return {"name": pods.IMAGE, "newName": name, "digest": digest}
    folder, slash, last = image.rpartition("/")
    name, _, tag = last.partition(":")
    return {"name": pods.IMAGE, "newName": folder + slash + name} | ({"newTag": tag} if tag else {})


def _stale_files(rendered: Rendered, folder: Path) -> list[Path]:
    """Return the files of the base and the overlay that rendering would not write."""
    folders = {str(Path(name).parent) for name in rendered.files}
    paths = [path for name in sorted(folders) for path in sorted((folder / name).glob("*.yaml"))]
    return [path for path in paths if str(path.relative_to(folder)) not in rendered.files]


def _has_text(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
