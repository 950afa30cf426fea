"""Asking in the playground: an accepted and a deferred request, as they are written, and a conversation."""

import json

import pytest
from selenium.webdriver.common.keys import Keys

from serve_app.config import AppConfig
from tests.page import serving as serving_module
from tests.page.browser import Browser
from tests.page.serving import Served, configured


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


def test_the_sums_of_the_session_can_be_forgotten(browser: Browser) -> None:
    browser.ask("What is the capital of France?")
    browser.click(".session button")
    browser.until("document.querySelector('.session button')?.innerText === 'Forget these sums'")
    browser.click(".session button")
    browser.until("document.querySelector('.session') === null")
    browser.ask("What is the capital of France?")
    assert browser.texts(".session strong")[0] == "1"


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
