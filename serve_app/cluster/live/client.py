"""Requests to a Kubernetes API server by the dynamic client: any kind that it has, every object a plain dict."""

import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from serve_app.cluster.live.discovery import TIMEOUT_S, Discovery
from serve_app.cluster.live.errors import Operation, RefusedError, UnknownKindError, UnreachableError, refusal
from serve_app.cluster.manifests import Fields, Manifest, Ref, ref_of
from serve_app.errors import ClusterError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, ApiException
    from kubernetes.dynamic import Resource

Result = TypeVar("Result")

FIELD_MANAGER = "semantic-cascade"
TRANSIENT = (429, 500, 502, 503, 504)
PAUSES_S = (0.25, 0.5, 1.0)
"""Pauses between attempts. All our requests may be repeated: reads, server-side applies, deletes of one uid."""
OPERATORS = {
    "ray.io": "Install the KubeRay operator, with its custom resources, first.",
    "monitoring.coreos.com": "Install the Prometheus operator first, or render with monitoring: false.",
}


class Cluster:
    """An API server, the context that requests use, and the namespace of manifests that name none.

    Every method raises `RefusedError` if the server refuses and `UnreachableError` if it does not answer.
    """

    def __init__(self, api: "ApiClient", context: str, namespace: str) -> None:
        from kubernetes.dynamic import DynamicClient

        self.context = context
        self.namespace = namespace
        self.now = datetime.now(UTC)
        """The server's clock at its last response, by which its events and conditions are dated."""
        self._host = api.configuration.host
        self._client = DynamicClient(api, discoverer=partial(Discovery, self._read_json))

    def namespaced(self, body: Manifest) -> Manifest:
        """Return the object with its namespace filled in, if its kind has one."""
        ref = ref_of(body)
        if not self._resource(ref.api_version, ref.kind).namespaced:
            return body
        return body | {"metadata": body["metadata"] | {"namespace": ref.namespace or self.namespace}}

    def get(self, ref: Ref) -> Manifest | None:
        """Return the live object, or None if it is absent."""
        resource = self._resource(ref.api_version, ref.kind)
        return self._unless_absent(_about("get", ref), resource.get, name=ref.name, namespace=self._inside(ref))

    def list_objects(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[Manifest]:
        """Return the objects of a kind in a namespace (None: in all) that the selectors select."""
        resource = self._resource(api_version, kind)
        answer = self._send(
            Operation("list", resource.name, namespace),
            resource.get,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        items: list[Manifest] = answer.get("items") or []
        return items

    def apply(self, body: Manifest, *, dry_run: bool, force: bool) -> Manifest:
        """Return what a strict server-side apply makes of the object, which has its namespace."""
        ref = ref_of(body)
        return self._send(
            _about("patch", ref),
            self._resource(ref.api_version, ref.kind).server_side_apply,
            body=body,
            namespace=self._inside(ref),
            field_manager=FIELD_MANAGER,
            force_conflicts=force,
            dry_run="All" if dry_run else None,
            strict=True,
        )

    def delete(self, ref: Ref, uid: str) -> None:
        """Delete the object of this uid, after its dependents. Succeeds if it is absent already."""
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        resource = self._resource(ref.api_version, ref.kind)
        self._unless_absent(
            _about("delete", ref), resource.delete, name=ref.name, namespace=self._inside(ref), body=options
        )

    def log_tail(self, namespace: str, pod: str, container: str, lines: int, *, previous: bool) -> list[str]:
        """Return the last lines of a container's log; empty if it has none."""
        query = [("container", container), ("tailLines", lines), ("previous", previous)]
        log = self._resource("v1", "Pod").subresources["log"]

        def request() -> bytes:
            # A list of its own for each attempt: the client appends its other parameters to it.
            options = {"query_params": [*query], "serialize": False, "_request_timeout": TIMEOUT_S}
            return self._read(log.get(name=pod, namespace=namespace, **options))

        try:
            data = self._attempt(Operation("read the log of", f"Pod/{pod}", namespace), request)
        except RefusedError:
            return []
        return data.decode(errors="replace").splitlines()

    def await_change(self, ref: Ref, version: str, timeout_s: float) -> None:
        """Return when the object has changed after `version`, after `timeout_s`, or when the watch breaks.

        Also after `timeout_s` if the account may not watch.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            response = self._resource(ref.api_version, ref.kind).get(
                namespace=self._inside(ref),
                field_selector=f"metadata.name={ref.name}",
                resource_version=version,
                timeout_seconds=max(1, round(timeout_s)),
                watch=True,
                serialize=False,
                _request_timeout=(TIMEOUT_S[0], timeout_s),
            )
            try:
                next(response.stream(1024), None)
            finally:
                response.close()
        except ApiException as error:
            if error.status == 403:
                time.sleep(timeout_s)
        except (HTTPError, OSError):
            return

    def _inside(self, ref: Ref) -> str:
        return ref.namespace or self.namespace

    def _resource(self, api_version: str, kind: str) -> "Resource":
        """Return where a kind is served. Raises `UnknownKindError` if the server does not have it."""
        resource = self._attempt(
            Operation("discover", api_version), lambda: self._client.resources.get(api_version, kind)
        )
        if resource is None:
            hint = OPERATORS.get(api_version.split("/")[0], "Install what defines it first.")
            raise UnknownKindError(f"The cluster does not know {kind} ({api_version}). {hint}")
        return resource

    def _send(self, operation: Operation, verb: Callable[..., Any], *, strict: bool = False, **options: Any) -> Fields:
        """Return the JSON object by which the server answers a method of a `Resource`."""
        query = [("fieldValidation", "Strict")] if strict else []
        return self._attempt(
            operation,
            lambda: self._read_json(
                verb(query_params=[*query], serialize=False, _request_timeout=TIMEOUT_S, **options)
            ),
        )

    def _unless_absent(self, operation: Operation, verb: Callable[..., Any], **options: Any) -> Fields | None:
        try:
            return self._send(operation, verb, **options)
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def _attempt(self, operation: Operation, request: Callable[[], Result]) -> Result:
        """Return what `request` returns. It is repeated while the server is only busy; its errors become ours."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        for pause_s in (*PAUSES_S, None):
            try:
                return request()
            except ApiException as error:
                # The client raises errors of TLS as its own, with status 0.
                if pause_s is None or error.status not in (0, *TRANSIENT):
                    raise self._translated(error, operation) from None
            except (HTTPError, OSError) as error:
                if pause_s is None:
                    raise UnreachableError(self._unreachable(str(error))) from None
            time.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _translated(self, error: "ApiException", operation: Operation) -> ClusterError:
        if not error.status:
            return UnreachableError(self._unreachable(str(error.reason)))
        self._set_clock(error.headers)
        body = _parsed(error.body or "")
        # A webhook that cannot be called is HTTP 500, too, but comes with a message.
        if error.status in TRANSIENT and not body.get("message"):
            return UnreachableError(
                f"The API server of context {self.context!r} is in trouble: it answers {operation.verb} "
                f"{operation.subject} with HTTP {error.status}, four times in a row."
            )
        return refusal(error.status, body, operation, f"context {self.context!r}")

    def _unreachable(self, reason: str) -> str:
        if "CERTIFICATE" in reason or "SSL" in reason:
            cause = "its certificate is not trusted, or the connection is not secure"
        elif "refused" in reason:
            cause = "the connection is refused"
        elif "timed out" in reason.lower():
            cause = "it does not answer in time"
        elif "resolve" in reason.lower() or "Name or service" in reason:
            cause = "its name is not known"
        else:
            cause = "the connection breaks"
        return f"The API server of context {self.context!r} at {self._host} cannot be reached: {cause}."

    def _read(self, response: Any) -> bytes:
        data: bytes = response.data
        self._set_clock(response.headers)
        return data

    def _read_json(self, response: Any) -> Fields:
        if body := _parsed(self._read(response)):
            return body
        raise UnreachableError(f"{self._host} is not a Kubernetes API server: it does not answer in JSON.")

    def _set_clock(self, headers: Any) -> None:
        if headers and (date := headers.get("date")):
            self.now = parsedate_to_datetime(date)


def _about(verb: str, ref: Ref) -> Operation:
    return Operation(verb, str(ref), ref.namespace, secret=ref.kind == "Secret")


def _parsed(data: str | bytes) -> Fields:
    """Return the JSON object in `data`; empty if it is something else."""
    try:
        body = json.loads(data)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def names(refs: Iterable[object]) -> str:
    """Return `a, b and c`."""
    *most, last = map(str, refs)
    return f"{', '.join(most)} and {last}" if most else last
