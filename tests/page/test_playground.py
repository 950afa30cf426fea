"""The playground in a real browser: what a user sees of an accepted, a deferred and a failed request."""

import base64
import json
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from serve_app.config import AppConfig

from . import serving as serving_module
from .browser import Browser
from .serving import CODE, Served, configured


def test_an_accepted_prompt_shows_answers_matrix_decision_and_savings(browser: Browser) -> None:
    browser.ask("What is the capital of France?")
    assert browser.texts(".member h4") == ["small-a", "small-b"]
    assert browser.texts(".member .markdown") == ["The capital is Paris."] * 2
    assert browser.texts(".matrix tbody td") == ["1.00"] * 4
    assert browser.texts(".sentence") == [
        "Accepted\nAgreement 1.00 is at least the threshold 0.700, so the answer of small-a goes back."
    ]
    assert browser.texts(".answer .markdown") == ["The capital is Paris."]
    # 2 x (5e8 + 1.5e8) x 24 tokens, beside 2 x 7e9 x 24 of the target alone
    assert "31.2 GFLOPs" in browser.text(".costs summary")
    assert "9.3% of the target's cost" in browser.text(".costs summary")
    assert browser.texts(".session strong") == ["1", "1", "9.3%"]


def test_a_deferred_prompt_shows_the_target_with_its_reasoning_folded(browser: Browser) -> None:
    browser.ask("How many minutes?")
    assert "Agreement 0.500 is below the threshold 0.700, so large-t is asked." in browser.text(".sentence")
    assert browser.text(".answer .markdown") == "From 9:40 to 13:05 it is 205 minutes.\n\n205"
    assert "by large-t" in browser.text(".answer header")
    assert browser.run("return document.querySelector('.answer .reasoning').open") is False
    assert browser.run("return document.querySelector('.answer .reasoning pre').textContent") == "First I think."


def test_what_if_decides_anew_without_asking_a_model(browser: Browser, served: Served) -> None:
    browser.ask("How many minutes?")
    prompt_counts = {name: len(player.prompts) for name, player in served.players.items()}
    browser.select(".track input", "0.4")
    browser.until("document.querySelector('.outcome .badge')?.innerText === 'would accept'")
    assert "agreement 0.500 is at least the threshold 0.400; the answer of small-a" in browser.text(".outcome")
    browser.select(".what-if label:nth-of-type(1) select", "exact")
    browser.until("document.querySelector('.outcome .badge')?.innerText === 'would defer'")
    browser.select(".what-if label:nth-of-type(2) select", "number")
    browser.until("document.querySelector('.outcome .badge')?.innerText === 'would accept'")
    assert browser.texts(".compared code") == []  # of what was decided, not of what would have been
    browser.click(".vetoes input")
    browser.until("document.querySelector('.matrix caption').innerText.includes('with a veto')")
    browser.click(".outcome .quiet")
    browser.until("document.querySelector('.outcome .badge') === null")
    assert {name: len(player.prompts) for name, player in served.players.items()} == prompt_counts


def test_the_threshold_moves_by_keys_and_can_be_kept_for_the_next_prompt(browser: Browser, served: Served) -> None:
    browser.ask("How many minutes?")
    slider = browser.find(".track input")
    for _ in range(3):
        slider.send_keys(Keys.PAGE_DOWN)  # page down: a tenth of the range
    browser.until("document.querySelector('.outcome .badge')?.innerText === 'would accept'")
    assert slider.get_attribute("aria-valuetext") == "Threshold 0.400"
    browser.run("[...document.querySelectorAll('.outcome button')].at(-1).click()")
    assert "threshold 0.4" in browser.text(".policy")
    browser.ask("How many minutes?", 2)
    assert "Accepted" in browser.texts(".sentence")[-1]


def test_members_are_shown_while_they_write(browser: Browser, served: Served) -> None:
    for player in served.players.values():
        player.paused = True
    browser.select("#prompt", "What is the capital of France?")
    browser.click(".send")
    browser.until(
        "document.querySelector('.member .state.busy')"
        " && document.querySelector('.member .markdown')?.innerText.startsWith('The')"
    )
    assert browser.all(".verdict") == []
    for player in served.players.values():
        player.paused = False
    browser.until_answered()


def test_stop_ends_the_request_and_the_next_works(browser: Browser, served: Served) -> None:
    served.players["large-t"].pause_s = 0.1
    browser.select("#prompt", "a long one")
    browser.click(".send")
    browser.until("document.querySelector('.answer .markdown')?.innerText.includes('word')")
    browser.click(".stop")
    browser.until_answered()
    assert "Stopped." in browser.text(".turn")
    browser.ask("What is the capital of France?", 2)
    assert [message.content for message in served.players["small-a"].prompts[-1].messages] == [
        "What is the capital of France?"
    ]


def test_a_tool_call_is_shown_and_its_result_goes_on(browser: Browser, served: Served) -> None:
    browser.run("[...document.querySelectorAll('.example')].find(at => at.innerText.startsWith('A tool')).click()")
    browser.until("document.querySelector('#prompt').value.includes('weather')")
    browser.click(".send")
    browser.until_answered()
    assert "get_weather" in browser.text(".answer .calls")
    assert json.loads(browser.text(".answer .calls pre")) == {"city": "Lisbon"}
    browser.select(".results textarea", '{"sky": "clear"}')
    browser.click(".results button")
    browser.until_answered(2)
    roles = [message.role for message in served.players["small-a"].prompts[-1].messages]
    assert roles == ["user", "assistant", "tool"]
    assert served.players["small-a"].prompts[-1].messages[2].content == '{"sky": "clear"}'


def test_a_conversation_has_its_history_until_a_new_one_begins(browser: Browser, served: Served) -> None:
    browser.ask("What is the capital of France?")
    browser.ask("Thank you", 2)
    contents = [message.content for message in served.players["small-b"].prompts[-1].messages]
    assert contents == ["What is the capital of France?", "The capital is Paris.", "Thank you"]
    browser.click(".session button")
    browser.ask("Again", 1)
    assert [message.content for message in served.players["small-b"].prompts[-1].messages] == ["Again"]
    assert browser.texts(".session strong")[0] == "3"


def test_a_look_at_another_view_ends_no_conversation(browser: Browser) -> None:
    browser.ask("What is the capital of France?")
    browser.select("#prompt", "not yet sent")
    browser.run("location.hash = '#/live'")
    browser.find(".live")
    browser.run("location.hash = '#/playground'")
    browser.until("document.querySelector('#prompt')?.value === 'not yet sent'")
    assert browser.texts(".answer .markdown") == ["The capital is Paris."]


def test_code_is_highlighted_and_a_request_can_be_copied(browser: Browser, served: Served) -> None:
    prompt = 'Python, it\'s "quoted" \\ and\nbroken ✓ $HOME'
    browser.ask(prompt)
    browser.until("document.querySelectorAll('.answer .hljs-keyword').length > 1")
    browser.run("window.copied = []; navigator.clipboard.writeText = async text => { window.copied.push(text); }")
    for button in browser.all(".copies button"):
        browser.click(button)
    browser.until("window.copied.length === 5")
    answer, curl, python, body, link = browser.run("return window.copied")
    assert answer == CODE
    messages = [{"role": "user", "content": prompt}]
    assert json.loads(body)["messages"] == messages
    import shlex

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


def test_the_link_of_a_turn_holds_the_options_that_it_had(browser: Browser) -> None:
    browser.run("document.querySelector('.options details').open = true")
    browser.select(".options .grid label:nth-of-type(1) textarea", "Be brief.")
    browser.ask("What is the capital of France?")
    browser.select(".options .grid label:nth-of-type(1) textarea", "Be long.")
    browser.run("window.copied = []; navigator.clipboard.writeText = async text => { window.copied.push(text); }")
    browser.click(browser.all(".copies button")[-1])
    browser.until("window.copied.length === 1")
    browser.open(browser.run("return window.copied[0]"))
    browser.until("document.querySelector('#prompt')?.value === 'What is the capital of France?'")
    assert browser.run("return document.querySelector('.options .grid textarea').value") == "Be brief."


def test_a_link_to_a_cascade_that_is_not_there_says_which_is_asked(browser: Browser, served: Served) -> None:
    state = base64.urlsafe_b64encode(json.dumps({"model": "gone", "prompt": "Hello"}).encode()).decode().rstrip("=")
    browser.run("location.hash = arguments[0]", f"#/playground/{state}")
    browser.until("document.querySelector('.composer .fault')?.innerText.startsWith('This server has no gone')")
    assert browser.text(".composer .fault") == "This server has no gone; default is asked."
    browser.click(".send")
    browser.until_answered()
    assert browser.all(".fault-card") == []


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


def test_the_failure_of_a_choice_that_was_left_is_not_shown(browser: Browser) -> None:
    browser.ask("How many minutes?")
    browser.run(
        "const real = fetch; window.decisions = 0;"
        "window.fetch = async (to, options) => (decisions += 1) > 1 ? real(to, options) : new Response("
        "  new ReadableStream({start(out) {"
        "    options.signal.addEventListener('abort', () => out.error(new DOMException('', 'AbortError'))); }}),"
        "  {status: 500})"
    )
    browser.select(".what-if select", "exact")
    browser.until("window.decisions === 1")
    browser.select(".track input", "0.4")
    browser.until("document.querySelector('.outcome .badge')?.innerText === 'would defer'")
    assert browser.all(".outcome .fault") == []


def test_a_confidence_is_decided_anew_by_its_threshold_alone(browser: Browser) -> None:
    browser.run(
        "const real = fetch; window.decisions = 0;"
        "const confident = text => text.replaceAll('\"disagreement\"', '\"unsure\"');"
        "window.fetch = async (to, options) => {"
        "  if (String(to).endsWith('/page/decide')) window.decisions += 1;"
        "  const response = await real(to, options);"
        "  return String(to).endsWith('/completions') ? new Response(confident(await response.text())) : response; }"
    )
    browser.ask("How many minutes?")
    assert "Confidence 0.500 is below the threshold 0.700" in browser.text(".sentence")
    browser.select(".track input", "0.4")
    browser.until("document.querySelector('.outcome .badge')?.innerText === 'would accept'")
    assert "confidence 0.500 is at least the threshold 0.400; the answer of small-a" in browser.text(".outcome")
    disabled = "return [...document.querySelectorAll('.what-if :is(select, input)')].map(at => at.disabled)"
    assert browser.run(disabled) == [False, True, True, True, True, True]
    assert browser.run("return window.decisions") == 0
    browser.select(".what-if select", "exact")
    browser.until("document.querySelector('.outcome .badge')?.innerText === 'would defer'")
    assert browser.run("return window.decisions") == 1


def test_each_block_of_code_can_be_copied(browser: Browser) -> None:
    browser.ask("Python, please")
    browser.run("window.copied = []; navigator.clipboard.writeText = async text => { window.copied.push(text); }")
    browser.click(".answer .code button")
    browser.until("document.querySelector('.answer .code button').innerText === 'Copied'")
    assert browser.run("return window.copied") == [CODE.split("```")[1].removeprefix("python\n")]


def test_the_sums_of_the_session_can_be_forgotten(browser: Browser) -> None:
    browser.ask("What is the capital of France?")
    browser.click(".session button")
    browser.until("document.querySelector('.session button')?.innerText === 'Forget these sums'")
    browser.click(".session button")
    browser.until("document.querySelector('.session') === null")
    browser.ask("What is the capital of France?")
    assert browser.texts(".session strong")[0] == "1"


def test_what_is_typed_as_soon_as_a_link_is_open_is_not_overwritten(browser: Browser) -> None:
    browser.run("location.hash = '#/live'")
    browser.find(".live")
    state = base64.urlsafe_b64encode(json.dumps({"prompt": "linked"}).encode()).decode().rstrip("=")
    browser.run(
        "new MutationObserver((_, watching) => {"
        "  const at = document.querySelector('#prompt');"
        "  if (!at) return;"
        "  watching.disconnect(); at.value += ' and typed'; at.dispatchEvent(new Event('input', {bubbles: true}));"
        "}).observe(document.querySelector('main'), {childList: true, subtree: true});"
        "location.hash = arguments[0]",
        f"#/playground/{state}",
    )
    browser.find(".example")  # drawn after the effects of the first frame
    assert browser.run("return document.querySelector('#prompt').value") == "linked and typed"


def test_back_and_forward_lead_from_link_to_link(browser: Browser) -> None:
    for prompt in ("first", "second"):
        state = base64.urlsafe_b64encode(json.dumps({"prompt": prompt}).encode()).decode().rstrip("=")
        browser.run("location.hash = arguments[0]", f"#/playground/{state}")
        browser.until("document.querySelector('#prompt').value === arguments[0]", prompt)
    browser.run("history.back()")
    browser.until("document.querySelector('#prompt').value === 'first'")
    browser.run("history.forward()")
    browser.until("document.querySelector('#prompt').value === 'second'")


def test_a_double_click_asks_and_escape_stops(browser: Browser, served: Served) -> None:
    for player in served.players.values():
        player.paused = True
    browser.select("#prompt", "What is the capital of France?")
    browser.double_click(".send")
    browser.until("document.querySelector('.member .markdown')?.innerText.startsWith('The')")
    assert browser.texts(".stop") == ["Stop"]
    browser.find("#prompt").send_keys(Keys.ESCAPE)
    browser.until_answered()
    assert "Stopped." in browser.text(".turn")
    for player in served.players.values():
        player.paused = False
    browser.run("[...document.querySelectorAll('.turn button')].find(at => at.innerText === 'Ask again').click()")
    browser.until("document.querySelector('.answer .markdown')?.innerText === 'The capital is Paris.'")


def test_a_screen_reader_hears_how_a_turn_goes_on(browser: Browser, served: Served) -> None:
    spoken = "document.querySelector('.playground > [role=status]').textContent"
    served.players["small-a"].paused = True
    browser.select("#prompt", "How many minutes?")
    browser.click(".send")
    browser.until(f"{spoken} === 'small-a and small-b answer.'")
    assert browser.run("return document.activeElement.id") == "prompt"  # not a button that is another one by now
    served.players["large-t"].paused, served.players["small-a"].paused = True, False
    browser.until(f"{spoken} === 'Agreement 0.500 is below the threshold 0.700, so large-t is asked.'")
    served.players["large-t"].paused = False
    browser.until(f"{spoken} === 'Answered by large-t.'")


def test_a_ladder_says_which_answers_are_carried_over(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured().model_dump(mode="json", exclude_unset=True)
    first, target = config["cascades"]["default"]["tiers"]
    second = {"models": ["small-a", "small-b"], "signal": "bleu", "threshold": 0.9}
    config["cascades"]["default"]["tiers"] = [first, second, target]
    monkeypatch.setattr(serving_module, "configured", lambda: AppConfig.model_validate(config))
    with serving_module.serving() as ladder:
        browser.open(ladder.url)
        browser.find(".example")
        browser.ask("How many minutes?")
    assert browser.texts(".member .state") == ["answered", "answered", "carried over", "carried over"]
    assert "0.700, so small-a and small-b are asked." in browser.texts(".sentence")[0]
    assert browser.texts(".sentence")[1].endswith("so large-t is asked.")


def test_a_single_model_answers_alone(browser: Browser) -> None:
    browser.select(".options select", "large-t")
    browser.ask("What is the capital of France?")
    assert browser.all(".verdict") == []
    assert browser.text(".answer .markdown") == "It is Paris."
