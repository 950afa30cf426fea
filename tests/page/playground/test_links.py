"""Links to the playground: what they hold, and that they ask nothing by themselves."""

import base64
import json

from tests.page.browser import Browser

from .clipboard import copied, keep_copies


def link(**state: str) -> str:
    """Return the fragment of a link to the playground."""
    return "#/playground/" + base64.urlsafe_b64encode(json.dumps(state).encode()).decode().rstrip("=")


def test_the_link_of_a_turn_holds_the_options_that_it_had(browser: Browser) -> None:
    browser.run("document.querySelector('.options details').open = true")
    browser.select(".options .grid label:nth-of-type(1) textarea", "Be brief.")
    browser.ask("What is the capital of France?")
    browser.select(".options .grid label:nth-of-type(1) textarea", "Be long.")
    keep_copies(browser)
    browser.click(browser.all(".copies button")[-1])
    browser.open(copied(browser)[0])
    browser.until("document.querySelector('#prompt')?.value === 'What is the capital of France?'")
    assert browser.run("return document.querySelector('.options .grid textarea').value") == "Be brief."


def test_a_link_to_a_cascade_that_is_not_there_says_which_is_asked(browser: Browser) -> None:
    browser.run("location.hash = arguments[0]", link(model="gone", prompt="Hello"))
    browser.until("document.querySelector('.composer .fault')?.innerText.startsWith('This server has no gone')")
    assert browser.text(".composer .fault") == "This server has no gone; default is asked."
    browser.click(".send")
    browser.until_answered()
    assert browser.all(".fault-card") == []


def test_what_is_typed_as_soon_as_a_link_is_open_is_not_overwritten(browser: Browser) -> None:
    browser.run("location.hash = '#/live'")
    browser.find(".live")
    browser.run(
        "new MutationObserver((_, watching) => {"
        "  const at = document.querySelector('#prompt');"
        "  if (!at) return;"
        "  watching.disconnect(); at.value += ' and typed'; at.dispatchEvent(new Event('input', {bubbles: true}));"
        "}).observe(document.querySelector('main'), {childList: true, subtree: true});"
        "location.hash = arguments[0]",
        link(prompt="linked"),
    )
    browser.find(".example")  # drawn after the effects of the first frame
    assert browser.run("return document.querySelector('#prompt').value") == "linked and typed"


def test_back_and_forward_lead_from_link_to_link(browser: Browser) -> None:
    for prompt in ("first", "second"):
        browser.run("location.hash = arguments[0]", link(prompt=prompt))
        browser.until("document.querySelector('#prompt').value === arguments[0]", prompt)
    browser.run("history.back()")
    browser.until("document.querySelector('#prompt').value === 'first'")
    browser.run("history.forward()")
    browser.until("document.querySelector('#prompt').value === 'second'")
