"""Peers in a benchmark: what is compared with what, and what happens if one is missing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer

from loadtests.peers import environments, quality, rules
from loadtests.peers.backend import application
from loadtests.peers.environments import UnavailableError, python_of
from loadtests.peers.rules import Decided
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier
from tests.evaluation.synthetic import records


def test_an_environment_that_cannot_be_made_is_a_reason_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setattr(environments, "PACKAGES", {"peer": ["./no-such-package"]})

    def run(command: list[str]) -> None:
        Path(command[-1]).mkdir() if "venv" in command else _fail()

    def _fail() -> None:
        raise UnavailableError("ERROR: Invalid requirement: './no-such-package'")

    monkeypatch.setattr(environments, "_run", run)
    with pytest.raises(UnavailableError, match="Invalid requirement"):
        python_of("peer")
    assert list(tmp_path.iterdir()) == []


def test_what_a_command_says_of_its_error_is_the_reason() -> None:
    with pytest.raises(UnavailableError, match=r"^ERROR: no luck$"):
        environments._run(["sh", "-c", "echo ERROR: no luck >&2; echo a hint >&2; exit 1"])


async def test_the_backend_answers_alike_plain_and_streamed() -> None:
    async with TestClient(TestServer(application())) as client:
        plain = await (await client.post("/v1/chat/completions", json={})).json()
        text = plain["choices"][0]["message"]["content"]
        streamed = (await (await client.post("/v1/chat/completions", json={"stream": True})).text()).split("\n\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in streamed if event and "[DONE]" not in event]
    pieces = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]]
    assert "".join(pieces) == text
    assert chunks[-1]["usage"] == plain["usage"]


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> CascadeView:
    path = records(tmp_path_factory.mktemp("peers") / "records.jsonl", 40)
    dataset = load_dataset(Records.load(path), Options(signals=("exact",), fit=0.5, resamples=100, processes=1))
    [group] = dataset.groups
    return CascadeView(dataset, group, "default", *dataset.parts(group.index, 0.5))


def column(view: CascadeView, fit: list[float], test: list[float]) -> np.ndarray:
    """Return a column that repeats these values on each half."""
    values = np.zeros(len(view.dataset))
    values[view.fit], values[view.test] = np.resize(fit, len(view.fit)), np.resize(test, len(view.test))
    return values


def rule(view: CascadeView) -> tuple[RecordedTier, RecordedTarget]:
    """Return a tier whose every second answer is sure and right, and a target that is right and costs 10."""
    right = column(view, [1.0, 0.0], [1.0, 0.0])
    ones = np.ones(len(view.dataset))
    return RecordedTier(right, right, ones), RecordedTarget(ones, 10 * ones)


def test_a_peer_without_a_budget_rule_gets_its_threshold_as_ours_does(view: CascadeView) -> None:
    own, target = rule(view)
    wrong = replace(own, scores=1 - own.scores)  # it is sure of the wrong ones
    peer = Decided("peer", wrong, own.selected, own.cost)
    result = quality._compared("set", "ours", view, own, target, peer, budget=6.5)
    half = 0.5 if len(view.test) % 2 == 0 else (len(view.test) // 2 + 1) / len(view.test)
    assert result.quality is not None
    assert result.cost is not None
    assert result.quality == (1.0, pytest.approx(half))
    assert result.area is not None
    assert result.area.low > 0


def test_a_peers_own_rule_is_compared_at_the_share_that_it_defers(view: CascadeView) -> None:
    own, target = rule(view)
    escalated = np.zeros(len(view.test), dtype=bool)
    peer = Decided("peer", None, own.selected, own.cost, escalated)
    result = quality._compared("set", "ours", view, own, target, peer, budget=6.5)
    assert result.area is None
    assert result.quality is not None
    assert result.quality[0] == result.quality[1]
    assert result.cost == (pytest.approx(0.1), pytest.approx(0.1))


def test_what_peers_get_is_of_the_two_halves(view: CascadeView, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def ask(peer: str, worker: str, body: Any) -> Any:
        calls.append((peer, worker, body))
        return [True] * len(view.test)

    monkeypatch.setattr(rules, "ask", ask)
    own, target = rule(view)
    decided = rules.automix(view, own, target, 5.0)
    [(peer, worker, body)] = calls
    assert (peer, worker) == ("automix-llm", "run_automix")
    assert (body["c_small"], body["c_large"], body["budget"]) == (1.0, 10.0, 5.0)
    assert body["fit"]["verifier"] == own.scores[view.fit].tolist()
    assert body["test"]["small"] == own.selected[view.test].tolist()
    assert decided.escalated is not None
    assert decided.escalated.all()


@pytest.mark.parametrize("path", sorted(rules.WORKERS.glob("run_*.py")), ids=lambda path: path.stem)
def test_a_worker_needs_nothing_of_ours(path: Path) -> None:
    assert "serve_app" not in path.read_text()
