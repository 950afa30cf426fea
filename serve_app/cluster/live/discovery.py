"""Find out which kinds an API server has: one request for each group and version that is used.

The discoverers of `kubernetes.dynamic` do not fit a command. They request /version and /apis first, keep what they read
in a file under /tmp that any user of the machine can write, and treat a group that cannot be listed for the moment as
one without kinds.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from serve_app.cluster.manifests import Fields

if TYPE_CHECKING:
    from kubernetes.dynamic import DynamicClient, Resource

TIMEOUT_S = (5.0, 30.0)
"""Time limits for connecting and for reading, of every request except a watch."""


class Discovery:
    """A discoverer for `DynamicClient`, which calls it with itself and `cache_file`. It writes no file.

    `read_json` returns the JSON object of a response.
    """

    def __init__(
        self, read_json: Callable[[Any], Fields], client: "DynamicClient", cache_file: str | None = None
    ) -> None:
        self._read_json = read_json
        self._client = client
        self._kinds: dict[str, dict[str, Resource]] = {}

    def get(self, api_version: str, kind: str) -> "Resource | None":
        """Return where a kind is served, or None if the server does not have it.

        A kind that is absent is looked up again by the next call: its definition may be installed meanwhile. Raises
        what the request raises, unless that is 404, by which a server says that it has no such group and version.
        """
        if kind not in self._kinds.get(api_version, {}):
            self._kinds[api_version] = self._resources(api_version)
        return self._kinds[api_version].get(kind)

    def _resources(self, api_version: str) -> "dict[str, Resource]":
        from kubernetes.dynamic.exceptions import NotFoundError

        prefix = "apis" if "/" in api_version else "api"
        try:
            response = self._client.request(
                "get", f"/{prefix}/{api_version}", serialize=False, _request_timeout=TIMEOUT_S
            )
            entries = self._read_json(response).get("resources") or []
        except NotFoundError:
            return {}
        kinds = [entry for entry in entries if "/" not in entry["name"]]
        return {entry["kind"]: self._resource(prefix, api_version, entry, entries) for entry in kinds}

    def _resource(self, prefix: str, api_version: str, entry: Fields, entries: list[Fields]) -> "Resource":
        from kubernetes.dynamic import Resource

        group, _, version = api_version.rpartition("/")
        parts = [resource for resource in entries if resource["name"].startswith(f"{entry['name']}/")]
        return Resource(
            prefix=prefix,
            group=group,
            api_version=version,
            kind=entry["kind"],
            name=entry["name"],
            namespaced=entry["namespaced"],
            client=self._client,
            subresources={part["name"].partition("/")[2]: dict(part) for part in parts},
        )
