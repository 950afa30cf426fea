"""The few requests that we send to a Kubernetes API server, over the official client's connection.

Every object is a plain dict; paths come from the server's own discovery, so any kind that it knows will do.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from serve_app.cluster.live.errors import RefusedError, UnreachableError, refused
from serve_app.cluster.manifests import Body, Ref, ref_of
from serve_app.errors import ClusterError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

FIELD_MANAGER = "semantic-cascade"
TRANSIENT = (429, 500, 502, 503, 504)
PAUSES_S = (0.25, 0.5, 1.0)
"""All our requests may be sent twice: reads, server-side applies, deletes of one uid."""
CONNECT_S = 5.0
READ_S = 30.0
OPERATORS = {"ray.io": "Install the KubeRay operator, with its custom resources, first."}


@dataclass(frozen=True)
class Resource:
    """Where objects of a kind live: `/apis/ray.io/v1`, `rayservices`."""

    base: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """The path of all objects of a namespace, or of one."""
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.base}{inside}/{self.plural}{f'/{name}' if name else ''}"


class Cluster:
    """An API server, the context we speak as, and the namespace of what names none.

    Every method raises `RefusedError` for what the server refuses and `UnreachableError` where none answers.
    """

    def __init__(self, api: "ApiClient", context: str, namespace: str) -> None:
        self.context = context
        self.namespace = namespace
        self.now = datetime.now(UTC)
        """The server's clock when it last answered: its events and conditions are dated by it."""
        self._api = api
        self._groups: dict[str, dict[str, Resource]] = {}

    def namespaced(self, body: Body) -> Body:
        """The object with its namespace written in, where its kind has one."""
        ref = ref_of(body)
        if not self.resource(ref.api_version, ref.kind).namespaced:
            return body
        return body | {"metadata": body["metadata"] | {"namespace": ref.namespace or self.namespace}}

    def resource(self, api_version: str, kind: str) -> Resource:
        """Where a kind lives; `ClusterError` for one that the cluster does not know."""
        if api_version not in self._groups:
            self._groups[api_version] = self._discovered(api_version)
        found = self._groups[api_version].get(kind)
        if found is None:
            hint = OPERATORS.get(api_version.split("/")[0], "Something that defines it has to be installed first.")
            raise ClusterError(f"The cluster does not know {kind} ({api_version}). {hint}")
        return found

    def _discovered(self, api_version: str) -> dict[str, Resource]:
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            listed = self._request("GET", base, verb="discover", what=api_version)
        except RefusedError as error:
            if error.status == 404:
                return {}
            raise
        return {
            entry["kind"]: Resource(base, entry["name"], bool(entry["namespaced"]))
            for entry in listed.get("resources", [])
            if "/" not in entry["name"]
        }

    def get(self, ref: Ref) -> Body | None:
        """The live object; None if it is not there."""
        path = self._path(ref)
        return _if_there(lambda: self._request("GET", path, verb="get", **self._named(ref)))

    def listed(self, api_version: str, kind: str, namespace: str | None, **selectors: str) -> list[Body]:
        """The objects of a kind in a namespace (None: all), by `labelSelector` or `fieldSelector`."""
        resource = self.resource(api_version, kind)
        what, where = resource.plural, f" in namespace {namespace}" if namespace else ""
        found = self._request("GET", resource.path(namespace), selectors, verb="list", what=what, where=where)
        items: list[Body] = found.get("items") or []
        return items

    def apply(self, body: Body, *, dry_run: bool, force: bool) -> Body:
        """What a strict server-side apply makes of it. `body` has its namespace."""
        ref = ref_of(body)
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": str(force).lower()}
        if dry_run:
            query["dryRun"] = "All"
        return self._request("PATCH", self._path(ref), query, body, verb="patch", **self._named(ref))

    def delete(self, ref: Ref, uid: str) -> None:
        """Delete this very object, after what belongs to it. What is gone already is no error."""
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        path = self._path(ref)
        _if_there(lambda: self._request("DELETE", path, {}, options, verb="delete", **self._named(ref)))

    def log_tail(self, namespace: str, pod: str, container: str, lines: int, *, previous: bool) -> list[str]:
        """The last lines of a container's log; none where there is no log."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        query = {"container": container, "tailLines": str(lines), "previous": str(previous).lower()}
        status, data = self._sent("GET", path, query, None, verb="read the log of", what=f"Pod/{pod}")
        return data.decode(errors="replace").splitlines() if status == 200 else []

    def await_change(self, ref: Ref, version: str, timeout_s: float) -> None:
        """Until the object changes after `version`, or the time is over. A broken watch is as good as a change."""
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={ref.name}",
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, round(timeout_s))),
        }
        path = self.resource(ref.api_version, ref.kind).path(ref.namespace)
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            response = self._open("GET", path, query, None, (CONNECT_S, timeout_s))
            try:
                if response.status == 200:
                    next(response.response.stream(1024), None)
            finally:
                response.response.close()
        except (HTTPError, OSError, ApiException):
            return

    def _path(self, ref: Ref) -> str:
        return self.resource(ref.api_version, ref.kind).path(ref.namespace or self.namespace, ref.name)

    def _named(self, ref: Ref) -> dict[str, Any]:
        where = f" in namespace {ref.namespace}" if ref.namespace else ""
        return {"what": str(ref), "where": where, "secret": ref.kind == "Secret"}

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        *,
        verb: str,
        what: str,
        where: str = "",
        secret: bool = False,
    ) -> Body:
        status, data = self._sent(method, path, query or {}, body, verb=verb, what=what)
        answer = _json(data)
        if 200 <= status < 300 and not answer:
            raise UnreachableError(f"What answers at {self._api.configuration.host} is no Kubernetes API server.")
        if not 200 <= status < 300:
            raise refused(
                status, answer, verb=verb, what=what, where=where, context=f"context {self.context!r}", secret=secret
            )
        return answer

    def _sent(
        self, method: str, path: str, query: Mapping[str, str], body: Body | None, *, verb: str, what: str
    ) -> tuple[int, bytes]:
        """Status and bytes of the answer; tried again while the server is only busy."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        for pause_s in (*PAUSES_S, None):
            try:
                response = self._open(method, path, query, body, (CONNECT_S, READ_S))
                data: bytes = response.read()
            except (HTTPError, OSError, ApiException) as error:  # the client turns errors of TLS into its own
                if pause_s is None:
                    raise UnreachableError(self._silent(error)) from None
            else:
                # A webhook that cannot be called is a 500, too, and said as such once it stays.
                if response.status not in TRANSIENT or pause_s is None:
                    self._set_clock(response.headers.get("date"))
                    if response.status in TRANSIENT and not _json(data).get("message"):
                        raise UnreachableError(
                            f"The API server of context {self.context!r} is in trouble: it answers {verb} {what} with "
                            f"HTTP {response.status}, four times in a row."
                        )
                    return response.status, data
            time.sleep(pause_s)
        raise AssertionError("the last round returns or raises")

    def _open(
        self, method: str, path: str, query: Mapping[str, str], body: Body | None, timeout_s: tuple[float, float]
    ) -> Any:
        content = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": content}
        request = self._api.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        return self._api.call_api(*request, _request_timeout=timeout_s)

    def _silent(self, error: Exception) -> str:
        host = self._api.configuration.host
        said = str(error)
        if "CERTIFICATE" in said or "SSL" in said:
            why = "its certificate is not trusted, or the connection is not secure"
        elif "refused" in said:
            why = "the connection is refused"
        elif "timed out" in said.lower():
            why = "it does not answer in time"
        elif "resolve" in said.lower() or "Name or service" in said:
            why = "its name is not known"
        else:
            why = "the connection breaks"
        return f"The API server of context {self.context!r} at {host} cannot be reached: {why}."

    def _set_clock(self, date: str | None) -> None:
        if date:
            self.now = parsedate_to_datetime(date)


def _if_there(request: Callable[[], Body]) -> Body | None:
    try:
        return request()
    except RefusedError as error:
        if error.status == 404:
            return None
        raise


def _json(data: bytes) -> Body:
    try:
        body = json.loads(data)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def names(refs: Iterable[object]) -> str:
    """`a, b and c`."""
    *most, last = map(str, refs)
    return f"{', '.join(most)} and {last}" if most else last
