"""Requests that go where their like went."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.ask import Ask
from serve_app.core.record import DecisionRecord
from serve_app.core.running.cascade import outcome_of, run_cascade
from serve_app.core.types.answer import Answer
from serve_app.core.types.outcome import Precheck
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.core.types.scores import Embedding
from serve_app.deployments.router import Router
from serve_app.skipping.fitted import PROBE
from tests.deployments.replies import (
    LONG,
    PARIS,
    QUESTION,
    Deployment,
    answered,
    opened,
)
from tests.skipping import past


class TestSkip:
    class Scorer:
        """Embeds by the beginnings of texts."""

        def __init__(self) -> None:
            self.requests: list[list[str]] = []

        def options(self, **_: Any) -> "TestSkip.Scorer":
            return self

        async def remote(self, signal: str, texts: list[str], *_: Any) -> list[Embedding]:
            self.requests.append(texts)
            return [past.embedding(text) for text in texts]

    class Gated:
        """A model that answers once the test lets it."""

        def __init__(self, answer: Answer) -> None:
            self.answer, self.entered, self.gate = answer, asyncio.Event(), asyncio.Event()

        async def generate(self, prompt: Prompt) -> Answer:
            self.entered.set()
            await self.gate.wait()
            return self.answer

    async def routed(self, path: Path, scorer: Any, **cascade: Any) -> Router:
        """Return a router whose encoder has been tested."""
        past.written(path)
        answers = {"a": PARIS, "b": PARIS, "t": LONG}
        handles: dict[str, Any] = {name: Deployment(answer) for name, answer in answers.items()}
        router = Router(past.config(path, **cascade), handles, scorer, {})
        await self.ask(router, past.ODD)
        await asyncio.sleep(0)
        scorer.requests.clear()
        return router

    async def ask(self, router: Router, text: str, **options: Any) -> DecisionRecord:
        return await answered(router, Ask("default", Prompt((Message("user", text),)), CascadeOptions(**options)))

    async def test_requests_go_where_their_like_went(self, tmp_path: Path) -> None:
        router = await self.routed(tmp_path / "skip.npz", self.Scorer())
        hard, easy, odd = [await self.ask(router, text) for text in (past.HARD, past.EASY, past.ODD)]
        assert (hard.deferred, hard.answered_by, list(hard.models), hard.reason) == (True, "t", ["t"], "skipped")
        assert (easy.deferred, easy.answered_by, list(easy.models)) == (False, "a", ["a"])
        assert (odd.skipped, list(odd.models), odd.reason) == (None, ["a", "b"], "agreement")
        assert hard.skipped == Precheck("deferred", 5, 1.0, flops=8.0)

    async def test_thresholds_that_change_while_it_runs_change_what_is_like(self, tmp_path: Path) -> None:
        router = await self.routed(tmp_path / "skip.npz", self.Scorer())
        router.reconfigure({"thresholds": {"default": [0.1]}})
        assert (await self.ask(router, past.HARD)).answered_by == "a"
        router.reconfigure({"thresholds": {"default": [0.8]}})
        assert (await self.ask(router, past.EASY)).answered_by == "t"

    @pytest.mark.parametrize(
        "options",
        [{"skip": False}, {"include_answers": True}, {"threshold": 0.9}, {"force": "accept"}, {"max_flops": 1e30}],
        ids=str,
    )
    async def test_a_request_may_decline_it(self, tmp_path: Path, options: dict[str, Any]) -> None:
        scorer = self.Scorer()
        record = await self.ask(await self.routed(tmp_path / "skip.npz", scorer), past.HARD, **options)
        assert (record.skipped, list(record.models)[:2], scorer.requests) == (None, ["a", "b"], [])

    async def test_skipped_requests_teach_no_speculation_and_have_no_calibration(self, tmp_path: Path) -> None:
        router = await self.routed(tmp_path / "skip.npz", self.Scorer(), speculate={"percentile": 50})
        router.parts.policies.calibrations = {"default": "c1"}
        records = [await self.ask(router, past.HARD) for _ in range(21)]
        assert {record.calibration for record in records} == {None}
        run = opened(router).run
        assert run.speculation is not None
        assert run.speculation.delay_s(0, QUESTION) is None
        assert (await self.ask(router, past.ODD)).calibration == "c1"

    async def test_a_cached_answer_that_was_skipped_to_has_no_calibration(self, tmp_path: Path) -> None:
        router = await self.routed(tmp_path / "skip.npz", self.Scorer(), cache={})
        router.parts.policies.calibrations = {"default": "c1"}
        ask = Ask("default", Prompt((Message("user", past.HARD),), sampling=Sampling(temperature=0)))
        records = []
        for _ in range(2):
            request = router.open(ask)
            records.append(request.close(await outcome_of(request.events())))
        assert [record.cached is not None for record in records] == [False, True]
        assert [record.reason for record in records] == ["skipped", "skipped"]
        assert [record.calibration for record in records] == [None, None]

    @pytest.mark.parametrize(("text", "answering", "idle"), [(past.HARD, "t", ["a", "b"]), (past.EASY, "a", ["b"])])
    async def test_a_skipped_request_holds_no_place_at_models_that_it_does_not_ask(
        self, tmp_path: Path, text: str, answering: str, idle: list[str]
    ) -> None:
        router = await self.routed(tmp_path / "skip.npz", self.Scorer())
        gated = self.Gated(PARIS)
        router.parts.protection._models[answering]._model = gated
        request = router.open(Ask("default", Prompt((Message("user", text),))))
        assert [router.parts.protection.loads[name].in_progress for name in ("a", "b")] == [1, 1]
        task = asyncio.create_task(run_cascade(request.run))
        await gated.entered.wait()
        assert [router.parts.protection.loads[name].in_progress for name in [*idle, answering]] == [*[0] * len(idle), 1]
        gated.gate.set()
        request.close(await task)
        assert {load.in_progress for load in router.parts.protection.loads.values()} == {0}

    async def test_a_scorer_that_hangs_is_not_waited_for(self, tmp_path: Path) -> None:
        class Hanging(TestSkip.Scorer):
            def remote(self, signal: str, texts: list[str], *_: Any) -> Any:
                if texts == [PROBE]:
                    return super().remote(signal, texts)
                return asyncio.get_running_loop().create_future()

        path = tmp_path / "skip.npz"
        skip = past.SKIP | {"timeout_s": 0.01, "fitted": str(path)}
        router = await self.routed(path, Hanging(), skip=skip)
        record = await self.ask(router, past.HARD)
        assert (record.answered_by, record.skipped) == ("a", None)
        # The scorer is not left out of comparisons for it, but no more prompts are embedded after failures in a row.
        assert router.parts.protection.breakers["Scorer"].failures == 0
        for _ in range(20):
            await self.ask(router, past.HARD)
        assert router.parts.embedder._prompts.left_s is not None

    async def test_an_answer_that_was_skipped_to_is_not_that_of_a_request_that_declines(self, tmp_path: Path) -> None:
        router = await self.routed(tmp_path / "skip.npz", self.Scorer(), cache={})
        greedy = Prompt((Message("user", past.HARD),), sampling=Sampling(temperature=0))
        asks = [Ask("default", greedy, CascadeOptions(skip=skip)) for skip in (True, True, False)]
        assert [router.open(ask).turn.leads for ask in asks] == [True, False, True]
