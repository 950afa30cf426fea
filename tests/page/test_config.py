"""The config view: who may see it, the drawing, the policy in words, and a pasted config in sentences."""

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serve_app.api.intake.caller import Caller, with_caller
from serve_app.page.config import MOST_CHARACTERS, install_config

from .browser import Browser
from .serving import ATTACK, Served

BROKEN = "applications:\n  - import_path: serve_app.app:build_app\n    argz: {}"


class Fixed:
    """A graph and a checker that answer at once."""

    def __init__(self) -> None:
        self.busy = False
        self.texts: list[str] = []

    async def graph(self) -> dict[str, object]:
        return {"cascades": []}

    async def check(self, text: str) -> dict[str, object]:
        self.texts.append(text)
        return {"valid": True, "lines": [text], "warnings": []}


def client(fixed: Fixed, *, operator: bool = True) -> httpx.AsyncClient:
    app = FastAPI()
    install_config(app, fixed, fixed)

    async def called(scope: Any, receive: Any, send: Any) -> None:
        await app(with_caller(scope, Caller("ann", operator=operator)), receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(called), base_url="http://localhost")


async def test_only_operators_may_see_and_check() -> None:
    fixed = Fixed()
    async with client(fixed, operator=False) as http:
        answers = [await http.get("/page/config"), await http.post("/page/check", json={"yaml": "a"})]
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [
        (403, "not_an_operator")
    ] * 2
    assert fixed.texts == []
    async with client(fixed) as http:
        assert (await http.get("/page/config")).json() == {"cascades": []}
        assert (await http.post("/page/check", json={"yaml": "a"})).json()["lines"] == ["a"]


async def test_a_text_is_checked_only_up_to_a_length_and_alone() -> None:
    fixed = Fixed()
    async with client(fixed) as http:
        assert (await http.post("/page/check", json={"yaml": "a" * MOST_CHARACTERS})).status_code == 200
        assert (await http.post("/page/check", json={"yaml": "a" * (MOST_CHARACTERS + 1)})).status_code == 422
        assert (await http.post("/page/check", json={"path": "/etc/passwd"})).status_code == 422
        fixed.busy = True
        refused = await http.post("/page/check", json={"yaml": "a"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert len(fixed.texts) == 1


def open_config(browser: Browser, served: Served) -> None:
    browser.open(f"{served.url}/#/config")
    browser.find(".graph")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_drawing_has_every_tier_and_model_and_fits(
    browser: Browser, served: Served, scheme: str, width: int
) -> None:
    browser.scheme(scheme)
    browser.size(width, 900)
    try:
        open_config(browser, served)
        names = browser.run("return [...document.querySelectorAll('.graph .name')].map(at => at.textContent)")
        assert names == ["small-a", "small-b", "large-t"]
        listed = browser.run("return [...document.querySelectorAll('#drawn li')].map(at => at.textContent)")
        assert listed == [
            "Tier 1: small-a, replay · 500M, replicas: 1, 0.1 CPU; small-b, replay · 150M, replicas: 1, 0.1 CPU; "
            "rougeL: accepted from 0.700 on, else deferred",
            "Target: large-t, replay · 7B, replicas: 1, 0.1 CPU",
        ]
        assert browser.run("return document.querySelector('.graph').getAttribute('role')") == "img"
        assert browser.findings() == []
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth") is True
        outside = (
            "const box = document.querySelector('.graph').getBoundingClientRect();"
            "return [...document.querySelectorAll('.graph text, .graph rect')].map(at => at.getBoundingClientRect())"
            ".filter(at => at.right > box.right + .5 || at.left < box.left - .5 || at.bottom > box.bottom + .5).length"
        )
        assert browser.run(outside) == 0
    finally:
        browser.scheme("light")
        browser.size(1280, 900)


def test_a_cascade_is_chosen_of_several(browser: Browser, served: Served) -> None:
    tier = {"models": ["a"], "deployments": ["a"], "signal": None, "threshold": None, "policy": ["Answers."]}
    cascades = [{"id": id_, "calibration": None, "remedies": [], "tiers": [tier]} for id_ in ("first", "second")]
    browser.run(
        "const [graph] = arguments; window.fetch = async () => new Response(graph); location.hash = '#/config'",
        json.dumps({"cascades": cascades, "models": [], "deployments": []}),
    )
    browser.until("document.querySelector('.config select')?.value === 'first'")
    browser.select(".config select", "second")
    browser.until("document.querySelector('.config .panel h2').innerText === 'second'")
    assert browser.run("return document.querySelector('.config select').value") == "second"


def test_a_tier_is_chosen_in_the_drawing_and_by_its_button(browser: Browser, served: Served) -> None:
    open_config(browser, served)
    words = "document.querySelector('.tier-words .policy-words').innerText"
    browser.until(f"{words}.includes('Accepts if the agreement is at least 0.7; else it defers to large-t.')")
    browser.click(browser.all(".graph .box")[-1])
    browser.until(f"{words}.startsWith('Answers what is deferred to it.')")
    browser.click(browser.all(".tier-words button")[0])
    browser.until(f"{words}.startsWith('Asks small-a and small-b at once')")
    assert browser.run("return [...document.querySelectorAll('.tier-words button')].map(at => at.ariaExpanded)") == [
        "true",
        "false",
    ]


def test_a_pasted_config_is_told_in_sentences(browser: Browser, served: Served) -> None:
    open_config(browser, served)
    browser.run(
        "const [told] = arguments, real = fetch; window.bodies = [];"
        "window.fetch = async (path, options) => String(path).endsWith('/page/check')"
        "? (bodies.push(options.body), new Response(told)) : real(path, options)",
        json.dumps({"valid": False, "lines": ["Wrong.", "Also wrong."], "warnings": ["And mind this."]}),
    )
    browser.select("#yaml", BROKEN)
    browser.click(".check-form button")
    browser.until("document.querySelectorAll('.checked li').length === 3")
    assert json.loads(browser.run("return bodies[0]")) == {"yaml": BROKEN}
    lines = browser.run("return [...document.querySelectorAll('.checked li')].map(at => at.innerText)")
    assert lines == ["Wrong.", "Also wrong.", "And mind this."]
    assert browser.text(".checked .badge") == "not valid"
    assert browser.findings() == []
    browser.run("location.hash = '#/evaluation'")
    browser.find(".drop")
    browser.run("location.hash = '#/config'")
    browser.until("document.querySelector('#yaml')?.value === arguments[0]", BROKEN)


def test_what_was_said_of_another_text_is_taken_back(browser: Browser, served: Served) -> None:
    open_config(browser, served)
    browser.run(
        "const [told] = arguments, real = fetch; window.fetch = async (path, options) =>"
        "String(path).endsWith('/page/check')"
        "? new Promise(done => { window.answer = () => done(new Response(told)); }) : real(path, options)",
        json.dumps({"valid": True, "lines": ["Fine."], "warnings": []}),
    )
    for edited in ("before", "after"):
        browser.select("#yaml", f"a: {edited}")
        browser.click(".check-form button")
        browser.until("document.querySelector('.check-form button').innerText === 'Checking …'")
        if edited == "before":  # the answer comes
            browser.select("#yaml", "b: 1")
        browser.run("window.answer()")
        browser.until("document.querySelector('.check-form button').innerText === 'Check'")
        assert len(browser.all(".checked li")) == (edited == "after")
    browser.select("#yaml", "c: 1")
    browser.until("document.querySelector('.checked li') === null")


def test_the_config_in_force_is_looked_at_again(browser: Browser, served: Served) -> None:
    browser.run("const real = setTimeout; window.setTimeout = (then, ms) => real(then, ms === 10_000 ? 20 : ms)")
    browser.run("location.hash = '#/config'")
    browser.find(".graph")
    served.router.parts.policies.change({"thresholds": {"default": [0.25]}})
    browser.until("document.querySelector('.graph .gate').textContent.includes('0.250')")
    browser.run("window.real = fetch; window.fetch = () => Promise.reject(new TypeError('gone'))")
    browser.find(".fault-card")
    assert browser.all(".graph") != []  # the last that was known
    served.router.parts.policies.change({})
    browser.run("window.fetch = window.real")
    browser.until("document.querySelector('.graph .gate').textContent.includes('0.700')")
    assert browser.all(".fault-card") == []


def test_names_and_sentences_with_markup_run_nothing(browser: Browser, served: Served) -> None:
    tier = {"models": [ATTACK, ATTACK], "deployments": [ATTACK, ATTACK], "signal": ATTACK, "threshold": 0.5}
    graph = {
        "cascades": [
            {
                "id": ATTACK,
                "calibration": ATTACK,
                "remedies": [ATTACK],
                "tiers": [tier | {"policy": [ATTACK]}, tier | {"signal": None, "policy": [ATTACK]}],
            }
        ],
        "models": [
            {"name": ATTACK, "engine": ATTACK, "parameters": 1e9, "active_parameters": None, "weights": [ATTACK]}
        ],
        "deployments": [
            {
                "name": ATTACK,
                "holds": ATTACK,
                "replicas": [1, 1],
                "running": 1,
                "bundles": [ATTACK, ATTACK],
                "strategy": ATTACK,
            }
        ],
    }
    report = {"valid": False, "lines": [ATTACK], "warnings": [ATTACK]}
    browser.run(
        "const [graph, report] = arguments;"
        "window.fetch = async path => new Response(String(path).endsWith('/page/check') ? report : graph);"
        "location.hash = '#/config'",
        json.dumps(graph),
        json.dumps(report),
    )
    browser.find(".graph")
    browser.select("#yaml", ATTACK)
    browser.click(".check-form button")
    browser.until("document.querySelectorAll('.checked li').length === 2")
    assert browser.run("return window.hacked ?? null") is None
    elements = "script, img, iframe, math, style, base, object, embed, a, foreignObject, [onerror], [onload], [style]"
    assert browser.run("return document.querySelectorAll(`main :is(${arguments[0]})`).length", elements) == 0
    assert browser.run("return document.querySelectorAll('main svg').length") == 1
    assert ATTACK in browser.run("return document.querySelector('.checked').textContent")


@pytest.mark.parametrize(("status", "title"), [(403, "For operators"), (500, "The config cannot be shown")])
def test_without_the_config_there_is_a_reason(browser: Browser, status: int, title: str) -> None:
    browser.run(
        "const [status] = arguments; window.fetch = async () =>"
        "new Response(JSON.stringify({error: {message: 'Not now.'}}), {status}); location.hash = '#/config'",
        status,
    )
    browser.until("document.querySelector('.fault-card h2')?.innerText === arguments[0]", title)
    assert "Not now." in browser.text(".fault-card")
    assert browser.all("#yaml") == []
