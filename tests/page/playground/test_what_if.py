"""What if: another threshold, signal, view or veto decides anew on the answers that are there."""

from selenium.webdriver.common.keys import Keys

from tests.page.browser import Browser
from tests.page.serving import Served


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
