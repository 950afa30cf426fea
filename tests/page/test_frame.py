"""What surrounds the views: the key, the theme, how a view is loaded, and where it was left."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from serve_app.config.key_file import create_key

from .browser import Browser
from .serving import Served, serving


@pytest.fixture
def blocked(browser: Browser) -> Iterator[Browser]:
    """Yield the browser without any way to the Live view's module."""
    driver = browser.driver
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/views/live.js"]})
    yield browser
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    driver.execute_cdp_cmd("Network.disable", {})


def test_escape_or_a_click_elsewhere_closes_the_key_and_the_focus_is_not_lost(browser: Browser) -> None:
    browser.click(".key > button")
    browser.until("document.activeElement.id === 'key'")
    browser.find("#key").send_keys(Keys.ESCAPE)
    browser.until("document.querySelector('.popover') === null")
    assert browser.run("return document.activeElement.innerText") == "Key"
    browser.click(".key > button")
    browser.find(".popover")
    browser.click("h1")
    browser.until("document.querySelector('.popover') === null")


def test_the_key_has_the_focus_and_can_be_closed_as_soon_as_it_is_there(browser: Browser) -> None:
    focused = browser.run(
        "document.querySelector('.key > button').click();"
        "return Promise.resolve().then(() => {"  # what is drawn by then is in no frame yet
        "  const {id} = document.activeElement;"
        "  document.body.dispatchEvent(new PointerEvent('pointerdown', {bubbles: true}));"
        "  return id; })"
    )
    assert focused == "key"
    browser.until("document.querySelector('.popover') === null")


@pytest.mark.parametrize("width", [1280, 600, 390, 320])
def test_the_field_of_the_key_is_in_sight_at_any_width(browser: Browser, width: int) -> None:
    browser.size(width, 800)
    try:
        browser.click(".key > button")
        browser.find(".popover")
        ends = "const {left, right} = document.querySelector('.popover').getBoundingClientRect(); return [left, right]"
        box = browser.run(ends)
        assert box[0] >= 0
        assert box[1] <= width
    finally:
        browser.size(1280, 900)


def test_a_key_can_be_forgotten(browser: Browser) -> None:
    browser.click(".key > button")
    browser.select("#key", "secret")
    browser.click(".popover button")
    browser.until("document.querySelector('.key > button').innerText === 'Key set'")
    assert browser.run("return document.activeElement.innerText") == "Key set"
    browser.click(".key > button")
    browser.click(".popover .quiet")
    browser.until("document.querySelector('.key > button').innerText === 'Key'")


def test_a_key_that_no_request_can_carry_is_named_as_such(browser: Browser) -> None:
    browser.click(".key > button")
    browser.select("#key", "ключ")
    browser.click(".popover button")
    browser.until("document.querySelector('.fault-card p')?.innerText.startsWith('This key has characters')")


def test_the_right_key_is_let_in_and_its_limit_is_told(browser: Browser, tmp_path: Path) -> None:
    """The page itself is shown without."""
    keys = tmp_path / "keys.yaml"
    key = create_key(keys, "limited", requests_per_minute=1)
    with serving(access={"keys_file": str(keys)}) as guarded:
        browser.open(guarded.url)
        assert browser.text(".fault-card h2") == "This server asks for a key"
        browser.select("#key", key)
        browser.click(".popover button")
        browser.find(".example")
        browser.ask("Say yes.")
        assert browser.text(".answer .markdown")
        browser.ask("Say no.", 2)
        assert browser.text(".fault-card h3") == "Too many requests"
        assert re.search(r"It may work again in \d+ s\.", browser.text(".fault-card"))


def test_a_view_that_cannot_be_loaded_says_so_and_can_be_tried_again(blocked: Browser) -> None:
    blocked.ask("How many minutes?")
    blocked.run("location.hash = '#/live'")
    blocked.until("document.querySelector('.fault-card h2')?.innerText === 'This view cannot be loaded'")
    blocked.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    blocked.click(".fault-card button")
    blocked.find(".tiles")
    blocked.run("history.back()")
    blocked.find(".turn")  # the conversation is still there


def test_a_view_whose_module_lacks_another_one_comes_by_a_reload(blocked: Browser) -> None:
    """Browsers remember that a module could not be loaded, and only the view's own gets another address."""
    blocked.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/lib/chart.js"]})
    blocked.run("location.hash = '#/live'")
    blocked.until("document.querySelector('.fault-card h2')?.innerText === 'This view cannot be loaded'")
    blocked.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    blocked.run("window.loadedOnce = true")
    blocked.click(".fault-card button")
    blocked.until("document.querySelector('.fault-card, .tiles')")
    if blocked.run("return document.querySelector('.fault-card') !== null"):
        blocked.click(".fault-card button")
    blocked.find(".tiles")
    assert blocked.run("return window.loadedOnce ?? false") is False


def test_the_chosen_theme_is_worn_before_any_module_runs(browser: Browser, served: Served) -> None:
    browser.select(".tools select", "dark")
    assert browser.run("return document.documentElement.dataset.theme") == "dark"
    driver = browser.driver
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/app.js"]})
    try:
        browser.open(served.url)
        assert browser.run("return document.documentElement.dataset.theme") == "dark"
    finally:
        driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        driver.execute_cdp_cmd("Network.disable", {})
        browser.run("localStorage.clear()")


def test_a_view_is_found_where_it_was_left(browser: Browser) -> None:
    browser.ask("How many minutes?")
    browser.run("scrollTo(0, 150)")
    browser.run("location.hash = '#/live'")
    browser.find(".tiles")
    assert browser.run("return scrollY") == 0
    for _ in range(2):  # the second time where it was not scrolled by hand
        browser.run("history.back()")
        browser.find(".turn")
        browser.until("scrollY === 150")
        browser.run("history.forward()")
        browser.find(".tiles")
        browser.until("scrollY === 0")


def test_a_view_is_found_where_it_was_left_for_one_that_never_came(blocked: Browser) -> None:
    blocked.ask("How many minutes?")
    blocked.run("scrollTo(0, 150)")
    blocked.run("location.hash = '#/live'")
    blocked.until("document.querySelector('.fault-card h2')?.innerText === 'This view cannot be loaded'")
    blocked.run("history.back()")
    blocked.find(".turn")
    blocked.until("scrollY === 150")


def test_numbers_and_costs_are_in_words_that_people_use(browser: Browser) -> None:
    shown = browser.run(
        "return import('/page/static/lib/format.js').then(({UNITS: {usd, flops}, score, percent}) =>"
        "[usd.show(4.8e-7), usd.show(0.0123), usd.show(0), flops.show(9.996e11), flops.show(3.12e10),"
        " score(-1.3), percent(0), percent(0.004)])"
    )
    assert shown == ["$0.00000048", "$0.01", "$0", "1.00 TFLOPs", "31.2 GFLOPs", "\N{MINUS SIGN}1.30", "0%", "0.4%"]
