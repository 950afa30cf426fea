"""The live view: its stream, who may watch, and what a browser shows of it."""

import asyncio
import json
import socket
import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI

from serve_app.api.intake.ask import Ask
from serve_app.api.intake.caller import Caller, with_caller
from serve_app.core.running.cascade import run_cascade
from serve_app.core.types.prompt import Message, Prompt
from serve_app.deployments.protecting.liveness import Health
from serve_app.deployments.showing.figures import Figures
from serve_app.evaluation.analysis.timing import virtual_time
from serve_app.page.live import MOST_S, MOST_STREAMS, install_live
from tests.patience import PATIENCE_S

from .browser import Browser
from .serving import Served, built, configured, listening, serving


class Counted:
    """Snapshots with a number each."""

    def __init__(self) -> None:
        self.number = self.snapshots = 0
        self.hold: asyncio.Event | None = None
        self.filling = ""

    async def snapshot(self) -> dict[str, object]:
        self.snapshots += 1
        if self.hold is not None:
            await self.hold.wait()
        self.number += 1
        return {"number": self.number} | ({"filling": self.filling} if self.filling else {})


def application(live: Counted) -> FastAPI:
    app = FastAPI()
    install_live(app, live, period_s=0.001)
    return app


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


async def test_a_stream_ends_after_fifteen_snapshots() -> None:
    async with client(application(Counted())) as http:
        response = await http.get("/page/live")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, end, tail = response.text.split("\n\n")
    assert [json.loads(event.removeprefix("data: ")) for event in events] == [{"number": n} for n in range(1, 16)]
    assert (end, tail) == ("data: [DONE]", "")


async def test_only_operators_may_watch() -> None:
    app = application(Counted())

    async def with_key(scope: Any, receive: Any, send: Any) -> None:
        await app(with_caller(scope, Caller("ann", operator=False)), receive, send)

    async with client(with_key) as http:
        response = await http.get("/page/live")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "not_an_operator")


async def test_there_are_not_more_streams_than_a_router_should_feed() -> None:
    live = Counted()
    live.hold = asyncio.Event()
    async with client(application(live)) as http:
        watching = [asyncio.create_task(http.get("/page/live")) for _ in range(MOST_STREAMS)]
        while live.snapshots < MOST_STREAMS:  # noqa: ASYNC110
            await asyncio.sleep(0)
        refused = await http.get("/page/live")
        live.hold.set()
        assert {response.status_code for response in await asyncio.gather(*watching)} == {200}
        again = await http.get("/page/live")
    assert (refused.status_code, refused.headers["retry-after"], again.status_code) == (429, "1", 200)  # of .015 s


async def test_those_who_arrive_at_the_same_instant_are_counted() -> None:
    async with client(application(Counted())) as http:
        arriving = await asyncio.gather(*(http.get("/page/live") for _ in range(MOST_STREAMS + 8)))
    assert sorted(response.status_code for response in arriving) == [200] * MOST_STREAMS + [429] * 8


async def test_who_leaves_before_the_first_figure_gives_the_place_back() -> None:
    app = application(Counted())

    async def gone(_: Any) -> None:
        raise OSError("the connection is closed")

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": "/page/live", "query_string": b"", "headers": []}
    for _ in range(MOST_STREAMS):
        with pytest.raises(OSError, match="closed"):
            await app(scope | {"asgi": {"version": "3.0", "spec_version": "2.0"}}, receive, gone)
    async with client(app) as http:
        assert (await http.get("/page/live")).status_code == 200


SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/page/live",
    "query_string": b"",
    "headers": [],
    "asgi": {"version": "3.0", "spec_version": "2.0"},
}


async def never(*_: Any) -> Any:
    await asyncio.Event().wait()


def test_a_client_that_does_not_read_loses_its_place_after_a_while() -> None:
    async def main() -> None:
        app = FastAPI()
        install_live(app, Counted())
        stalled = [asyncio.create_task(app(SCOPE, never, never)) for _ in range(MOST_STREAMS)]
        await asyncio.sleep(MOST_S - 1)
        async with client(app) as http:
            assert (await http.get("/page/live")).status_code == 429
            await asyncio.sleep(2)
            assert (await http.get("/page/live")).status_code == 200
        await asyncio.gather(*stalled)

    virtual_time.run(main())


def test_the_stream_of_a_slow_reader_ends_as_others_do() -> None:
    """So its page opens the next one, and reports nothing."""
    bodies: list[bytes] = []

    async def slow(message: Any) -> None:
        await asyncio.sleep(4)
        bodies.append(message.get("body", b""))

    async def main() -> None:
        app = FastAPI()
        install_live(app, Counted())
        await app(SCOPE, never, slow)

    virtual_time.run(main())
    assert [body[:14] for body in bodies] == [b"", *[b'data: {"number'] * 5, b"data: [DONE]\n\n", b""]


async def test_a_failure_of_the_figures_is_not_taken_for_a_slow_client() -> None:
    class Late:
        async def snapshot(self) -> dict[str, object]:
            raise TimeoutError("the figures")

    app = FastAPI()
    install_live(app, Late())
    with pytest.raises(TimeoutError, match="the figures"):
        await app(SCOPE, never, lambda message: asyncio.sleep(0))


def test_a_socket_that_nobody_reads_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.page.live.MOST_STREAMS", 1)
    live = Counted()
    live.filling = "x" * 10_000_000  # more than the kernel holds for a connection
    app = FastAPI()
    install_live(app, live, period_s=0.001, most_s=1)
    with listening(app) as url, socket.create_connection(("127.0.0.1", urlsplit(url).port)) as stalled:
        stalled.sendall(b"GET /page/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        deadline = time.monotonic() + PATIENCE_S
        while live.snapshots == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        live.filling = ""
        while httpx.get(f"{url}/page/live", timeout=PATIENCE_S).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert stalled.recv(12) == b"HTTP/1.1 200"


def asked(served: Served, question: str, model: str = "default") -> None:
    """Ask a cascade or a model, and wait for its answer."""
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=PATIENCE_S).raise_for_status()


def test_a_browser_shows_figures_models_and_decisions_as_they_come(browser: Browser, served: Served) -> None:
    browser.open(f"{served.url}/#/live")
    browser.find(".tiles")
    before = len(browser.all(".panel:last-child tbody tr"))
    asked(served, "How many minutes?")
    latest = "document.querySelector('.panel:last-child tbody tr')?.innerText"
    browser.until(f"document.querySelectorAll('.panel:last-child tbody tr').length > {before} || {before} >= 25")
    browser.until(f"{latest}.includes('large-t') && {latest}.includes('disagreement')")
    assert browser.run("return [...document.querySelectorAll('.data tbody th')].map(at => at.innerText)")[:3] == [
        "small-a",
        "small-b",
        "large-t",
    ]
    assert "question" not in browser.text("main")
    assert browser.findings() == []


def test_a_model_that_is_asked_by_itself_can_be_chosen_and_has_its_own_figures(browser: Browser) -> None:
    with serving() as served:
        browser.open(f"{served.url}/#/live")
        assert "0 in 5 minutes" in browser.text(".tiles")
        assert browser.all(".live .quiet-select") == []
        assert browser.text(".panel p") == "in the last two minutes"
        asked(served, "minutes", "small-a")
        browser.until("document.querySelector('.live .quiet-select')?.innerText.startsWith('Cascade or model')")
        assert "0 in 5 minutes" in browser.text(".tiles")
        browser.select(".live .quiet-select select", "small-a")
        browser.until("document.querySelector('.tiles').innerText.includes('in the last 10 s; 1 in 5 minutes')")
        assert "a single model decides nothing" in browser.text(".tiles")
        assert "A single model: nothing to agree on." in browser.text(".panels")
        assert browser.findings() == []


class Others:
    """Other routers, whose figures come from here, or from nowhere if they are None."""

    def __init__(self) -> None:
        self.figures: list[Figures] | None = []

    def others(self) -> list[Figures] | None:
        return self.figures


def other_router() -> tuple[str, Figures]:
    """Return the name and the figures of a router that leaves out a model, and has decided once."""
    router, _ = built(configured())
    request = router.open(Ask("default", Prompt((Message("user", "minutes"),))))
    request.close(asyncio.run(run_cascade(request.run)))
    figures = router.parts.live.figures()
    left_out = replace(figures.models["small-b"], left_out=1)
    return router.parts.live.router, replace(figures, models=figures.models | {"small-b": left_out})


def test_the_figures_of_all_routers_are_shown_and_named(browser: Browser) -> None:
    others: Any = Others()
    with serving() as served:
        parts, health = served.router.parts, Health(2, "HEALTHY")
        parts.readiness._look = lambda: dict.fromkeys(parts.config.deployments(), health)
        parts.live_view._exchange = others
        browser.open(f"{served.url}/#/live")
        browser.until("document.querySelector('.live > p:last-child')?.innerText.includes(' of 1 of 2 routers')")
        name, figures = other_router()
        others.figures = [figures]
        browser.until("document.querySelector('.live > p:last-child').innerText.includes(', of 2 routers')")
        assert name in browser.text(".live > p:last-child")
        assert "1 in 5 minutes" in browser.text(".tiles")
        assert browser.texts(".panel.wide .badge") == ["answers", "left out by 1 of 2 routers", "answers", "deferred"]
        assert browser.findings() == []
        others.figures = None
        browser.until("document.querySelector('.head .off')?.innerText.startsWith(\"one router's figures\")")
        assert parts.live.router in browser.text(".live > p:last-child")
        assert "0 in 5 minutes" in browser.text(".tiles")
        assert browser.findings() == []


def test_a_calibrated_cascade_is_drawn_over_its_calibration(browser: Browser, served: Served) -> None:
    agreements = {"low": 0.0, "high": 1.0, "counts": [1, 0, 0, 3]}
    note = {"id": "default-1", "thresholds": [0.7], "agreements": agreements}
    served.router.parts.policies.change({"calibrations": {"default": note}})
    browser.open(f"{served.url}/#/live")
    browser.until("document.querySelectorAll('.histogram s').length === 2")
    highs = browser.run("return [...document.querySelectorAll('.histogram s')].map(at => at.offsetHeight)")
    assert highs[1] == pytest.approx(3 * highs[0], abs=3)
    assert browser.text(".k-calibrated") == "when calibrated"
    assert browser.findings() == []
    served.router.parts.policies.change({})
    browser.until("document.querySelector('.histogram s') === null")


def test_texts_are_shown_as_text_if_the_operator_allows_it(browser: Browser) -> None:
    with serving(page_texts=True) as served:
        asked(served, "attack")
        browser.open(f"{served.url}/#/live")
        assert browser.text(".texts").startswith("attack\n<script>window.hacked = 1</script><img")
        assert browser.run("return window.hacked") is None
        assert browser.findings() == []


def test_a_lost_connection_is_said_and_taken_up_again(browser: Browser, served: Served) -> None:
    browser.run("window.real = fetch; window.fetch = () => Promise.reject(new TypeError('gone'))")
    browser.run("location.hash = '#/live'")
    browser.until("document.querySelector('.fault-card h2')?.innerText === 'The connection is lost'")
    browser.run("window.fetch = window.real")
    browser.until("document.querySelector('.tiles') && !document.querySelector('.fault-card')")


def test_figures_of_before_the_connection_was_lost_are_named_as_such(browser: Browser, served: Served) -> None:
    browser.open(f"{served.url}/#/live")
    browser.find(".tiles")
    browser.run("window.fetch = () => Promise.reject(new TypeError('gone'))")
    browser.until("document.querySelector('.fault-card')?.innerText.includes('The figures are those of ')")


def test_a_full_house_is_not_asked_again_before_its_time(browser: Browser) -> None:
    browser.run(
        "const timed = setTimeout; window.real = [fetch, timed]; window.waits = [];"
        "window.setTimeout = (then, after) => { waits.push(after); return timed(then, 50); };"
        "window.fetch = async () => new Response(JSON.stringify({error: {message: '32 watch already.'}}),"
        "{status: 429, headers: {'retry-after': '15'}});"
        "location.hash = '#/live'"
    )
    browser.until("window.waits.includes(15000)")
    assert browser.text(".fault-card h2") == "The figures cannot be shown"
    assert "It may work again in 15 s." in browser.text(".fault-card")
    browser.run("[window.fetch, window.setTimeout] = window.real")
    browser.until("document.querySelector('.tiles') && !document.querySelector('.fault-card')")


def test_a_hidden_tab_does_not_watch(browser: Browser, served: Served) -> None:
    browser.open(f"{served.url}/#/live")
    browser.find(".tiles")
    turn = (
        "const [hidden] = arguments; Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    browser.run(
        "const real = fetch; window.watching = new Set(); window.fetch = (to, options) => {"  # anew after each stream
        "watching.add(options.signal); options.signal.addEventListener('abort', () => watching.delete(options.signal));"
        "return real(to, options); }"
    )
    browser.run(turn, True)
    browser.run(turn, False)
    browser.until("window.watching.size === 1")
    browser.run(turn, True)
    browser.until("window.watching.size === 0")
    assert browser.all(".fault-card") == []


def test_there_are_no_half_requests_on_the_axis(browser: Browser) -> None:
    whole = "import('/page/static/views/live.js').then(({WHOLE}) => WHOLE.every(Number.isInteger) && WHOLE[0] === 1)"
    assert browser.run(f"return {whole}") is True


def test_a_key_that_is_no_operators_is_asked_for_another(browser: Browser) -> None:
    browser.run(
        "window.fetch = async () => new Response(JSON.stringify({error: {message: 'For operators only.'}}),"
        "{status: 403})"
    )
    browser.run("location.hash = '#/live'")
    browser.until("document.querySelector('.fault-card')?.innerText.includes('For operators only.')")
    browser.run("document.querySelector('.fault-card button').click()")
    browser.until("document.activeElement.id === 'key'")


@pytest.mark.parametrize("path", ["/", "/page/static/app.js"])
async def test_the_files_need_no_key_but_the_data_does(path: str, tmp_path: Any) -> None:
    from serve_app.page.site import HEADERS

    keys = tmp_path / "keys.yaml"
    keys.write_text("api_keys: {}\n", encoding="utf-8")
    app = built(configured(access={"keys_file": str(keys)}))[0].__serve_build_asgi_app__()
    async with client(app) as http:
        page = await http.get(path)
        assert page.status_code == 200
        assert page.headers.items() >= HEADERS.items()
        for data in ("/page/about", "/page/live", "/v1/models"):
            assert (await http.get(data)).status_code == 401
        assert (await http.post("/page/decide", json={"model": "default", "answers": []})).status_code == 401
