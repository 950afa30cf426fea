"""The page in a real browser over this application. The last test breaks it, so this file comes after the others."""

import re
from pathlib import Path

import pytest

from tests.evaluation.synthetic import records
from tests.page.browser import Browser
from tests.page.relay import relaying
from tests.serve.conftest import Served

from .conftest import MEMBERS, QUESTIONS, TARGET

pytestmark = [pytest.mark.serve, pytest.mark.models]

COUNTING = "Count from one to twenty in words."
PARTS = """
window.parts = {};
new MutationObserver(() => {
  for (const at of document.querySelectorAll('.member, .answer')) {
    const seen = (window.parts[at.getAttribute('aria-label')] ??= []);
    const length = at.querySelector('.markdown')?.innerText.length ?? 0;
    if (length > (seen.at(-1) ?? 0)) seen.push(length);
  }
}).observe(document.querySelector('main'), {subtree: true, childList: true, characterData: true});
"""


@pytest.fixture
def page(one_browser: Browser, quickstart: Served) -> Browser:
    """Return the browser at the page, whose models answer greedily."""
    opened(one_browser, quickstart.url)
    return one_browser


def opened(browser: Browser, url: str, model: str = "default", decide: str = "") -> None:
    browser.open(url)
    browser.find(".example")
    browser.select(".options > label select", model)
    for number, value in enumerate(("32", "0"), 1):
        browser.select(f".options .small label:nth-of-type({number}) input", value)
    browser.select(".options .small select", decide)


async def requests(served: Served) -> dict[str, int]:
    """Return how many requests each model has had."""
    return {model: (await served.counters(model)).requests for model in (*MEMBERS, TARGET)}


async def test_some_prompts_are_accepted_some_deferred_and_the_threshold_decides_anew(
    page: Browser, quickstart: Served
) -> None:
    decisions: set[str] = set()
    for question in QUESTIONS:
        page.ask(question)
        assert page.texts(".member h4") == list(MEMBERS)
        answers = page.texts(".member .markdown")
        [sentence], answered = page.texts(".sentence"), page.text(".answer header .soft")
        shown = re.fullmatch(r"(\w+)\nAgreement (-?[\d.]+) is (at least|below) the threshold 0\.702, so .*", sentence)
        assert shown is not None
        decision, agreement = shown[1], float(shown[2])
        assert page.texts(".matrix tbody td:not(.same)") == [shown[2]] * 2  # symmetric, of two members
        assert (decision, shown[3]) == (("Accepted", "at least") if agreement >= 0.702 else ("Deferred", "below"))
        if decision == "Accepted":
            [selected] = page.texts(".member.selected h4")
            assert answered == f"by {selected}"
            assert page.text(".answer .markdown") == answers[MEMBERS.index(selected)]
        else:
            assert answered == f"by {TARGET}"
        assert "of the target's cost" in page.text(".costs summary")
        if decision not in decisions:
            before = await requests(quickstart)
            page.select(".track input", "-1" if decision == "Deferred" else "1.0")
            opposite = "would accept" if decision == "Deferred" or agreement == 1 else "would defer"
            page.until("document.querySelector('.outcome .badge')?.innerText === arguments[0]", opposite)
            assert await requests(quickstart) == before
            assert page.findings() == []
        decisions.add(decision)
        if len(decisions) == 2:
            break
        page.click(".session button")
    assert decisions == {"Accepted", "Deferred"}


def test_a_real_models_tool_call_is_shown(page: Browser, quickstart: Served) -> None:
    opened(page, quickstart.url, model="qwen-0.5b")
    page.run("[...document.querySelectorAll('.example')].find(at => at.innerText.startsWith('A tool')).click()")
    page.until("document.querySelector('#prompt').value.includes('weather')")
    page.select(".options .small label:nth-of-type(1) input", "64")
    page.click(".send")
    page.until_answered()
    assert "get_weather" in page.text(".answer .calls")
    assert '"city"' in page.text(".answer .calls pre")
    assert page.texts(".results button") == ["Send the result"]


def test_dropped_records_are_evaluated_beside_the_models(page: Browser, quickstart: Served, tmp_path: Path) -> None:
    page.open(f"{quickstart.url}/#/evaluation")
    page.find(".drop input").send_keys(str(records(tmp_path / "r.jsonl", 40)))
    page.find(".evaluation .chart canvas")
    assert page.all(".fault-card") == []


def test_answers_are_seen_in_parts_until_the_stream_breaks_off_and_the_server_is_gone(
    page: Browser, quickstart: Served
) -> None:
    with relaying(quickstart.url) as relay:
        opened(page, relay.url, decide="defer")
        page.run(PARTS)
        page.select("#prompt", COUNTING)
        page.click(".send")
        page.until("window.parts.Answer?.length >= 4")
        relay.cut()
        page.until_answered()
        assert page.text(".fault-card h3") == "The stream broke off"
        parts = page.run("return window.parts")
        assert set(parts) == {*(f"Member {name}" for name in MEMBERS), "Answer"}
        assert min(map(len, parts.values())) >= 4
        relay.stop()
        page.click(".fault-card button")
        page.until("document.querySelector('.fault-card h3')?.innerText === 'No answer from the server'")


def test_a_target_whose_replica_dies_leaves_the_members_in_sight(page: Browser, quickstart: Served) -> None:
    import ray

    opened(page, quickstart.url, decide="defer")
    page.select("#prompt", COUNTING)
    page.click(".send")
    page.until("document.querySelector('.answer .markdown')?.innerText.length > 3")
    [replica] = [actor for actor in ray.util.list_named_actors(all_namespaces=True) if f"#{TARGET}#" in actor["name"]]
    ray.kill(ray.get_actor(replica["name"], namespace=replica["namespace"]))
    page.until_answered()
    assert page.text(".fault-card h3") == "The request failed"
    assert len(page.texts(".member .markdown")) == 2
