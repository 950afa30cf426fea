"""The peers' decisions on the examples of one of our cascades, each taken by the peer's code in its environment."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtests.peers.environments import UnavailableError, python_of
from serve_app.core.types.answer import Generation
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.statistics.curves import Floats
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier

WORKERS = Path(__file__).with_name("workers")
SECONDS = 1200


@dataclass(frozen=True)
class Decided:
    """A peer on the n examples of a view: scores that it accepts by, if it has any, and what it keeps and costs.

    `escalated`: of the test examples, whether its own rule for the budget asks the target; None if it has no such rule,
    so that its threshold is chosen as ours is.
    """

    peer: str
    tier: RecordedTier | None
    selected: Floats
    cost: Floats
    escalated: np.ndarray | None = None


def ask(peer: str, worker: str, body: Any) -> Any:
    """Run a worker in the peer's environment. Raises UnavailableError if it cannot be installed, or fails."""
    python = python_of(peer)
    result = subprocess.run(
        [str(python), str(WORKERS / f"{worker}.py")],
        input=json.dumps(body),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    if result.returncode:
        raise UnavailableError(f"its code failed: {(result.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(result.stdout.splitlines()[-1])


def cascade_inference(view: CascadeView, vectors: dict[str, Sequence[float]], members_cost: Floats) -> Decided:
    """Return its semantic strategy: every answer against the first one, which is what it returns."""
    members, index = view.tiers[0].models, np.concatenate([view.fit, view.test])
    columns = [texts(view, model) for model in members]
    answers = [[column[k] for column in columns] for k in index]
    scores = np.full(len(view.dataset), np.nan)
    scores[index] = ask("cascade-inference", "run_cascade_inference", {"vectors": vectors, "answers": answers})
    selected = view.quality(members[0])
    return Decided("cascade-inference", RecordedTier(scores, selected, members_cost), selected, members_cost)


def cascadeflow(view: CascadeView, unit_cost: Floats) -> Decided:
    """Return its confidence in the first member's answer as a draft, which alone is paid for."""
    first = view.tiers[0].models[0]
    queries = [_query(example.prompt_inputs) for example in view.dataset.examples]
    body = [{"query": query, "answer": text} for query, text in zip(queries, texts(view, first), strict=True)]
    scores = np.array(ask("cascadeflow", "run_cascadeflow", body))
    selected = view.quality(first)
    return Decided("cascadeflow", RecordedTier(scores, selected, unit_cost), selected, unit_cost)


def ucci(view: CascadeView, own: RecordedTier, target: RecordedTarget, budget: float) -> Decided:
    """Return its calibration and threshold over our agreement, since there are no log-probabilities for its own."""
    body = _parts(view, own, target, "u", 1 - _filled(own.scores)) | {"budget": budget}
    answer = ask("ucci-router", "run_ucci", body)
    scores = np.full(len(own.scores), np.nan)
    scores[view.test] = -np.array(answer["p_wrong"])
    escalated = None if answer["escalate"] is None else np.array(answer["escalate"])
    return Decided("ucci-router", RecordedTier(scores, own.selected, own.cost), own.selected, own.cost, escalated)


def automix(view: CascadeView, own: RecordedTier, target: RecordedTarget, budget: float) -> Decided:
    """Return its POMDP with our agreement as the verifier's confidence, since there is no self-verification."""
    body = _parts(view, own, target, "verifier", _filled(own.scores)) | {"budget": budget}
    escalated = np.array(ask("automix-llm", "run_automix", body))
    return Decided("automix-llm", None, own.selected, own.cost, escalated)


def texts(view: CascadeView, model: str) -> list[str]:
    """Return a model's whole answers; the empty text for a failure."""
    answers = view.dataset.replay.answers(model)
    return [answer.text if isinstance(answer, Generation) else "" for answer in answers]


def _filled(scores: Floats) -> Floats:
    """Return the scores with 0 for an example that has none, which is deferred."""
    return np.nan_to_num(np.clip(scores, 0.0, 1.0), nan=0.0)


def _parts(view: CascadeView, own: RecordedTier, target: RecordedTarget, name: str, values: Floats) -> dict[str, Any]:
    parts = {
        part: {
            name: values[index].tolist(),
            "small": own.selected[index].tolist(),
            "large": target.quality[index].tolist(),
        }
        for part, index in (("fit", view.fit), ("test", view.test))
    }
    costs = {"c_small": own.cost[view.fit].mean(), "c_large": target.cost[view.fit].mean()}
    return parts | {key: float(value) for key, value in costs.items()}


def _query(inputs: Any) -> str:
    if "messages" in inputs:
        return "\n".join(str(message["content"]) for message in inputs["messages"])
    return "\n".join(str(value) for value in inputs.values())
