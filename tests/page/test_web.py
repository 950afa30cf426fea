"""The page as a citizen of the web: nothing hostile runs, everybody can use it, on a phone and in the dark."""

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from .browser import Browser
from .serving import ATTACK, Served


def test_what_models_and_users_write_never_runs(browser: Browser) -> None:
    browser.ask(f"attack {ATTACK}")
    browser.until("document.querySelectorAll('.answer .markdown').length === 1")
    assert browser.run("return window.hacked ?? null") is None
    elements = "script, img, iframe, svg, math, style, base, object, embed, form:not(.results), [onerror], [onload]"
    assert browser.run("return document.querySelectorAll(`.turn :is(${arguments[0]})`).length", elements) == 0
    assert browser.run("return [...document.querySelectorAll('.turn a[href]')].map(at => at.href)") == []
    assert browser.run("return document.querySelectorAll('.turn .markdown [style]').length") == 0
    assert "<script>" in browser.text(".answer .markdown")
    assert ATTACK.split("\n")[0] in browser.run("return document.querySelector('.asked p').textContent")


def test_links_of_models_lead_out_of_the_page_without_a_trace(browser: Browser) -> None:
    hostile = "[c](JaVaScRiPt:alert(1)) [d](vbscript:x) [e](//e.example)"
    browser.run(
        "return import('/page/static/lib/markdown.js').then(it => { document.body.append(it.nodesOf(arguments[0])); })",
        f"[a](https://a.example/) [b](mailto:b@b.example) {hostile}",
    )
    attributes = "at => [at.getAttribute('href'), at.target, at.rel]"
    links = browser.run(f"return [...document.body.querySelectorAll(':scope > p a')].map({attributes})")
    out = ["_blank", "noopener noreferrer nofollow"]
    assert [link for link in links if link[0]] == [["https://a.example/", *out], ["mailto:b@b.example", *out]]


@pytest.mark.parametrize(
    "hostile",
    [
        "%7B",
        "e30",
        "W10",
        "InRleHQi",
        "eyJwcm9tcHQiOjV9",
        "eyJwcm9tcHQiOnsiYSI6MX0sInBvbGljeSI6NX0",
        "<img src=x onerror=alert(1)>",
    ],
)
def test_a_damaged_link_opens_the_view(browser: Browser, hostile: str) -> None:
    browser.open(browser.run("return location.origin") + f"/#/playground/{hostile}")
    browser.find(".example")
    assert browser.run("return document.querySelector('#prompt').value") == ""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_window(
    browser: Browser, scheme: str, width: int
) -> None:
    browser.scheme(scheme)
    browser.size(width, 900)
    try:
        findings = browser.findings()
        browser.ask("How many minutes? In Python")
        browser.run("for (const each of document.querySelectorAll('details')) each.open = true")
        assert findings + browser.findings() == []
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth") is True
    finally:
        browser.scheme("light")
        browser.size(1280, 900)


@pytest.mark.parametrize("view", ["playground", "live", "evaluation", "config"])
def test_at_320_pixels_nothing_is_cut_off_or_broken_into_letters(browser: Browser, served: Served, view: str) -> None:
    browser.size(320, 700)  # 1280 at a zoom of 400%, to which WCAG 1.4.10 asks a page to flow
    try:
        browser.ask("How many minutes?")
        browser.run("document.querySelector('.costs').open = true; location.hash = arguments[0]", f"#/{view}")
        browser.find({"playground": ".turn", "live": ".tiles", "evaluation": ".drop", "config": ".graph"}[view])
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth") is True
        assert browser.run("const at = document.querySelector('.top nav'); return at.scrollWidth <= at.clientWidth")
        lines = ".costs tr:not(.sum) td, .options summary"
        heights = browser.run("return [...document.querySelectorAll(arguments[0])].map(at => at.offsetHeight)", lines)
        assert all(height < 44 for height in heights)  # two lines at most
    finally:
        browser.size(1280, 900)


def test_in_a_low_window_nothing_stays_over_what_is_read(browser: Browser) -> None:
    browser.size(320, 256)  # 1280 x 1024 at a zoom of 400%
    try:
        browser.ask("How many minutes?")
        browser.run("scrollTo(0, 400)")
        script = "return [1, 128, 254].map(y => document.elementFromPoint(160, y).closest('.turn') !== null)"
        assert browser.run(script) == [True, True, True]
    finally:
        browser.size(1280, 900)


@pytest.mark.parametrize("view", ["playground", "live", "evaluation", "config"])
def test_each_view_has_headings_in_order_and_landmarks_of_one_name_each(browser: Browser, view: str) -> None:
    browser.ask("How many minutes?")
    browser.ask("How many minutes?", 2)
    browser.run("location.hash = arguments[0]", f"#/{view}")
    browser.find({"playground": ".turn", "live": ".tiles", "evaluation": ".drop", "config": ".graph"}[view])
    assert browser.findings(impacts=("moderate", "serious", "critical")) == []


def test_the_composer_and_the_threshold_are_reached_by_tab(browser: Browser) -> None:
    browser.ask("How many minutes?")
    browser.run(
        "window.reached = []; document.body.focus();"
        "addEventListener('focusin', ({target: at}) => reached.push(at.id || at.type || at.tagName))"
    )
    ActionChains(browser.driver).send_keys(Keys.TAB * 40).perform()
    assert {"prompt", "range", "select-one", "checkbox", "button"} <= set(browser.run("return window.reached"))
