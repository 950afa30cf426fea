"""Rules of the API server for pods, which neither schemas nor the client's models have.

A RayService is accepted with pods that break them: the operator fails to create these pods later.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator

from serve_app.cluster.check.metadata_rules import label_faults
from serve_app.cluster.manifests import Fields, Manifest
from serve_app.cluster.names import is_label

HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
PORT_NAME_LENGTH = 15
JOB_POLICIES = ("Never", "OnFailure")


def pod_faults(body: Manifest) -> list[str]:
    """Return a sentence for each fault of the pod that an object of Kubernetes' own kinds is, or makes; if any."""
    path, template = _template(body)
    if template is None or "containers" not in (template.get("spec") or {}):
        return []
    sentences = template_faults(path, template, _claims(body))
    if body["kind"] == "Job" and template["spec"].get("restartPolicy") not in JOB_POLICIES:
        sentences.append(f"{path}.spec.restartPolicy: a Job needs one of {', '.join(JOB_POLICIES)}.")
    return sentences


def template_faults(path: str, template: Fields, claims: Iterable[str] = ()) -> list[str]:
    """Return a sentence for each fault of a pod template; `claims` are volumes that are defined elsewhere."""
    labels = (template.get("metadata") or {}).get("labels") or {}
    sentences = [f"metadata.labels: {sentence}" for sentence in label_faults(labels)]
    sentences += [f"spec.{sentence}" for sentence in _pod(template["spec"], {*claims})]
    return [f"{path}.{sentence}".lstrip(".") for sentence in sentences]


def _template(body: Manifest) -> tuple[str, Fields | None]:
    """Return where the pod of an object is, and the pod or None."""
    if body["kind"] == "Pod":
        return "", body
    path, spec = "spec", body.get("spec") or {}
    if body["kind"] == "CronJob":
        path, spec = "spec.jobTemplate.spec", (spec.get("jobTemplate") or {}).get("spec") or {}
    return f"{path}.template", spec.get("template")


def _claims(body: Manifest) -> list[str]:
    claims = (body.get("spec") or {}).get("volumeClaimTemplates") or []
    return [claim["metadata"]["name"] for claim in claims]


def _pod(spec: Fields, claims: set[str]) -> Iterator[str]:
    volumes = spec.get("volumes") or []
    yield from _volumes(volumes)
    available = claims | {volume["name"] for volume in volumes}
    containers = [("initContainers", index, item) for index, item in enumerate(spec.get("initContainers") or [])]
    containers += [("containers", index, item) for index, item in enumerate(spec["containers"])]
    yield from _repeated("containers", "name", (item["name"] for _, _, item in containers))
    for field, index, container in containers:
        yield from (f"{field}[{index}].{sentence}" for sentence in _container(container, available))


def _volumes(volumes: list[Fields]) -> Iterator[str]:
    yield from _repeated("volumes", "name", (volume["name"] for volume in volumes))
    for index, volume in enumerate(volumes):
        yield from _name(f"volumes[{index}].name", volume["name"])
        sources = sorted(key for key, value in volume.items() if key != "name" and value is not None)
        if len(sources) > 1:
            yield f"volumes[{index}]: {volume['name']!r} must have one source; got {', '.join(sources)}."


def _container(container: Fields, volumes: set[str]) -> Iterator[str]:
    yield from _name("name", container["name"])
    yield from _repeated("env", "name", (entry["name"] for entry in container.get("env") or []))
    mounts = container.get("volumeMounts") or []
    yield from _repeated("volumeMounts", "mountPath", (mount["mountPath"] for mount in mounts))
    for index, mount in enumerate(mounts):
        if mount["name"] not in volumes:
            yield f"volumeMounts[{index}].name: there is no volume {mount['name']!r}."
    yield from _ports(container.get("ports") or [])
    yield from _resources(container.get("resources") or {})
    for probe in PROBES:
        settings = container.get(probe)
        if settings is not None and len([name for name in HANDLERS if settings.get(name) is not None]) != 1:
            yield f"{probe}: must have one of {', '.join(HANDLERS)}."


def _ports(ports: list[Fields]) -> Iterator[str]:
    yield from _repeated("ports", "name", (port["name"] for port in ports if port.get("name")))
    yield from _repeated(
        "ports", "containerPort", ((port["containerPort"], port.get("protocol", "TCP")) for port in ports)
    )
    for index, port in enumerate(ports):
        name = port.get("name")
        if name and (len(name) > PORT_NAME_LENGTH or not PORT_NAME.fullmatch(name)):
            yield (
                f"ports[{index}].name: {name!r} must be up to {PORT_NAME_LENGTH} small letters, digits and '-', "
                "with a letter."
            )


def _resources(resources: Fields) -> Iterator[str]:
    """Yield faults of amounts, all of which are quantities."""
    from kubernetes.utils import parse_quantity

    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name in sorted(requests):
        if name not in limits:
            if "/" in name:
                yield f"resources.limits.{name}: required, as much as is requested."
            continue
        request, limit = parse_quantity(requests[name]), parse_quantity(limits[name])
        if request > limit:
            yield f"resources.requests.{name}: {requests[name]} is more than its limit, {limits[name]}."
        elif "/" in name and request != limit:
            yield f"resources.requests.{name}: {requests[name]} must equal its limit, {limits[name]}."


def _name(where: str, name: str) -> Iterator[str]:
    if not is_label(name):
        yield f"{where}: {name!r} must be up to 63 small letters, digits and '-'."


def _repeated(where: str, key: str, values: Iterable[Hashable]) -> Iterator[str]:
    for value, count in Counter(values).items():
        if count > 1:
            text = value[0] if isinstance(value, tuple) else value
            yield f"{where}: duplicate {key} {text!r}."
