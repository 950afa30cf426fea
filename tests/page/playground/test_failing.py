"""Requests of the playground that fail, or cannot be sent: why, and how they are asked again."""

import pytest

from tests.page.browser import Browser
from tests.page.serving import Served


@pytest.mark.parametrize(
    ("trouble", "heading", "sentence"),
    [
        (401, "This server asks for a key", "Trouble 401."),
        (429, "Too many requests", "It may work again in 7 s."),
        (500, "The request was refused", "Trouble 500."),
        ("cut", "The stream broke off", "before the answer was complete"),
    ],
)
def test_a_failed_request_says_why_and_can_be_tried_again(
    browser: Browser, served: Served, trouble: int | str, heading: str, sentence: str
) -> None:
    served.troubled.trouble = trouble
    browser.ask("What is the capital of France?")
    assert browser.text(".fault-card h3") == heading
    assert sentence in browser.text(".fault-card")
    served.troubled.trouble = None
    browser.run("[...document.querySelectorAll('.fault-card button')].at(-1).click()")
    browser.until("document.querySelector('.answer .markdown')?.innerText === 'The capital is Paris.'")


def test_a_key_is_asked_for_and_sent_but_never_stored(browser: Browser, served: Served) -> None:
    served.troubled.trouble = 401
    browser.ask("Hello")
    browser.select("#key", "secret-key")
    browser.click(".popover button")
    served.troubled.trouble = None
    browser.run(
        "window.sent = []; const real = fetch;"
        "window.fetch = (to, options) => { sent.push(options.headers.authorization); return real(to, options); }"
    )
    browser.run("[...document.querySelectorAll('.fault-card button')].at(-1).click()")
    browser.until("document.querySelector('.answer')")
    assert set(browser.run("return window.sent")) == {"Bearer secret-key"}  # the page may load its choices anew too
    assert (
        browser.run(
            "return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
        ).count("secret")
        == 0
    )


def test_a_target_that_is_down_leaves_the_members_in_sight(browser: Browser) -> None:
    browser.ask("target down, please")
    assert browser.texts(".member .markdown") == ["one", "two"]
    assert "No replica of the target runs." in browser.text(".fault-card")


def test_a_server_that_is_gone_is_said_to_be(browser: Browser) -> None:
    browser.run("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")
    browser.ask("Hello")
    assert browser.text(".fault-card h3") == "No answer from the server"


def fault_before_sending(browser: Browser, served: Served, field: str, value: str) -> str:
    """Set an option, ask, and return what the page says instead of sending anything."""
    prompt_count = len(served.players["small-a"].prompts)
    browser.run("document.querySelector('.options details').open = true")
    browser.select(field, value)
    browser.select("#prompt", "Hello")
    browser.click(".send")
    fault = browser.text(".composer .fault")
    assert len(served.players["small-a"].prompts) == prompt_count
    return fault


def test_broken_options_are_named_before_anything_is_sent(browser: Browser, served: Served) -> None:
    fault = fault_before_sending(browser, served, ".options .grid label:nth-of-type(2) textarea", "[{")
    assert "Tools: this is not JSON" in fault


def test_a_number_that_is_none_is_named_before_anything_is_sent(browser: Browser, served: Served) -> None:
    fault = fault_before_sending(browser, served, ".options .small label:nth-of-type(2) input", "0,7")
    assert fault == "Temperature: 0,7 is not a number."


def test_a_failed_turn_is_not_lost_if_it_cannot_be_tried_again_now(browser: Browser, served: Served) -> None:
    served.troubled.trouble = 500
    browser.ask("What is the capital of France?")
    served.troubled.trouble = None
    browser.run("document.querySelector('.options details').open = true")
    browser.select(".options .grid label:nth-of-type(2) textarea", "[{")
    browser.run("document.querySelector('.turn .fault-card button').click()")
    assert "Tools: this is not JSON" in browser.text(".composer .fault")
    assert browser.texts(".asked") == ["What is the capital of France?"]
    browser.select(".options .grid label:nth-of-type(2) textarea", "")
    for player in served.players.values():
        player.paused = True
    browser.select("#prompt", "Another")
    browser.click(".send")
    browser.find(".stop")
    assert browser.run("return document.querySelector('.turn .fault-card button').disabled") is True
    for player in served.players.values():
        player.paused = False
    browser.until_answered(2)
    browser.run("document.querySelector('.turn .fault-card button').click()")
    browser.until("[...document.querySelectorAll('.asked')].at(-1).innerText.includes('France')")
    browser.until_answered(2)
