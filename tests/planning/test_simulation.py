"""Discrete events against queues whose means are known, and against times worked by hand."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from serve_app.engines.replay.gpu_model import BatchSpeed
from serve_app.planning.simulation import Clock, CpuCosts, Fleet, Load, ModelFleet, Servers, TierCalls, simulate

FREE = CpuCosts(0, 0, 0, 0)


def mean_time_s(service_s: Callable[[random.Random], float], rate: float, servers: int, jobs: int) -> float:
    """Return the mean time of jobs that come at random, waiting and service."""
    clock, chance, durations = Clock(), random.Random(7), []
    station = Servers(clock, servers)
    due_s = 0.0
    for _ in range(jobs):
        due_s += chance.expovariate(rate)

        def arrive(due_s: float = due_s) -> None:
            station.submit(service_s(chance), lambda: durations.append(clock.now_s - due_s))

        clock.at(due_s, arrive)
    clock.run()
    assert len(durations) == jobs
    assert station.busy_s == pytest.approx(sum_of_service(service_s, jobs), rel=0.02)
    return sum(durations) / jobs


def sum_of_service(service_s: Callable[[random.Random], float], jobs: int) -> float:
    chance = random.Random(1)
    return sum(service_s(chance) for _ in range(jobs))


@pytest.mark.parametrize(
    ("service_s", "rate", "servers", "expected"),
    [
        # M/M/1: 1 / (mu - lambda).
        (lambda chance: chance.expovariate(1), 0.5, 1, 2.0),
        (lambda chance: chance.expovariate(1), 0.8, 1, 5.0),
        # M/D/1: s + rho s / (2 (1 - rho)).
        (lambda _: 1.0, 0.5, 1, 1.5),
        (lambda _: 1.0, 0.8, 1, 3.0),
        # M/M/2: s / (1 - rho^2).
        (lambda chance: chance.expovariate(1), 1.6, 2, 1 / (1 - 0.64)),
    ],
)
def test_known_queues(service_s: Callable[[random.Random], float], rate: float, servers: int, expected: float) -> None:
    assert mean_time_s(service_s, rate, servers, 60_000) == pytest.approx(expected, rel=0.04)


def fleet(deferral_rate: float, costs: CpuCosts = FREE, replicas: int = 1) -> Fleet:
    quick, slow = BatchSpeed(step_s=0.25), BatchSpeed(step_s=1.0)
    return Fleet(
        models={
            "a": ModelFleet(quick, 64, replicas),
            "b": ModelFleet(BatchSpeed(step_s=0.5), 64, replicas),
            "t": ModelFleet(slow, 64, replicas),
        },
        tiers=(TierCalls(("a", "b"), scored=True), TierCalls(("t",))),
        deferral_rates=(deferral_rate,),
        costs=costs,
    )


def test_a_tier_of_carried_answers_takes_the_time_of_the_scorer() -> None:
    """a and b in 2 s, then their answers are only compared again, then t: 4 s."""
    costs = CpuCosts(proxy_s=0, router_s=0, router_call_s=0, scorer_s=0.25)
    tiers = (TierCalls(("a", "b"), scored=True), TierCalls((), scored=True), TierCalls(("t",)))
    for rates, seconds in (((1, 0), 2.5), ((1, 1), 6.5)):
        ladder = replace(fleet(0, costs), tiers=tiers, deferral_rates=rates)
        assert [time_s for _, time_s in simulate(ladder, Load(0, 0, 4, requests=2, concurrent=1)).latencies_s] == [
            seconds
        ] * 2


def test_one_request_at_a_time_worked_by_hand() -> None:
    """Proxy 0.5, router 1 + 0.5 for each of 3 calls = 2.5, members 4 tokens in 2 s (the slower), scorer 0.25."""
    costs = CpuCosts(proxy_s=0.5, router_s=1.0, router_call_s=0.5, scorer_s=0.25)
    load = Load(0, 0, 4, requests=3, concurrent=1)
    accepted = simulate(fleet(0, costs), load)
    assert accepted.latencies_s == [(1, 0.5 + 2.5 + 2 + 0.25)] * 3
    # The target: 4 s, and one more call.
    deferred = simulate(fleet(1, costs), load)
    assert deferred.latencies_s == [(2, 0.5 + 3.0 + 2 + 0.25 + 4)] * 3
    assert deferred.busy == {
        "proxy": 0.5 / 9.75,
        "router": 3.0 / 9.75,
        "scorer": 0.25 / 9.75,
        "a": 1 / 9.75,
        "b": 2 / 9.75,
        "t": 4 / 9.75,
    }
    assert deferred.rps == 3 / (3 * 9.75)
    assert (deferred.percentile_s(50), deferred.percentile_s(99), deferred.mean_s(2)) == (9.75, 9.75, 9.75)


def test_a_seed_gives_the_same_run_and_the_share_deferred() -> None:
    load = Load(2, 0, 2, requests=4000)
    first, again, other_seed = (simulate(fleet(0.3), load, seed) for seed in (1, 1, 2))
    assert first.latencies_s == again.latencies_s != other_seed.latencies_s
    assert sum(tiers == 2 for tiers, _ in first.latencies_s) / 4000 == pytest.approx(0.3, abs=0.03)


GPU = BatchSpeed(step_s=0.01, sequence_s=0.001, prompt_token_s=0.0002)


@pytest.mark.parametrize("rps", [0.5, 3])
def test_a_gpus_mean_latency_is_near_the_formula(rps: float) -> None:
    simulation = simulate(
        Fleet({"t": ModelFleet(GPU, 256)}, (TierCalls(("t",)),), (), FREE), Load(rps, 100, 100, requests=4000)
    )
    assert simulation.mean_s() == pytest.approx(GPU.latency_s(rps, 100, 100), rel=0.03)


def test_choosing_the_emptier_of_two_replicas_is_better_than_the_formula_but_no_wonder() -> None:
    simulation = simulate(
        Fleet({"t": ModelFleet(GPU, 256, 4)}, (TierCalls(("t",)),), (), FREE), Load(12, 100, 100, requests=4000)
    )
    assert GPU.latency_s(0, 100, 100) < simulation.mean_s() < GPU.latency_s(3, 100, 100)


def test_clients_that_wait_find_the_most_a_gpu_carries() -> None:
    alone = Fleet({"t": ModelFleet(GPU, 8)}, (TierCalls(("t",)),), (), FREE)
    simulation = simulate(alone, Load(0, 50, 20, requests=2000, concurrent=32))
    assert simulation.rps == pytest.approx(GPU.peak_rps(8, 50, 20), rel=0.02)
