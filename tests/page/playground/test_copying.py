"""What can be copied: an answer, its code, and the request as a command, as code, as JSON and as a link."""

import json
import shlex
from typing import Any

from tests.page.browser import Browser
from tests.page.serving import CODE, Served

from .clipboard import copied, keep_copies


def test_code_is_highlighted_and_a_request_can_be_copied(browser: Browser, served: Served) -> None:
    prompt = 'Python, it\'s "quoted" \\ and\nbroken ✓ $HOME'
    browser.ask(prompt)
    browser.until("document.querySelectorAll('.answer .hljs-keyword').length > 1")
    keep_copies(browser)
    for button in browser.all(".copies button"):
        browser.click(button)
    answer, curl, python, body, link = copied(browser, 5)
    assert answer == CODE
    messages = [{"role": "user", "content": prompt}]
    assert json.loads(body)["messages"] == messages
    words = shlex.split(curl.replace("\\\n", " "))
    assert json.loads(words[words.index("-d") + 1])["messages"] == messages
    assert words[2] == f"{served.url}/v1/chat/completions"
    names: dict[str, Any] = {}
    call = python[python.index("response = ") : python.index("print(")].replace(
        "client.chat.completions.create", "dict"
    )
    exec(call, {}, names)
    assert names["response"]["messages"] == messages
    browser.open(link)
    browser.until("document.querySelector('#prompt')?.value === arguments[0]", prompt)
    assert browser.all(".turn") == []  # a link asks nothing by itself


def test_text_is_copied_where_the_clipboard_needs_https(browser: Browser) -> None:
    browser.ask("What is the capital of France?")
    browser.run(
        "const real = setTimeout; window.setTimeout = (then, ms) => (ms === 1800 ? 0 : real(then, ms));"  # it stays
        "Object.defineProperty(navigator, 'clipboard', {value: undefined});"
        "document.execCommand = name => { window.copied = [name, getSelection().toString()]; return true; }"
    )
    browser.click(".copies button")
    browser.until("document.querySelector('.copies [role=status]').innerText === 'answer copied'")
    assert browser.run("return window.copied") == ["copy", "The capital is Paris."]


def test_each_block_of_code_can_be_copied(browser: Browser) -> None:
    browser.ask("Python, please")
    keep_copies(browser)
    browser.click(".answer .code button")
    browser.until("document.querySelector('.answer .code button').innerText === 'Copied'")
    assert copied(browser) == [CODE.split("```")[1].removeprefix("python\n")]
