"""The page's files: what is vendored, how large it is, with which headers it goes out, and to whom."""

import gzip
import hashlib
import json
import re
from typing import Any

import httpx
import pytest

from serve_app.page.site import FILES, HEADERS

from .serving import built, configured

VENDOR = FILES / "vendor"
LOCK: dict[str, dict[str, str]] = json.loads((VENDOR / "vendored.json").read_text(encoding="utf-8"))


def client(server: str = "127.0.0.1", **router: Any) -> httpx.AsyncClient:
    app = built(configured(**router))[0].__serve_build_asgi_app__()

    async def arrived(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"server": (server, 8000)}, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(arrived), base_url="http://localhost")


def test_vendored_files_are_those_of_the_lock_with_a_licence_each() -> None:
    files = {path.name for path in VENDOR.iterdir()} - {"vendored.json", "LICENSES.txt"}
    assert files == LOCK.keys()
    assert {name: hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() for name in files} == {
        name: entry["sha256"] for name, entry in LOCK.items()
    }
    licences = (VENDOR / "LICENSES.txt").read_text(encoding="utf-8")
    assert [
        entry for entry in LOCK.values() if f"{entry['package']} {entry['version']}: {entry['licence']}" not in licences
    ] == []


def test_all_of_it_is_at_most_300_kb_compressed() -> None:
    sizes = [
        len(gzip.compress(path.read_bytes()))
        for path in FILES.rglob("*")
        if path.suffix in (".js", ".css", ".html", ".svg")
    ]
    assert sum(sizes) <= 300_000


def test_nothing_comes_from_elsewhere_and_nothing_is_inline() -> None:
    own = [path for path in FILES.rglob("*") if path.suffix in (".js", ".css", ".html") and path.parent != VENDOR]
    sources = {path.name: path.read_text(encoding="utf-8") for path in own}
    assert {
        name
        for name, text in sources.items()
        if re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|dangerously", text)
    } == set()
    assert {
        name
        for name, text in sources.items()
        if re.search(r"""(?:from|import\(?|src=|href=|url\() ?["']?(?:https?:)?//""", text)
    } == set()
    assert re.search(r"<style|style=|onclick|<script(?! (?:type=\"module\" )?src=)", sources["index.html"]) is None


async def test_the_page_goes_out_with_its_policy_and_is_revalidated() -> None:
    async with client() as http:
        page = await http.get("/")
        assert page.status_code == 200
        assert page.headers.items() >= HEADERS.items()
        assert (page.headers["content-type"], page.headers["cache-control"]) == ("text/html; charset=utf-8", "no-cache")
        head = await http.head("/")
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(page.content)))
        for path in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            asset = await http.get(f"/{path}")
            assert (asset.status_code, asset.headers["cache-control"]) == (200, "no-cache"), path
            again = await http.get(f"/{path}", headers={"if-none-match": asset.headers["etag"]})
            assert again.status_code == 304
        missing = await http.get("/page/static/../site.py")
        assert missing.status_code == 404
        api = await http.get("/healthz")
        assert "content-security-policy" not in api.headers


async def test_every_module_that_a_script_imports_is_there() -> None:
    for path in FILES.rglob("*.js"):
        if path.parent != VENDOR:
            for name in re.findall(r"""(?:from|import\() ?["'](\.[^"']+)["']""", path.read_text(encoding="utf-8")):
                assert (path.parent / name).resolve().is_file(), (path.name, name)


@pytest.mark.parametrize(
    ("server", "headers", "router", "status"),
    [
        ("127.0.0.1", {}, {}, 200),
        ("::1", {}, {}, 200),
        ("10.0.0.5", {}, {}, 404),
        ("127.0.0.1", {"x-forwarded-for": "203.0.113.9"}, {}, 404),
        ("10.0.0.5", {"x-forwarded-for": "203.0.113.9"}, {"page": True}, 200),
        ("127.0.0.1", {}, {"page": False}, 404),
    ],
)
async def test_who_is_served_the_page(
    server: str, headers: dict[str, str], router: dict[str, Any], status: int
) -> None:
    async with client(server, access={"open": True}, **router) as http:
        for path in ("/", "/page/static/app.js", "/page/about"):
            assert (await http.get(path, headers=headers)).status_code == status
        decide = await http.post("/page/decide", headers=headers, json={"model": "default", "answers": [None, None]})
        assert decide.status_code == status
        assert (await http.get("/v1/models", headers=headers)).status_code == 200


async def test_neither_the_documentation_of_the_api_nor_an_unknown_path_lists_the_page() -> None:
    async with client() as http:
        paths = [*(await http.get("/openapi.json")).json()["paths"], "/docs", "/openapi.json"]
        unknown = await http.get("/page/deside")
    assert [path for path in paths if path == "/" or path.startswith("/page")] == []
    message = unknown.json()["error"]["message"]
    assert message == f"There is no '/page/deside' here. Available: {', '.join(sorted(paths))}."
