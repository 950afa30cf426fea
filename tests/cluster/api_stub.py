"""A Kubernetes API server as far as we use one, on a real port.

It keeps objects, merges server-side applies with owners for every field, refuses in the real one's words, and plays
scripted statuses and troubles.
"""

import asyncio
import json
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

Body = dict[str, Any]
Trouble = Callable[[web.Request], Awaitable[web.StreamResponse]]

TOKEN = "s3cr3t-t0ken"
KINDS = {
    "/api/v1": {
        "namespaces": ("Namespace", False),
        "nodes": ("Node", False),
        "configmaps": ("ConfigMap", True),
        "secrets": ("Secret", True),
        "persistentvolumeclaims": ("PersistentVolumeClaim", True),
        "pods": ("Pod", True),
        "events": ("Event", True),
    },
    "/apis/batch/v1": {"jobs": ("Job", True)},
    "/apis/networking.k8s.io/v1": {"networkpolicies": ("NetworkPolicy", True), "ingresses": ("Ingress", True)},
    "/apis/policy/v1": {"poddisruptionbudgets": ("PodDisruptionBudget", True)},
    "/apis/monitoring.coreos.com/v1": {"podmonitors": ("PodMonitor", True)},
    "/apis/ray.io/v1": {"rayservices": ("RayService", True), "rayclusters": ("RayCluster", True)},
}
SUBRESOURCES = {"pods": {"log": "Pod", "status": "Pod"}, "rayservices": {"status": "RayService"}}
SPEC_FIELDS = {
    "RayService": {
        "deploymentUnhealthySecondThreshold",
        "excludeHeadPodFromServeSvc",
        "managedBy",
        "rayClusterConfig",
        "rayClusterDeletionDelaySeconds",
        "serveConfigV2",
        "serveService",
        "serviceUnhealthySecondThreshold",
        "suspend",
        "upgradeStrategy",
    }
}
"""As in KubeRay 1.7's CustomResourceDefinition; of other kinds any field is taken."""
IMMUTABLE = {"Job": "template", "PersistentVolumeClaim": "storageClassName"}


@dataclass
class Step:
    """What a read of the object shows from now on: its status, and the pods and events around it."""

    status: Body
    pods: list[Body] | None = None
    events: list[Body] | None = None


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]


@dataclass
class ApiStub:
    """`script` has the next steps of an object, by kind; `troubles` answer the next requests that they match.

    `lingering` is how many reads a deleted object of a kind survives.
    """

    url: str = ""
    objects: dict[str, Body] = field(default_factory=dict)
    owners: dict[str, dict[str, str]] = field(default_factory=dict)
    script: dict[str, list[Step]] = field(default_factory=dict)
    troubles: list[tuple[str, str, Trouble]] = field(default_factory=list)
    lingering: dict[str, int] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    requests: list[Asked] = field(default_factory=list)
    version: int = 100

    def put(self, api_version: str, kind: str, name: str, namespace: str | None = "demo", **body: Any) -> Body:
        """Store an object that exists from the start."""
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        plural = next(plural for plural, (kind_name, _) in KINDS[base].items() if kind_name == kind)
        path = f"{base}/namespaces/{namespace}/{plural}/{name}" if namespace else f"{base}/{plural}/{name}"
        meta = {"name": name} | ({"namespace": namespace} if namespace else {}) | body.pop("metadata", {})
        return self._store(path, {"apiVersion": api_version, "kind": kind, "metadata": meta} | body)

    def fail(self, method: str, path: str, trouble: Trouble, times: int = 1) -> None:
        """Let the next `times` requests whose path contains `path` fail in this way."""
        self.troubles += [(method, path, trouble)] * times

    def of(self, method: str) -> list[Asked]:
        return [request for request in self.requests if request.method == method]

    def changes(self) -> list[str]:
        """Return the last part of the path of every object that was truly changed, in order."""
        real = [a for a in self.requests if a.method in ("PATCH", "DELETE") and "dryRun" not in a.query]
        return ["/".join(a.path.split("/")[-2:]) for a in real]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(Asked(request.method, request.path, dict(request.query)))
        for index, (method, path, trouble) in enumerate(self.troubles):
            if method == _verb(request) and path in request.path:
                del self.troubles[index]
                return await trouble(request)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return status(401, "Unauthorized", "Unauthorized")
        if request.path in KINDS or re.fullmatch("/apis/[^/]+/[^/]+", request.path):
            return self._discover(request.path)
        if request.path.endswith("/log"):
            return web.Response(text=self.logs.get(request.path.split("/")[-2], ""))
        base = next(base for base in KINDS if request.path.startswith(f"{base}/"))
        parts = request.path.removeprefix(f"{base}/").split("/")
        if parts[0] == "namespaces" and len(parts) > 2:
            parts = parts[2:]
        kind = KINDS[base][parts[0]][0]
        if len(parts) == 1:
            return await self._watch(request, kind) if "watch" in request.query else self._list(request, kind)
        answer = {"GET": self._get, "PATCH": self._patch, "DELETE": self._delete}[request.method]
        return await answer(request, kind)

    def _discover(self, path: str) -> web.Response:
        if path not in KINDS:
            return web.Response(status=404, text="404 page not found")
        group_version = path.removeprefix("/apis/").removeprefix("/api/")
        entries = []
        for plural, (kind, inside) in KINDS[path].items():
            entry = {"singularName": "", "namespaced": inside, "verbs": ["get", "list", "patch", "delete", "watch"]}
            entries.append(entry | {"name": plural, "kind": kind, "singularName": kind.lower()})
            for part, part_kind in SUBRESOURCES.get(plural, {}).items():
                entries.append(entry | {"name": f"{plural}/{part}", "kind": part_kind, "verbs": ["get"]})
        body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}
        return web.json_response(body)

    async def _get(self, request: web.Request, kind: str) -> web.Response:
        body = self.objects.get(request.path)
        if body is None:
            return status(404, "NotFound", f"{request.path} not found")
        if "deletionTimestamp" in body["metadata"]:
            self.lingering[kind] = self.lingering.get(kind, 0) - 1
            if self.lingering[kind] < 0:
                del self.objects[request.path]
                return status(404, "NotFound", f"{request.path} not found")
        if steps := self.script.get(kind):
            self._play(body, steps.pop(0))
        return web.json_response(body)

    def _play(self, body: Body, step: Step) -> None:
        generation = body["metadata"]["generation"]
        body["status"] = json.loads(json.dumps(step.status).replace('"$generation"', str(generation)))
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        for kind, bodies in (("Pod", step.pods), ("Event", step.events)):
            if bodies is not None:
                self.objects = {path: item for path, item in self.objects.items() if item["kind"] != kind}
                for item in deepcopy(bodies):
                    self.put("v1", kind, item["metadata"].pop("name"), **item)

    def _list(self, request: web.Request, kind: str) -> web.Response:
        # /api/v1/namespaces/demo/pods: those of the namespace; /api/v1/nodes: all.
        prefix = f"{request.path}/"
        items = [body for path, body in self.objects.items() if path.startswith(prefix) and body["kind"] == kind]
        items = [body for body in items if _selected(body, request.query)]
        return web.json_response({"kind": f"{kind}List", "items": items})

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        """Send a change at once while the script has steps, else nothing until the client's time is over."""
        stream = web.StreamResponse(headers={"Content-Type": "application/json"})
        await stream.prepare(request)
        if self.script.get(kind):
            await stream.write(b'{"type": "MODIFIED", "object": {}}\n')
        else:
            await asyncio.sleep(float(request.query["timeoutSeconds"]))
        return stream

    async def _patch(self, request: web.Request, kind: str) -> web.Response:
        if request.content_type != "application/apply-patch+yaml" or request.query["fieldValidation"] != "Strict":
            return status(400, "BadRequest", "only strict server-side applies are expected here")
        applied = json.loads(await request.read())
        if missing := self._no_namespace(request.path):
            return missing
        if unknown := sorted(set(applied.get("spec") or {}) - SPEC_FIELDS.get(kind, set(applied.get("spec") or {}))):
            message = f'strict decoding error: unknown field "spec.{unknown[0]}"'
            return status(400, "BadRequest", message)
        live = self.objects.get(request.path)
        owners = dict(self.owners.get(request.path, {}))
        manager, force = request.query["fieldManager"], request.query["force"] == "true"
        new, conflicts = _merged(live or {}, applied, owners, manager, force)
        if conflicts:
            return status(409, "Conflict", f"Apply failed with {len(conflicts)} conflicts", conflicts)
        fixed = IMMUTABLE.get(kind, "")
        if live and fixed and live["spec"].get(fixed) != new["spec"].get(fixed):
            cause = {"reason": "FieldValueInvalid", "field": f"spec.{fixed}", "message": "field is immutable"}
            return status(422, "Invalid", f"{kind} is invalid: spec.{fixed}: field is immutable", [cause])
        if "dryRun" in request.query:
            return web.json_response(new)
        self.owners[request.path] = owners
        return web.json_response(self._store(request.path, new), status=200 if live else 201)

    def _no_namespace(self, path: str) -> web.Response | None:
        parts = path.split("/namespaces/")
        name = parts[1].split("/")[0] if len(parts) > 1 and "/" in parts[1] else None
        if name is None or f"/api/v1/namespaces/{name}" in self.objects:
            return None
        return status(404, "NotFound", f'namespaces "{name}" not found')

    async def _delete(self, request: web.Request, kind: str) -> web.Response:
        body = self.objects.get(request.path)
        if body is None:
            return status(404, "NotFound", f"{request.path} not found")
        options = await request.json()
        if options["preconditions"]["uid"] != body["metadata"]["uid"]:
            return status(409, "Conflict", "the UID in the precondition does not match")
        body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        return web.json_response(body)

    def _store(self, path: str, body: Body) -> Body:
        before = self.objects.get(path)
        self.version += 1
        meta = body["metadata"]
        meta["uid"] = before["metadata"]["uid"] if before else f"uid-{self.version}"
        meta["resourceVersion"] = str(self.version)
        changed = before is None or before.get("spec") != body.get("spec")
        meta["generation"] = (before["metadata"]["generation"] if before else 0) + changed
        self.objects[path] = body
        return body


def status(code: int, reason: str, message: str, causes: list[Body] | None = None) -> web.Response:
    """Return a refusal as the API server words it."""
    details = {"details": {"causes": causes}} if causes else {}
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message} | details
    return web.json_response(body, status=code)


def refusing(code: int, reason: str, message: str) -> Trouble:
    async def trouble(request: web.Request) -> web.StreamResponse:
        return status(code, reason, message)

    return trouble


async def overloaded(request: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


async def disconnect(request: web.Request) -> web.StreamResponse:
    """Break the connection in the middle of an answer."""
    stream = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await stream.prepare(request)
    await stream.write(b'{"ty')
    assert request.transport is not None
    request.transport.abort()
    return stream


async def gone(request: web.Request) -> web.StreamResponse:
    """Refuse a watch from a version that is too old."""
    return web.json_response({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})


async def login_page(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>Please log in</html>", content_type="text/html")


def _verb(request: web.Request) -> str:
    """Return the request's method, or WATCH for a watch and APPLY for a patch that is no dry run."""
    if "watch" in request.query:
        return "WATCH"
    return "APPLY" if request.method == "PATCH" and "dryRun" not in request.query else request.method


def _selected(body: Body, query: Any) -> bool:
    labels = body["metadata"].get("labels") or {}
    if selector := query.get("labelSelector"):
        if " in (" in selector:
            key, values = selector.removesuffix(")").split(" in (")
            return labels.get(key) in values.split(",")
        key, value = selector.split("=")
        return bool(labels.get(key) == value)
    if selector := query.get("fieldSelector"):
        return bool(body.get("type") != "Normal" if "!=" in selector else body.get("reason") == selector.split("=")[1])
    return True


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield scalars and lists with their paths: lists are atomic here."""
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from _leaves(entry, (*path, key))
    else:
        yield path, value


def _merged(live: Body, applied: Body, owners: dict[str, str], manager: str, force: bool) -> tuple[Body, list[Body]]:
    """Return the object after an apply, and the conflicts with other managers. Updates `owners`."""
    was, leaves = dict(_leaves(live)) if live else {}, dict(_leaves(applied))
    conflicts = []
    for path, value in leaves.items():
        name = "." + ".".join(path)
        owner = owners.get(name, manager)
        if owner != manager and was.get(path) != value and not force:
            cause = {"reason": "FieldManagerConflict", "field": name, "message": f'conflict with "{owner}" using v1'}
            conflicts.append(cause)
        elif owner == manager or force:
            owners[name] = manager
        was[path] = value
    # By name, since a key may have dots itself.
    paths = {"." + ".".join(path): path for path in was}
    for name in [name for name, owner in owners.items() if owner == manager]:
        if paths[name] not in leaves:
            was.pop(paths[name])
            del owners[name]
    merged: Body = {}
    for path, value in was.items():
        node = merged
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = deepcopy(value)
    return merged, conflicts


@contextmanager
def running() -> Iterator[ApiStub]:
    """Yield a stub with the namespace `demo` on a free port, in a thread of its own."""
    stub = ApiStub()
    stub.put("v1", "Namespace", "demo", None)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_start(stub), loop).result()
    try:
        yield stub
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(stub: ApiStub) -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stub.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stub.url = site.name if ":0" not in site.name else f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
