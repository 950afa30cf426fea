"""The reference of the API in a browser: readable under its own policy, and with nothing from elsewhere."""

import pytest

from .browser import Browser
from .serving import Served


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_reference_shows_all_fields_and_asks_for_nothing_else(
    browser: Browser, served: Served, scheme: str
) -> None:
    browser.scheme(scheme)
    try:
        browser.open(f"{served.url}/docs")
        assert {"model", "messages", "temperature", "cascade"} <= {
            text.split()[0] for text in browser.texts("#post-v1-chat-completions tbody th")
        }
        assert browser.run("return performance.getEntriesByType('resource').map(({name}) => name)") == []
        assert (
            browser.run("return getComputedStyle(document.querySelector('main')).maxWidth") == "1152px"
        )  # its own style
        assert browser.findings() == []
        browser.click("#post-v1-chat-completions a[href='#StreamedOptions']")
        browser.until("document.querySelector(':target h3').innerText === 'StreamedOptions'")
        assert any(text.startswith("threshold") for text in browser.texts(":target tbody th"))
    finally:
        browser.scheme("light")


def test_the_reference_fits_a_telephone(browser: Browser, served: Served) -> None:
    browser.size(360, 700)
    try:
        browser.open(f"{served.url}/docs")
        browser.find("#post-v1-chat-completions")
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.size(1280, 900)
