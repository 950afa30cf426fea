"""The door: who passes, what each key sees, and how the others are told."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.api.routes import build_api
from serve_app.config import AccessConfig, AppConfig
from serve_app.config.key_file import revoke_key
from serve_app.deployments.access import key_ring
from serve_app.deployments.access.middleware import OPEN_PATHS
from tests.api.serving import FakeService
from tests.deployments.replies import routed
from tests.page.serving import built

from .doors import ASK, CHAT, Door, behind, client


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


ROUTES = [
    (method, route.path.replace("{model_id}", "default").replace("{response_id}", "resp_1"))
    for route in build_api(FakeService()).routes
    for method in sorted(getattr(route, "methods", None) or ())
]


def test_there_are_routes_to_walk() -> None:
    assert {path for _, path in ROUTES} >= {CHAT, "/v1/responses", "/v1/messages", "/v1/embeddings", "/openapi.json"}


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("GET", "/nope"), ("OPTIONS", CHAT), ("PUT", CHAT)])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-cascade-wrong"}, {"x-api-key": "wrong"}])
async def test_no_route_but_health_and_the_documentation_is_open_without_a_valid_key(
    door: Door, method: str, path: str, headers: dict[str, str]
) -> None:
    async with door.client() as http:
        response = await http.request(method, path, headers=headers, json=ASK if method == "POST" else None)
    if path in OPEN_PATHS:
        assert response.status_code == 200
        return
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith('Bearer realm="semantic-cascade"')
    assert ('error="invalid_token"' in response.headers["www-authenticate"]) is bool(headers)
    assert door.service.runs == []
    assert door.metrics.measures == [("cascade_key_requests_total", 1, ("", "unauthorized"))]


async def test_no_route_of_the_whole_server_is_open_but_health_the_page_itself_and_the_documentation(
    door: Door,
) -> None:
    app = routed(access={"keys_file": str(door.file)}, page=True).__serve_build_asgi_app__()
    statuses = {}
    async with client(app) as http:
        for route in app.routes:
            path = {"/page/static": "/page/static/app.js"}.get(route.path, route.path)
            for method in getattr(route, "methods", None) or ["GET"]:
                statuses[method, path] = (await http.request(method, path)).status_code
    passed = {key for key, status in statuses.items() if status != 401}
    assert len(statuses) > 15
    assert ("GET", "/page/about") in statuses
    open_paths = ("/", "/healthz", "/readyz", "/page/static/app.js", "/docs", "/openapi.json")
    assert passed == {("GET", path) for path in open_paths} | {("HEAD", "/openapi.json")}


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_the_documentation_needs_no_key_since_it_is_the_same_at_every_server(door: Door, path: str) -> None:
    door.key("alice")
    models = {name: {"engine": "replay", "default": "x"} for name in ("secret-one", "secret-two")}
    cascade = {"tiers": [{"models": ["secret-two"]}]}
    config = AppConfig.model_validate({"models": models, "cascades": {"secret": cascade}})
    async with (
        door.client() as plain,
        client(routed(access={"keys_file": str(door.file)}, page=True).__serve_build_asgi_app__()) as other,
        client(built(config)[0].__serve_build_asgi_app__()) as secret,
    ):
        answers = [await http.get(path) for http in (plain, other, secret)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert not any(word in answers[0].text for word in ("secret-one", "alice"))


async def test_the_page_shows_what_the_key_may_ask(door: Door) -> None:
    headers = door.key("alice", models=["three", "a"])
    body = {"model": "default", "answers": [{"text": "a"}, {"text": "b"}]}
    app = routed(access={"keys_file": str(door.file)}, page=True).__serve_build_asgi_app__()
    async with client(app) as http:
        about = (await http.get("/page/about", headers=headers)).json()
        decided = await http.post("/page/decide", json=body, headers=headers)
        allowed = await http.post("/page/decide", json=body | {"model": "three"}, headers=headers)
    assert ([cascade["id"] for cascade in about["cascades"]], about["models"]) == (["three"], ["a"])
    assert (decided.status_code, allowed.status_code) == (404, 200)
    assert decided.json()["error"]["message"] == "There is no cascade 'default'. Available: three."


@pytest.mark.parametrize(
    "path", ["/healthz/", "/page", "/page/static", "/healthz/../v1/models", "/x/healthz", "/HEALTHZ"]
)
async def test_only_the_very_paths_of_health_are_open(door: Door, path: str) -> None:
    async with door.client() as http:
        assert (await http.get(path)).status_code == 401


async def test_errors_are_those_of_the_api_that_was_asked(door: Door) -> None:
    async with door.client() as http:
        openai = (await http.post(CHAT, json=ASK)).json()
        anthropic = (await http.post("/v1/messages", json=ASK)).json()
    message = "An API key is required: send Authorization: Bearer KEY, or x-api-key: KEY."
    assert openai == {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
    }
    assert anthropic == {
        "type": "error",
        "error": {"type": "authentication_error", "message": message},
        "request_id": None,
    }


async def test_a_key_is_read_from_either_header(door: Door) -> None:
    door.key("alice")
    secret = door.secrets["alice"]
    passing: list[dict[str, str]] = [
        {"authorization": f"Bearer {secret}"},
        {"authorization": f"bearer  {secret} "},
        {"x-api-key": secret},
        {"authorization": "Basic dXNlcjpw", "x-api-key": secret},
        {"authorization": "Bearer ", "x-api-key": secret},
    ]
    refused: list[dict[str, str]] = [
        {"authorization": secret},
        {"authorization": f"Basic {secret}"},
        {"authorization": "Bearer wrong", "x-api-key": secret},
        {"x-api-key": f"Bearer {secret}"},
        {"authorization": f"Bearer {secret}x"},
    ]
    async with door.client() as http:
        assert [(await http.post(CHAT, json=ASK, headers=headers)).status_code for headers in passing] == [200] * 5
        assert [(await http.post(CHAT, json=ASK, headers=headers)).status_code for headers in refused] == [401] * 5
        odd = await http.get("/v1/models", headers=[(b"authorization", b"Bearer \xff\xfe")])
    assert odd.status_code == 401


async def test_records_and_metrics_have_the_name_of_the_key_and_never_the_key(door: Door) -> None:
    headers = door.key("alice")
    door.service.usd = 1.0
    async with door.client() as http:
        response = await http.post(CHAT, json=ASK, headers=headers)
    assert response.json()["cascade"]["caller"] == "alice"
    assert [run.caller for run in door.service.runs] == ["alice"]
    assert door.secrets["alice"] not in response.text + str(door.service.runs) + str(door.metrics.measures)
    # Two members, which read 10 tokens and write 1 each.
    assert door.metrics.measures == [
        ("cascade_key_requests_total", 1, ("alice", "passed")),
        ("cascade_key_tokens_total", 22, ("alice",)),
        ("cascade_key_cost_usd_total", pytest.approx(22e-6), ("alice",)),
    ]


async def test_a_limited_key_sees_and_asks_its_own_models_only(door: Door) -> None:
    headers = door.key("alice", models=["default", "encoder"])
    async with door.client() as http:
        listed = (await http.get("/v1/models", headers=headers)).json()
        assert [card["id"] for card in listed["data"]] == ["default", "encoder"]
        assert (await http.get("/v1/models/default", headers=headers)).status_code == 200
        assert (await http.post(CHAT, json=ASK, headers=headers)).status_code == 200
        refused = [
            await http.get("/v1/models/t", headers=headers),
            await http.post(CHAT, json=ASK | {"model": "t"}, headers=headers),
            await http.post(CHAT, json=ASK | {"model": "t", "stream": True}, headers=headers),
            await http.post("/v1/completions", json={"model": "t", "prompt": ["a", "b"]}, headers=headers),
            await http.post("/v1/responses", json={"model": "t", "input": "Hi"}, headers=headers),
            await http.post("/v1/messages", json=ASK | {"model": "t", "max_tokens": 5}, headers=headers),
            await http.post("/v1/messages/count_tokens", json=ASK | {"model": "t"}, headers=headers),
            await http.post("/v1/embeddings", json={"model": "t", "input": "Hi"}, headers=headers),
        ]
    assert [response.status_code for response in refused] == [404] * 8
    *messages, embeddings = [response.json()["error"]["message"] for response in refused]
    assert set(messages) == {"There is no model 't'. Available: default, encoder."}
    assert embeddings == "There is no encoder 't'. Available: encoder."
    assert refused[1].json()["error"]["code"] == "model_not_found"
    assert len(door.service.runs) == 1


async def test_an_allowed_page_in_a_browser_may_ask_and_reads_why_it_was_refused(door: Door) -> None:
    access = {"keys_file": str(door.file)}
    app = routed(access=access, cors={"origins": ["https://app.example"]}).__serve_build_asgi_app__()
    origin = {"origin": "https://app.example"}
    preflight_headers = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, x-api-key",
    }
    async with client(app) as http:
        preflight = await http.options(CHAT, headers=origin | preflight_headers)
        refused = await http.post(CHAT, json=ASK, headers=origin)
    assert (preflight.status_code, refused.status_code) == (200, 401)
    assert {answer.headers["access-control-allow-origin"] for answer in (preflight, refused)} == set(origin.values())


async def test_an_id_that_is_gone_names_no_others(door: Door) -> None:
    headers = door.key("alice", models=["old"])
    async with door.client() as http:
        response = await http.post(CHAT, json=ASK | {"model": "old"}, headers=headers)
    assert response.json()["error"]["message"] == "There is no model 'old'. Available: none."


async def test_only_an_operator_sees_how_the_server_is_set_up(door: Door) -> None:
    headers = door.key("alice")
    async with door.client() as http:
        assert (await http.get("/readyz")).json() == {"ready": True}
        assert (await http.get("/readyz", headers=headers)).json() == {"ready": True}
        assert (await http.get("/readyz", headers=door.of("ops"))).json() == {"ready": True, "waiting_for": []}
        door.service.ready = False
        assert (await http.get("/readyz")).status_code == 503


async def test_an_operators_key_asks_nothing_and_every_path_says_so(door: Door) -> None:
    headers = door.of("ops")
    app = routed(access={"keys_file": str(door.file)}, page=True).__serve_build_asgi_app__()
    decide = {"model": "default", "answers": [{"text": "a"}, {"text": "b"}]}
    async with door.client() as http, client(app) as whole:
        assert (await http.get("/v1/models", headers=headers)).json()["data"] == []
        refused = [
            await http.get("/v1/models/default", headers=headers),
            await http.post(CHAT, json=ASK, headers=headers),
            await http.post("/v1/completions", json={"model": "default", "prompt": ["a", "b"]}, headers=headers),
            await http.post("/v1/responses", json={"model": "default", "input": "Hi"}, headers=headers),
            await http.post("/v1/messages", json=ASK | {"max_tokens": 5}, headers=headers),
            await http.post("/v1/messages/count_tokens", json=ASK, headers=headers),
            await http.post("/v1/embeddings", json={"model": "encoder", "input": "Hi"}, headers=headers),
            await whole.post("/page/decide", json=decide, headers=headers),
        ]
    assert {response.status_code for response in refused} == {404}
    assert {response.json()["error"]["message"] for response in refused} == {
        "The key 'ops' is for operators (admin) and asks no models; use a key that is not."
    }
    assert door.service.runs == []


async def test_responses_belong_to_the_key_that_made_them(door: Door) -> None:
    alice, bob = door.key("alice"), door.key("bob")
    first = {"model": "default", "input": "Hi"}
    async with door.client() as http:
        id_ = (await http.post("/v1/responses", json=first, headers=alice)).json()["id"]
        further = first | {"previous_response_id": id_}
        foreign = [
            await http.get(f"/v1/responses/{id_}", headers=bob),
            await http.delete(f"/v1/responses/{id_}", headers=bob),
            await http.post("/v1/responses", json=further, headers=bob),
        ]
        assert [response.status_code for response in foreign] == [404, 404, 400]
        assert (await http.get(f"/v1/responses/{id_}", headers=alice)).status_code == 200
        assert (await http.post("/v1/responses", json=further, headers=alice)).status_code == 200
        assert (await http.delete(f"/v1/responses/{id_}", headers=alice)).status_code == 200


async def test_a_revoked_key_is_refused_and_a_new_one_passes_without_a_restart(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ring, "LOOK_AGAIN_S", 0.0)
    alice = door.key("alice")
    async with door.client() as http:

        async def status(headers: dict[str, str]) -> int:
            return (await http.get("/v1/models", headers=headers)).status_code

        assert await status(alice) == 200
        bob = door.key("bob")
        assert (await status(alice), await status(bob)) == (200, 200)
        revoke_key(door.file, "alice")
        assert (await status(alice), await status(bob)) == (401, 200)


class TestWithoutKeys:
    @pytest.mark.parametrize("address", ["http://127.0.0.1:8000", "http://127.0.0.2", "http://[::1]:8000"])
    async def test_this_machine_asks_as_before(self, address: str) -> None:
        async with client(behind(FakeService(), AccessConfig()), address) as http:
            response = await http.post(CHAT, json=ASK)
            assert response.status_code == 200
            assert "caller" not in response.json()["cascade"]
            assert "waiting_for" in (await http.get("/readyz")).json()

    @pytest.mark.parametrize("address", ["http://10.0.0.7:8000", "http://cascade", "http://[fd00::7]"])
    @pytest.mark.parametrize(("method", "path"), ROUTES)
    async def test_other_machines_are_told_why_not(self, address: str, method: str, path: str) -> None:
        service = FakeService()
        async with client(behind(service, AccessConfig()), address) as http:
            response = await http.request(method, path, json=ASK if method == "POST" else None)
        assert response.status_code == (200 if path in OPEN_PATHS else 403)
        assert service.runs == []

    async def test_other_machines_are_told_of_health_and_no_more(self) -> None:
        async with client(behind(FakeService(), AccessConfig()), "http://10.0.0.7:8000") as http:
            assert "waiting_for" not in (await http.get("/readyz")).json()

    async def test_what_they_are_told(self) -> None:
        async with client(behind(FakeService(), AccessConfig())) as http:
            error: dict[str, Any] = (await http.post(CHAT, json=ASK)).json()["error"]
        assert error["code"] == "keys_required"
        assert "router.access.keys_file" in error["message"]
        assert "router.access.open: true" in error["message"]

    async def test_an_open_server_asks_nobody(self) -> None:
        async with client(behind(FakeService(), AccessConfig(open=True))) as http:
            assert (await http.post(CHAT, json=ASK)).status_code == 200

    @pytest.mark.parametrize("header", ["x-forwarded-for", "X-Forwarded-Host", "forwarded", "x-real-ip", "via"])
    async def test_what_a_proxy_on_this_machine_passes_on_is_not_local(self, header: str) -> None:
        async with client(behind(FakeService(), AccessConfig()), "http://127.0.0.1:8000") as http:
            assert (await http.post(CHAT, json=ASK, headers={header: "203.0.113.9"})).status_code == 403

    async def test_what_haproxy_passes_on_is_not_local(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ray Serve's HAProxy reaches a router beside it by 127.0.0.1, whichever client asked."""
        monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
        async with client(behind(FakeService(), AccessConfig()), "http://127.0.0.1:8000") as http:
            assert (await http.post(CHAT, json=ASK)).status_code == 403

    async def test_a_scope_without_an_address_is_not_local(self) -> None:
        app = behind(FakeService(), AccessConfig())

        async def nowhere(scope: Any, receive: Any, send: Any) -> None:
            await app({key: value for key, value in scope.items() if key != "server"}, receive, send)

        transport = httpx.ASGITransport(nowhere)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            assert (await http.get("/v1/models")).status_code == 403
