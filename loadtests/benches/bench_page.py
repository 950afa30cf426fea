"""What the page costs: the live view's aggregator beside the requests that it counts, and the time to first paint.

The router's own application answers in this process, over models that answer at once from a script, so the requests
cost less than anywhere else, and shares of them are upper bounds. All in one run: make bench-page.
"""

import argparse
import asyncio
import json
import pickle
from statistics import median
from time import perf_counter, process_time
from typing import Any

from serve_app.core.record import DecisionRecord
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.prompt import Prompt
from serve_app.deployments.router import Router
from serve_app.deployments.showing.tally import Tally
from tests.page.browser import MISSING, Browser, chromium
from tests.page.serving import built, configured, serving

BODY = {"model": "default", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
PAINT = (
    "const done = arguments[0]; new PerformanceObserver(list => done(list.getEntries()[0].startTime))"
    ".observe({type: 'paint', buffered: true})"
)


async def ask(app: Any, content: bytes) -> None:
    """Send a request as a server would, without one."""
    messages = [{"type": "http.request", "body": content, "more_body": False}]
    never = asyncio.Event()

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await never.wait()
        return None

    async def send(message: Any) -> None:
        assert message.get("status", 200) == 200, message

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "headers": headers}
    address = {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http", "http_version": "1.1"}
    await app(scope | address | {"root_path": "", "asgi": {"version": "3.0"}}, receive, send)


def timed(router: Router) -> tuple[list[float], list[DecisionRecord]]:
    """Note the seconds of each call to the aggregator, without those of freeing what it drops, and the records."""
    seconds: list[float] = []
    records: list[DecisionRecord] = []
    counted = router.parts.live.ended

    def ended(prompt: Prompt, outcome: Outcome | None, record: DecisionRecord) -> None:
        records.append(record)  # else another request's record would be freed here, as it would be elsewhere
        started = perf_counter()
        counted(prompt, outcome, record)
        seconds.append(perf_counter() - started)

    router.parts.live.ended = ended  # type: ignore[method-assign]
    return seconds, records


def tallying(records: list[DecisionRecord]) -> float:
    """Return the seconds to count a request when its second is over, together with others."""
    started, tally = process_time(), Tally()
    for record in records:
        tally.count(record, failed=False)
    return (process_time() - started) / len(records)


async def aggregator(requests: int) -> None:
    """Print what counting costs beside requests, and a snapshot beside a core."""
    router, _ = built(configured())
    app = router.__serve_build_asgi_app__()
    content = json.dumps(BODY).encode()
    for _ in range(100):
        await ask(app, content)
    seconds, records = timed(router)
    started = process_time()
    for _ in range(requests):
        await ask(app, content)
    whole = process_time() - started
    print(f"a request: {whole / requests * 1e3:.2f} ms of CPU, models excluded; {requests} requests")
    # A median: other work on the machine falls into few of them, but into those for long.
    counting = median(seconds) + tallying(records)
    print(f"counting it: {counting * 1e6:.1f} us, {counting * requests / whole:.2%} of it")
    snapshots = []
    for _ in range(50):
        started = process_time()
        await router.parts.live_view._snapshot()
        snapshots.append(process_time() - started)
    print(f"a snapshot of {requests} requests: {median(snapshots) * 1e3:.2f} ms, {median(snapshots):.2%} of a core")
    print("while a browser watches, once a second")
    exchange(router, snapshots=50)


def exchange(router: Router, snapshots: int) -> None:
    """Print what several routers' figures cost: each publishes its own, and one merges those of the others."""
    own, publishing, merging, size = router.parts.live.figures(), [], [], 0
    for _ in range(snapshots):
        started = process_time()
        published = pickle.dumps(router.parts.live.figures())
        publishing.append(process_time() - started)
        started = process_time()
        own.merged(pickle.loads(published))
        merging.append(process_time() - started)
        size = len(published)
    cost = f"{median(publishing) * 1e3:.2f} ms for {size / 1e3:.1f} kB"
    print(f"to make figures for other routers: {cost}, Ray's call excluded")
    print(f"to merge those of another router: {median(merging) * 1e3:.2f} ms")


def paints(browser: Browser, url: str, loads: int, *, cached: bool) -> list[float]:
    """Return the milliseconds to the first paint of each load."""
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": not cached})
    paint_ms = []
    for _ in range(loads):
        browser.open(url)
        paint_ms.append(float(browser.driver.execute_async_script(PAINT)))
    return paint_ms


def first_paint(loads: int) -> None:
    """Print how long a browser on this machine takes to show something."""
    if MISSING is not None:
        print(f"first paint: not measured, {MISSING} is not installed")
        return
    with serving() as served, chromium() as browser:
        for cached in (False, True):
            paint_ms = paints(browser, served.url, loads, cached=cached)
            kind = "from the cache" if cached else "without a cache"
            print(f"first paint, {kind}: median {median(paint_ms):.0f} ms, most {max(paint_ms):.0f} ms; {loads} loads")


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--loads", type=int, default=20)
    options = parser.parse_args()
    asyncio.run(aggregator(options.requests))
    first_paint(options.loads)


if __name__ == "__main__":
    main()
