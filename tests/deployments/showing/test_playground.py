"""What would have been decided: by the code that decides requests, without asking a model."""

from typing import Any

import httpx
import pytest

from serve_app.config import AppConfig
from serve_app.deployments.router import Router
from tests.page.serving import Player, built

MODEL = {"engine": "replay", "default": "x"}
CASCADES: dict[str, Any] = {
    "default": {"tiers": [{"models": ["a", "b"], "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]},
    "sure": {"tiers": [{"models": ["a"], "signal": "chow_avg", "threshold": -1}, {"models": ["t"]}]},
}
ANSWERS = [{"text": "It is 5."}, {"text": "Well, 5"}]


@pytest.fixture
def routing() -> tuple[Router, dict[str, Player]]:
    return built(AppConfig.model_validate({"models": dict.fromkeys("abt", MODEL), "cascades": CASCADES}))


@pytest.fixture
async def http(routing: tuple[Router, dict[str, Player]]) -> Any:
    router, players = routing
    transport = httpx.ASGITransport(router.__serve_build_asgi_app__())
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client
    assert not any(player.prompts for player in players.values())


async def decided(http: httpx.AsyncClient, **body: Any) -> Any:
    return (await http.post("/page/decide", json={"model": "default", "answers": ANSWERS} | body)).json()


async def test_answers_are_decided_by_the_policy_in_force(http: httpx.AsyncClient) -> None:
    tier = await decided(http)
    assert tier["similarities"] == [[1.0, 0.0], [0.0, 1.0]]
    assert (tier["signal"], tier["agreement"], tier["threshold"], tier["accepted"]) == ("exact", 0.0, 0.5, False)
    assert (tier["reason"], tier["selected"], tier["output_scores"]) == ("disagreement", "a", [0.0, 0.0])


async def test_a_view_a_signal_and_a_threshold_change_the_decision(http: httpx.AsyncClient) -> None:
    tier = await decided(http, cascade={"compare": {"take": "last_number"}})
    assert (tier["agreement"], tier["accepted"], tier["compared"]) == (1.0, True, ["5", "5"])
    # rouge1: of 3 and 2 words one is shared, F1 = 2 x 1 / (3 + 2)
    tier = await decided(http, cascade={"signal": "rouge1", "threshold": 0.3})
    assert (tier["agreement"], tier["accepted"]) == (0.4, True)


async def test_the_worth_of_an_answer_chooses_the_threshold_as_for_a_request(
    http: httpx.AsyncClient, routing: tuple[Router, dict[str, Player]]
) -> None:
    """At 20 dollars 1 + 20 x .4 is more than 5 + 20 x .1; at 1 dollar it is less."""
    exchange = [
        {"thresholds": [0.1], "usd": 1.0, "quality": 0.6},
        {"thresholds": [0.9], "usd": 5.0, "quality": 0.9},
    ]
    calibration = {"id": "c1", "thresholds": [0.5], "exchange": exchange}
    routing[0].reconfigure({"calibrations": {"default": calibration}})
    tiers = [await decided(http, cascade={"willingness_to_pay_usd": worth}) for worth in (1.0, 20.0)]
    assert [tier["threshold"] for tier in tiers] == [0.1, 0.9]


async def test_a_veto_gives_contradicting_answers_the_floor(http: httpx.AsyncClient) -> None:
    answers = [{"text": "It is 5."}, {"text": "It is 6."}]
    plain = await decided(http, answers=answers, cascade={"signal": "rouge1"})
    vetoed = await decided(http, answers=answers, cascade={"signal": "rouge1"}, veto=["numbers"])
    assert (plain["agreement"], vetoed["agreement"]) == (pytest.approx(2 / 3, abs=1e-9), 0.0)
    assert vetoed["signal"] == "rouge1"


async def test_a_missing_answer_leaves_too_few(http: httpx.AsyncClient) -> None:
    tier = await decided(http, answers=[{"text": "5"}, None])
    assert (tier["accepted"], tier["reason"], tier["answers"]) == (False, "too_few_answers", ["5", None])


async def test_tool_calls_are_compared(http: httpx.AsyncClient) -> None:
    calls = [{"name": "f", "arguments": '{"a": 1, "b": 2}'}, {"name": "f", "arguments": '{"b":2,"a":1}'}]
    tier = await decided(http, answers=[{"tool_calls": [call]} for call in calls])
    assert (tier["agreement"], tier["accepted"]) == (1.0, True)


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"model": "defaul"}, 404, "There is no cascade 'defaul'. Did you mean 'default'?"),
        ({"model": "a"}, 404, "There is no cascade 'a'."),
        ({"tier": 1}, 400, "tier: 'default' decides in 1 tier, counted from 0."),
        ({"answers": [None]}, 400, "answers: needs 2, one for each model of the tier."),
        ({"cascade": {"signal": "rouge"}}, 400, "cascade.signal: no signal 'rouge'."),
        ({"model": "sure", "answers": [{"text": "5"}]}, 400, "cascade.signal: 'chow_avg' needs log-probabilities"),
        ({"veto": ["dates"]}, 400, "veto[0]: must be 'numbers', 'negation', 'names' or 'choice'"),
        (
            {"answers": [{"text": "5" * 60_000}, {"text": "5" * 40_001}]},
            400,
            "answers: must have at most 100000 characters",
        ),
        ({"answers": [{"text": "5", "x": 1}, None]}, 400, "answers[0].x: this field is not supported."),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(
    http: httpx.AsyncClient, body: dict[str, Any], status: int, sentence: str
) -> None:
    response = await http.post("/page/decide", json={"model": "default", "answers": ANSWERS} | body)
    assert response.status_code == status
    assert response.json()["error"]["message"].startswith(sentence)


async def test_the_page_is_told_what_there_is_to_try(http: httpx.AsyncClient) -> None:
    about = (await http.get("/page/about")).json()
    assert [cascade["id"] for cascade in about["cascades"]] == ["default", "sure"]
    first = about["cascades"][0]["tiers"][0]
    assert (first["signal"], first["threshold"], first["range"]) == ("exact", 0.5, [0.0, 1.0])
    assert about["cascades"][1]["tiers"][0]["token_level"] is True
    assert about["cascades"][0]["tiers"][1] == {"models": ["t"]}
    assert {"exact", "rouge1"} <= set(about["signals"])
    assert about["vetoes"] == ["numbers", "negation", "names", "choice"]
