"""Check without a cluster whether Kubernetes, KubeRay's operator and Ray Serve will take manifests."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from serve_app.cluster.check.builtin_models import builtin_faults, is_builtin, type_faults
from serve_app.cluster.check.cluster_rules import templates
from serve_app.cluster.check.kuberay_schema import GROUP, file_name, has_schema, schema_faults
from serve_app.cluster.check.metadata_rules import metadata_faults
from serve_app.cluster.check.operator_rules import drain_faults, operator_faults
from serve_app.cluster.check.pod_rules import pod_faults, template_faults
from serve_app.cluster.manifests import Manifest, ref_of
from serve_app.cluster.serve_config import graceful_shutdown_s, longest_request_s
from serve_app.config.ray_rules import load
from serve_app.errors import ConfigError


def faults(objects: Iterable[Manifest], crds: Path | None = None) -> list[str]:
    """Return a sentence for each fault of the objects.

    Kubernetes' own kinds are validated against the models of the `kubernetes` client (extra k8s), which refuse unknown
    fields; KubeRay's against its CustomResourceDefinitions, the built-in ones or those in the folder `crds`; a
    RayService also against the operator's rules and our serving config. Other kinds are not checked, see `skipped`.
    Raises `ConfigError` if `crds` lacks the definition of a RayService or cannot be read.
    """
    objects = list(objects)
    if crds is not None:
        _check_folder(crds, objects)
    return [f"{ref_of(body)}: {sentence}" for body in objects for sentence in _faults(body, crds)]


def skipped(objects: Iterable[Manifest], crds: Path | None = None) -> list[str]:
    """Return a sentence for each object of a kind that cannot be checked."""
    unknown = [body for body in objects if not (is_builtin(body) or has_schema(body, crds))]
    return [
        f"{ref_of(body)}: {body['apiVersion']} {body['kind']} is not known, skipped.{_hint(body)}" for body in unknown
    ]


def _hint(body: Manifest) -> str:
    is_kuberay = body["apiVersion"].startswith(f"{GROUP}/")
    return f" --crds names no folder with {file_name(body['kind'])}." if is_kuberay else ""


def _faults(body: Manifest, crds: Path | None) -> list[str]:
    # The further rules rely on fields being there, and of the right type.
    if is_builtin(body):
        return builtin_faults(body) or [*metadata_faults(body), *pod_faults(body)]
    if not has_schema(body, crds):
        return []
    if sentences := [*type_faults("V1ObjectMeta", body["metadata"], "metadata"), *schema_faults(body, crds)]:
        return sentences
    return [*metadata_faults(body), *(_service_faults(body) if _is_service(body) else [])]


def _service_faults(service: Manifest) -> list[str]:
    return [*operator_faults(service), *serve_faults(service), *_pod_faults(service)]


def _pod_faults(service: Manifest) -> list[str]:
    """Return the faults of the pods that the operator will create."""
    sentences = []
    for name, template in templates(service["spec"]["rayClusterConfig"]):
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        sentences += [f"{name}.template.{sentence}" for sentence in builtin_faults(pod)] or template_faults(
            f"{name}.template", template
        )
    return sentences


def serve_faults(service: Manifest) -> list[str]:
    """Return a sentence for each fault of `serveConfigV2`.

    It must be a valid serving config, its proxies within reach of other pods, and the times for draining must suit it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "serve.yaml"
        path.write_text(service["spec"]["serveConfigV2"], encoding="utf-8")
        try:
            file = load(path)
        except ConfigError as error:
            return [f"serveConfigV2: {line}" for line in str(error).replace(f"{path}: ", "").splitlines()]
    host = file.http_options.host
    local = [] if host == "0.0.0.0" else [f"serveConfigV2: http_options.host: {host!r} is out of reach for other pods."]
    args = file.application.args
    return local + drain_faults(service, graceful_shutdown_s(file), longest_request_s(args))


def _is_kuberay(body: Manifest) -> bool:
    return str(body["apiVersion"]).startswith(f"{GROUP}/")


def _is_service(body: Manifest) -> bool:
    return _is_kuberay(body) and body["kind"] == "RayService"


def _check_folder(crds: Path, objects: list[Manifest]) -> None:
    if not crds.is_dir():
        raise ConfigError(f"--crds: {str(crds)!r} is not a folder.")
    name = file_name("RayService")
    if any(map(_is_service, objects)) and not (crds / name).is_file():
        raise ConfigError(f"--crds: {str(crds)!r} has no {name}.")
