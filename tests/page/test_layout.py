"""Nothing jumps: what is on the page stays where it is while the rest arrives."""

import pytest

from .browser import Browser
from .serving import Served

MOST_SHIFT = 0.1
"""The Cumulative Layout Shift up to which web.dev calls a page good."""
SHIFT = """
const done = arguments[0], shifts = [], observer = new PerformanceObserver(list => shifts.push(...list.getEntries()));
observer.observe({type: 'layout-shift', buffered: true});
requestAnimationFrame(() => requestAnimationFrame(() => {
  shifts.push(...observer.takeRecords());
  done(shifts.reduce((sum, {value, hadRecentInput}) => sum + (hadRecentInput ? 0 : value), 0));
}));
"""


def shift(browser: Browser) -> float:
    """Return how far visible elements have moved since the page was opened, except after a click or a key."""
    return float(browser.driver.execute_async_script(SHIFT))


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    ("view", "loaded"), [("playground", ".example"), ("live", ".tiles"), ("evaluation", ".drop"), ("config", ".graph")]
)
def test_a_view_stays_where_it_is_while_it_loads(
    browser: Browser, served: Served, view: str, loaded: str, width: int
) -> None:
    browser.size(width, 900)
    try:
        browser.open(f"{served.url}/#/{view}")
        browser.find(loaded)
        assert shift(browser) < MOST_SHIFT
    finally:
        browser.size(1280, 900)


@pytest.mark.parametrize("width", [1280, 390])
def test_what_is_there_stays_where_it_is_while_answers_stream(browser: Browser, served: Served, width: int) -> None:
    players = served.players.values()
    browser.size(width, 900)
    try:
        browser.ask("a story")
        for player in players:  # about as fast as models: what is faster a slow machine draws at once, as one jump
            player.pause_s, player.paused = 0.01 if player.name == "large-t" else 0.03, True
        browser.select("#prompt", "a story")
        browser.click(".send")
        browser.until("document.querySelectorAll('.member .markdown').length === 4")
        browser.run("window.clicked = performance.now()")
        browser.until("performance.now() - window.clicked > 600")  # what follows a click by 500 ms is not counted
        before = shift(browser)
        for player in players:
            player.paused = False
        browser.until_answered(2)
        assert shift(browser) - before < MOST_SHIFT
    finally:
        browser.size(1280, 900)


def test_what_moves_is_seen_to_move(browser: Browser) -> None:
    before = shift(browser)
    browser.run("document.querySelector('main').style.paddingTop = '300px'")
    assert shift(browser) - before > MOST_SHIFT
