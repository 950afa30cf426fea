"""The latency benchmark."""

import asyncio
import random
from dataclasses import replace
from statistics import fmean

import pytest

from loadtests.benches.bench_latency import POLICIES, Bench
from loadtests.latency.workload import MEMBERS, TARGET, A, B, C, Workload, made_up
from serve_app.core.types.policy import Tier
from serve_app.evaluation.analysis.timing import virtual_time
from serve_app.signals import RougeConfig, build_signal


def test_made_up_answers_have_no_more_in_common_than_their_common_words() -> None:
    workload = made_up(10, random.Random(4))
    own = [
        [
            " ".join([f"{i}", *(word for word in words_of(workload, name, k) if word[0] != "s")])
            for i, name in enumerate(MEMBERS)
        ]
        for k in range(10)
    ]
    scored = build_signal(RougeConfig(kind="rougeL")).similarities(own)
    assert {scores.similarities for scores in scored} == {((1, 0, 0), (0, 1, 0), (0, 0, 1))}


def test_two_made_up_answers_may_agree_and_the_third_not() -> None:
    workload = made_up(200, random.Random(4))
    odd = 0
    for k in range(200):
        rows = [words_of(workload, name, k) for name in MEMBERS]
        low, middle, _ = sorted(fmean(word[0] == "s" for word in words) for words in rows)
        odd += low < 0.4 and middle > 0.6
    assert 10 < odd < 30


def words_of(workload: Workload, name: str, number: int) -> list[str]:
    return (workload.answers[name][number].text or "").split()


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(made_up(60, random.Random(1)), rps=1.0, hop_s=0.005, seed=1)


def test_every_cascade_defers_its_share(bench: Bench) -> None:
    """All but the quorum, whose decisions are its own; thresholds are those of all answers."""
    for name, tiers, remedy in bench.scenarios(0.25):
        result = bench.measure(tiers, POLICIES.get(remedy))
        assert (sum(result.deferred), len(result.seconds)) == (15, 60) or "quorum" in name


@pytest.mark.slow
def test_exact_remedies_change_no_answer() -> None:
    """10,800 requests with remedies, 23% deferred: each that leaves decisions alone, then several at once."""
    bench = Bench(made_up(1200, random.Random(2)), rps=1.0, hop_s=0.005, seed=2)
    cascades = {name.strip(): tiers for name, tiers, _ in bench.scenarios(0.23)}
    for plain in ("two members", "three members", "carried: two, then three"):
        tiers = cascades[plain]
        early = tuple(replace(tier, early="selection") for tier in tiers)
        without = bench.measure(tiers, None)
        for remedied, policy in ((early, None), (tiers, POLICIES["percentile 90"]), (early, POLICIES["always"])):
            with_it = bench.measure(remedied, policy)
            assert (with_it.deferred, with_it.texts) == (without.deferred, without.texts)
        decided = bench.measure(tuple(replace(tier, early="decision") for tier in tiers), None)
        assert decided.deferred == without.deferred


@pytest.mark.slow
def test_no_engine_works_on_after_clients_have_left() -> None:
    """500 requests whose clients leave at random, with calls made ahead."""
    workload, rng = made_up(500, random.Random(3)), random.Random(3)
    bench = Bench(workload, rps=5.0, hop_s=0.005, seed=3)
    _, tiers, _ = list(bench.scenarios(0.5))[1]

    async def run_and_leave() -> tuple[int, dict[str, int]]:
        fleet, tasks = bench.fleet(tiers, POLICIES["always"]), []
        loop = asyncio.get_running_loop()
        for text in workload.prompts:
            await asyncio.sleep(rng.expovariate(5.0))
            task = asyncio.create_task(fleet.request(text))
            loop.call_later(rng.expovariate(1.0), task.cancel)
            tasks.append(task)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        gone = sum(isinstance(error, asyncio.CancelledError) for error in ended)
        return gone, {name: model.engine.counters().active for name, model in fleet.models.items()}

    gone, active = virtual_time.run(run_and_leave())
    assert 100 < gone < 500
    assert active == {A: 0, B: 0, C: 0, TARGET: 0}


def test_asking_ahead_changes_no_decision_and_is_charged(bench: Bench) -> None:
    alone = bench.measure((Tier((TARGET,)),), None)
    [plain, always] = [
        bench.measure(tiers, POLICIES.get(remedy)) for _, tiers, remedy in list(bench.scenarios(0.5))[:2]
    ]
    assert plain.deferred == always.deferred
    assert (plain.wasted_tokens, alone.wasted_tokens) == (0, 0)
    assert (plain.wasted_flops, alone.wasted_flops) == (0, 0)
    assert 0 < always.wasted_tokens < always.target_tokens
    assert always.wasted_flops == pytest.approx(always.flops - plain.flops)
    # A stopped call has read the whole prompt, however few tokens it has written.
    assert always.wasted_flops / alone.flops > always.wasted_tokens / alone.target_tokens
    assert always.mean_s < plain.mean_s
    assert alone.flops > 0
