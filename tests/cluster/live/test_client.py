"""The single requests, and how long they may take."""

import asyncio
import threading
import time
from datetime import UTC, datetime

from aiohttp import web

from serve_app.cluster.live.client import Cluster, names
from serve_app.cluster.manifests import Ref
from tests.cluster.api_stub import ApiStub, overloaded, refusing, status
from tests.cluster.kubectl import CONFIG

SETTINGS = Ref("v1", "ConfigMap", "settings", "demo")


def test_an_absent_object_is_none_and_its_deletion_no_error(cluster: Cluster) -> None:
    assert cluster.get(SETTINGS) is None
    cluster.delete(SETTINGS, "uid-1")


def test_an_object_is_deleted_by_its_uid_after_its_dependents(cluster: Cluster, stub: ApiStub) -> None:
    uid = stub.put("v1", "ConfigMap", "settings")["metadata"]["uid"]
    cluster.delete(SETTINGS, uid)
    live = cluster.get(SETTINGS)
    assert live is None or "deletionTimestamp" in live["metadata"]


def test_a_dry_run_stores_nothing(cluster: Cluster, stub: ApiStub) -> None:
    body = cluster.namespaced(CONFIG)
    assert cluster.apply(body, dry_run=True, force=False)["data"] == CONFIG["data"]
    assert cluster.get(SETTINGS) is None
    assert [request.query for request in stub.of("PATCH")] == [
        {"fieldManager": "semantic-cascade", "fieldValidation": "Strict", "force": "false", "dryRun": "All"}
    ]


def test_each_attempt_sends_the_same_query(cluster: Cluster, stub: ApiStub) -> None:
    stub.fail("APPLY", "/configmaps/", overloaded, times=2)
    cluster.apply(cluster.namespaced(CONFIG), dry_run=False, force=True)
    queries = [request.query for request in stub.of("PATCH")]
    assert len(queries) == 3
    assert queries[0] == queries[1] == queries[2]


def test_the_clock_is_the_servers_whether_it_answers_or_refuses(cluster: Cluster, stub: ApiStub) -> None:
    async def in_another_time(request: web.Request) -> web.StreamResponse:
        answer = status(404, "NotFound", "not found")
        answer.headers["Date"] = "Thu, 01 Jan 2026 00:00:00 GMT"
        return answer

    cluster.get(SETTINGS)
    assert abs((datetime.now(UTC) - cluster.now).total_seconds()) < 60
    stub.fail("GET", "/configmaps/", in_another_time)
    cluster.get(SETTINGS)
    assert cluster.now == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_log_that_is_refused_is_empty(cluster: Cluster, stub: ApiStub) -> None:
    stub.logs["w"] = "one\ntwo\n"
    assert cluster.log_tail("demo", "w", "ray", 5, previous=False) == ["one", "two"]
    stub.fail("GET", "/log", refusing(400, "BadRequest", "previous terminated container not found"))
    assert cluster.log_tail("demo", "w", "ray", 5, previous=True) == []


def test_a_watch_that_the_server_forgets_ends_by_our_own_clock(cluster: Cluster, stub: ApiStub) -> None:
    over = threading.Event()

    async def forgotten(request: web.Request) -> web.StreamResponse:
        await asyncio.to_thread(over.wait, 30)
        return web.Response()

    stub.fail("WATCH", "/configmaps", forgotten)
    started = time.monotonic()
    cluster.await_change(SETTINGS, "1", 0.3)
    waited_s = time.monotonic() - started
    over.set()
    assert 0.2 < waited_s < 10


def test_names_as_a_sentence_has_them() -> None:
    assert names([SETTINGS]) == "ConfigMap/settings"
    assert names(["a", "b", "c"]) == "a, b and c"
