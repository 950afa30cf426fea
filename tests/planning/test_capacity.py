"""Replicas for a load, worked by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from serve_app.cli.commands import app
from serve_app.config import AppConfig
from serve_app.errors import ConfigError
from serve_app.planning.capacity import Capacity, assume, capacity
from serve_app.planning.simulation import CpuCosts, TierCalls
from serve_app.planning.speeds import speeds_of

COSTS = CpuCosts(proxy_s=0.004, router_s=0.002, router_call_s=0.002, scorer_s=0.001)
TIERS = [{"models": ["a", "b"], "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]


def model(agreement: float | None = 0.75, **batching: float) -> dict[str, Any]:
    synthetic_answers = (
        {"default": "x"} if agreement is None else {"synthetic": {"agreement": agreement, "variant": "x"}}
    )
    return {"engine": "replay", "slots": 10, "batching": batching, **synthetic_answers}


def args(agreement: float | None = 0.75, **values: Any) -> AppConfig:
    """Return a config with 10 slots. If full, a step takes 20, 20 and 40 ms, as an answer of 10 tokens of its GPU."""
    models = {
        "a": model(agreement, step_s=0.01, sequence_s=0.001),
        "b": model(agreement, step_s=0.02),
        "t": model(agreement, step_s=0.02, sequence_s=0.002),
    }
    models = {**models, **values.pop("models", {})}
    models["t"] |= {"deployment": {"num_replicas": 2}}
    return AppConfig.model_validate({"models": models, "cascades": {"default": {"tiers": TIERS}}} | values)


def plan(rps: float, config: AppConfig | None = None) -> Capacity:
    config = config or args()
    return capacity(config, config.deployments(), assume(config, "default", rps, None, 1, 10), costs=COSTS)


def test_worked_by_hand() -> None:
    """A quarter is deferred. A replica is to be 70% busy.

    a and b: 10 slots in 10 steps of 20 ms: 50 a second, 35 of them planned; t: 25, of which 17.5 are planned.
    Router: 2 ms and 2 for each of 3 calls, 4 for the deferred: 8 + 2 / 4 = 8.5 ms, so 117.6 and 82.4 a second.
    """
    estimate = plan(1000)
    carries = {"a": 50, "b": 50, "t": 25, "Scorer": 1000, "Router": 1 / 0.0085, "HTTP proxy": 250}
    assert {s.name: s.carries_rps for s in estimate.stations} == pytest.approx(carries)
    # 1000 / 35 = 28.6, 250 / 17.5 = 14.3, 1000 / 700 = 1.4, 1000 / 82.4 = 12.1, 1000 / 175 = 5.7
    replicas = {"a": 29, "b": 29, "t": 15, "Scorer": 2, "Router": 13, "HTTP proxy": 6}
    assert {s.name: s.replicas for s in estimate.stations} == replicas
    assert [(s.name, round(s.breaks_rps, 1)) for s in estimate.by_breaking()] == [
        ("a", 50),
        ("b", 50),
        ("Router", 117.6),
        ("t", 200),
        ("HTTP proxy", 250),
        ("Scorer", 1000),
    ]
    assert estimate.handles == 13 * (29 + 29 + 15 + 2)


def test_a_carried_answer_is_no_work_but_is_compared() -> None:
    """a for all, b for a quarter, t for a sixteenth; nobody asks in the third tier, which compares a and b again."""
    first = {"models": ["a"], "signal": "chow_avg", "threshold": -1.0}
    tiers = [first, TIERS[0], TIERS[0] | {"signal": "rougeL"}, {"models": ["t"]}]
    estimate = plan(1000, args(cascades={"default": {"tiers": tiers}}))
    assert {station.name: station.visits for station in estimate.stations} == {
        "a": 1,
        "b": 0.25,
        "t": 0.25**3,
        "Scorer": 0.25 + 0.25**2,
        "Router": 1,
        "HTTP proxy": 1,
    }
    # Calls: a; with b and the scorer 2 more; the scorer alone; t.
    router_s = 0.002 + 0.002 * (1 + 2 * 0.25 + 0.25**2 + 0.25**3)
    assert {s.name: s.carries_rps for s in estimate.stations}["Router"] == pytest.approx(1 / router_s)
    assert estimate.fleet.tiers == (
        TierCalls(("a",)),
        TierCalls(("b",), scored=True),
        TierCalls((), scored=True),
        TierCalls(("t",)),
    )


def test_adapters_are_work_for_their_base() -> None:
    """Its 50 a second are shared by both members and by the target, to which a quarter comes: 50 / 2.25 = 22.2."""
    lora = {"engine": "vllm_lora", "base": "a", "weights": "hf://org/adapter"}
    models = {"a": {"engine": "vllm", "weights": "hf://org/base"}, "b": lora, "t": lora}
    config = AppConfig.model_validate({"models": models, "cascades": {"default": {"tiers": TIERS}}})
    speeds = speeds_of(config, ["a={step_s: 0.01, sequence_s: 0.001, slots: 10}"])
    assumed = assume(config, "default", 1000, 0.25, 1, 10)
    estimate = capacity(config, config.deployments(), assumed, speeds, costs=COSTS)
    base = estimate.stations[0]
    assert (base.name, base.visits, base.carries_rps, base.replicas) == ("a", 2.25, pytest.approx(50), 65)
    assert base.breaks_rps == pytest.approx(22.2, abs=0.1)
    assert [s.name for s in estimate.stations] == ["a", "Scorer", "Router", "HTTP proxy"]
    assert estimate.fleet.tiers == (TierCalls(("a", "a"), scored=True), TierCalls(("a",)))


def test_latencies_of_a_fleet_without_load() -> None:
    """a: 10 steps of 11 ms, b: of 20; t: of 22. Scorer 1, proxy 4, router 8 and 10 ms."""
    assert plan(1e-9).latencies_s == pytest.approx((0.2 + 0.001 + 0.004 + 0.008, 0.42 + 0.001 + 0.004 + 0.010))
    assert {s.replicas for s in plan(1e-9).stations} == {1}


def test_a_hundred_times_the_load_needs_a_hundred_times_the_replicas() -> None:
    small, large = ({s.name: s.replicas for s in plan(rps).stations} for rps in (100_000, 10_000_000))
    assert all(large[name] == pytest.approx(100 * small[name], rel=0.02) for name in small)


def test_a_replica_holds_no_more_requests_than_it_may() -> None:
    """b answers after 0.2 s and more, so at 1000 a second routers hold over 200."""
    router = {"deployment": {"max_ongoing_requests": 2}}
    (limited,) = (s for s in plan(1000, args(router=router)).stations if s.name == "Router")
    assert limited.replicas > 100
    # A model that may hold 5 requests never has more in its batch: 5 in 10 steps of 15 ms.
    config = args()
    options = config.deployments()
    options["a"] = options["a"].model_copy(update={"max_ongoing_requests": 5})
    estimate = capacity(config, options, assume(config, "default", 1, 0.5, 1, 10), costs=COSTS)
    assert estimate.stations[0].carries_rps == pytest.approx(1 / 0.03)


def test_what_is_not_known_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"^--cascade: there is no cascade 'x'\. Available: default"):
        assume(args(), "x", 1)
    with pytest.raises(ConfigError, match="--deferral-rate: the config does not say how much is deferred"):
        assume(args(None), "default", 1)
    assert assume(args(None), "default", 1, 0.1).deferral_rates == (0.1,)
    silent = args(models={"t": {"engine": "replay", "default": "x"}})
    with pytest.raises(ConfigError, match="--speed: the config does not say how fast 't' is"):
        plan(1, silent)
    both = args(None, models={name: {"engine": "replay", "default": "x"} for name in ("a", "t")})
    with pytest.raises(
        ConfigError, match=r"how fast 'a' and 't' are. Give their speeds, such as --speed 'a=.* --speed 't="
    ):
        capacity(both, both.deployments(), assume(both, "default", 1, 0.5), costs=COSTS)
    speeds = speeds_of(silent, ["t={step_s: 0.02, sequence_s: 0.002, slots: 10}"])
    estimate = capacity(silent, silent.deployments(), assume(silent, "default", 1000, None, 1, 10), speeds, COSTS)
    assert estimate.stations == plan(1000).stations


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("t", "."),
        ("t=", "."),
        ("t=[1]", "."),
        ("t={step_s: [", "."),
        ("t={}", ": step_s: required, but missing."),
        ("t={step_s: quick}", ": step_s: must be a valid number, got 'quick'."),
        ("t={step_s: .inf}", ": step_s: must be a finite number, got inf."),
        ("t={step_s: yes}", ": step_s: must be a number, got true."),
        ("t={step_s: 1, slots: 0}", ": slots: must be greater than 0, got 0."),
        (
            "t={step_s: 1, slots: 1.5}",
            ": slots: must be a valid integer, got a number with a fractional part, got 1.5.",
        ),
        (
            "t={step_s: 1, slot: 2}",
            ": slot: unknown key. Did you mean 'slots'? Available: prompt_token_s, sequence_s, slots, step_s.",
        ),
    ],
)
def test_speeds_that_make_no_sense(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        speeds_of(args(), [text])
    assert str(caught.value) == f"--speed {text!r}: needs NAME={{step_s: seconds, ...}}{problem}"


def test_the_speed_of_a_model_that_is_not_there() -> None:
    lora = {"engine": "vllm_lora", "base": "target", "weights": "hf://org/adapter"}
    models = {"target": {"engine": "vllm", "weights": "hf://org/base"}, "tuned": lora}
    with pytest.raises(ConfigError) as caught:
        speeds_of(args(models=models), ["targt={step_s: 1}"])
    hint = "Did you mean 'target'? Available: a, b, t, target."
    assert str(caught.value) == f"--speed: there is no deployed model 'targt'. {hint}"
    with pytest.raises(ConfigError, match=r"^--speed: there is no deployed model 'tuned'"):
        speeds_of(args(models=models), ["tuned={step_s: 1}"])


@pytest.mark.parametrize("rps", [float("inf"), float("nan"), 0.0, -1.0])
def test_a_rate_is_a_number(rps: float) -> None:
    with pytest.raises(ConfigError, match=rf"^--rps: must be a finite number of requests above 0, got {rps:g}\.$"):
        assume(args(), "default", rps)


def test_no_fleet_is_large_enough() -> None:
    with pytest.raises(ConfigError, match=r"^--rps: that load takes more than 1e\+12 replicas of a deployment\.$"):
        plan(1e300)


@pytest.fixture
def config_file(tmp_path: Path) -> str:
    values = args().model_dump(mode="json", exclude_unset=True)
    entry = {"name": "cascade", "import_path": "serve_app.app:build_app", "args": values}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"applications": [entry]}))
    return str(path)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["plan", *arguments])


def test_the_command(config_file: str) -> None:
    result = run(config_file, "--rps", "100", "--prompt-tokens", "1", "--completion-tokens", "10")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[:6] == [
        "default: 100 requests a second of 1 + 10 tokens, 25% deferred, replicas 70% busy at the most.",
        "",
        "deployment requests/s one carries replicas busy configured which carry",
        # 100 / 35 = 2.9; 25 / 17.5 = 1.4
        "a 100 50 3 67% 1 50",
        "b 100 50 3 67% 1 50",
        "t 25 25 2 50% 2 200",
    ]
    text = result.stdout
    assert "As configured, a breaks first, above 50 requests a second; then b, above 50." in text
    assert "Devices of the models: 8." in text


def test_the_command_for_machines(config_file: str) -> None:
    result = run(config_file, "--rps", "5", "--deferral-rate", "1", "--completion-tokens", "10", "--json")
    assert result.exit_code == 0, result.output
    body = json.loads(result.stdout)
    assert body["assumed"]["deferral_rates"] == [1.0]
    assert [station["rps"] for station in body["stations"]] == [5.0] * 6
    assert body["devices"] == 3
    # Everything is deferred, so nothing ends with the first tier.
    first, deferred = body["simulated"]["mean_s"]
    assert first is None
    assert deferred == pytest.approx(body["mean_latency_s"][1], rel=0.05)


def test_it_is_one_or_the_other(config_file: str) -> None:
    result = run(config_file, "--rps", "5", "--node", "{CPU: 2}")
    assert result.exit_code == 2
    assert "--rps: sizes the fleet for a load" in result.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--cascade", "default"),
        ("--deferral-rate", "0.2"),
        ("--prompt-tokens", "256"),
        ("--completion-tokens", "10"),
        ("--speed", "t={step_s: 1}"),
    ],
)
def test_what_needs_a_rate(config_file: str, option: str, value: str) -> None:
    result = run(config_file, option, value)
    assert (result.exit_code, result.stderr) == (2, f"cascade: {option}: has no effect without --rps.\n")


def test_without_any_option(config_file: str) -> None:
    result = run(config_file)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("signal", "scored", "calls", "encoders", "isolated"),
    [
        ("exact", 1.0, 3, (), ()),
        ("sbert", 1.0, 3, ("sbert",), ()),
        ("bleurt", 0.0, 3, (), ("bleurt",)),
        ("both", 1.0, 4, ("sbert",), ("bleurt",)),
    ],
)
def test_signals_with_models_are_not_counted_as_lexical_ones(
    signal: str, scored: float, calls: int, encoders: tuple[str, ...], isolated: tuple[str, ...]
) -> None:
    signals = {"both": {"kind": "mix", "parts": [{"signal": "bleurt"}, {"signal": "sbert"}]}}
    tiers = [TIERS[0] | {"signal": signal}, TIERS[1]]
    estimate = plan(1e-9, args(cascades={"default": {"tiers": tiers}}, signals=signals))
    [scorer] = [station for station in estimate.stations if station.name == "Scorer"]
    assert (scorer.visits, estimate.encoders, estimate.isolated) == (scored, encoders, isolated)
    # 200 ms of the tier's models, 4 ms of the proxy, 2 of the router and 2 for each of its calls.
    assert estimate.latencies_s[0] == pytest.approx(0.2 + scored * 0.001 + 0.004 + 0.002 + calls * 0.002)


def test_a_rate_that_is_none(config_file: str) -> None:
    result = run(config_file, "--rps", "1e300")
    assert result.exit_code == 2
    assert result.stderr.startswith("cascade: --rps: ")


@pytest.mark.parametrize(
    ("speculate", "wasted_calls", "wasted_visits", "saved_s"),
    [
        ("off", 0, 0, 0),
        ("always", 0.75, 0.75 * 0.201 / 0.22, 0.201),
        ({"after_s": 0.1}, 0.75, 0.75 * 0.101 / 0.22, 0.101),
        ({"after_s": 0.3}, 0, 0, 0),
        ({"percentile": 90}, 0.075, 0.075, 0),
        ({"when": "adaptive", "second_usd": 130}, 0, 0, 0),
        ({"when": "adaptive", "second_usd": 140}, 0.75, 0.75 * 0.201 / 0.22, 0.201),
    ],
)
def test_what_is_asked_ahead_is_load_and_saves_time(
    speculate: Any, wasted_calls: float, wasted_visits: float, saved_s: float
) -> None:
    """The tier takes 201 ms, an answer of t 220, a quarter is deferred: three quarters are asked ahead in vain.

    In 201 ms t writes 9 tokens of a dollar each: .25 x .201 x 140 exceeds .75 x 9, .25 x .201 x 130 does not.
    """
    models = args().model_dump(mode="json", exclude_unset=True)["models"]
    models["t"] |= {"output_usd": 1e6}
    cascades = {"default": {"tiers": TIERS, "speculate": speculate}}
    estimate = plan(1e-9, AppConfig.model_validate({"models": models, "cascades": cascades}))
    [target] = [station for station in estimate.stations if station.name == "t"]
    assert target.visits == pytest.approx(0.25 + wasted_visits)
    assert estimate.latencies_s[0] == pytest.approx(0.201 + 0.004 + 0.008)
    assert estimate.latencies_s[1] == pytest.approx(0.421 - saved_s + 0.004 + 0.010)
    [router] = [station for station in estimate.stations if station.name == "Router"]
    assert 1 / router.carries_rps == pytest.approx(0.0085 + 0.002 * wasted_calls)


def test_what_is_asked_ahead_takes_more_replicas_of_the_target() -> None:
    config = args(cascades={"default": {"tiers": TIERS, "speculate": "always"}})
    needed, more = (
        {station.name: station.replicas for station in plan(1000, values).stations} for values in (args(), config)
    )
    assert more["t"] > 2.5 * needed["t"]
    assert [more[name] for name in ("a", "b", "Scorer")] == [needed[name] for name in ("a", "b", "Scorer")]


def test_a_calibrations_deferral_rate_is_assumed_of_its_cascade(tmp_path: Path) -> None:
    calibration = {"id": "c1", "thresholds": [0.5], "deferral_rate": [0.4, 0.3, 0.5]}
    router = {"name": "Router", "user_config": {"calibrations": {"default": calibration}}}
    values = args(agreement=None).model_dump(mode="json", exclude_unset=True)
    application = {"import_path": "serve_app.app:build_app", "args": values, "deployments": [router]}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"applications": [application]}))
    for options, rate in (([], 0.4), (["--deferral-rate", "0.6"], 0.6)):
        result = CliRunner().invoke(app, ["plan", str(path), "--rps", "1", "--json", *options])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["assumed"]["deferral_rates"] == [rate]
