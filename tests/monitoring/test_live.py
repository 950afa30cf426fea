"""Every expression of the dashboard and the rules, asked of a real Prometheus that scrapes a running server."""

import shutil
import time
from collections.abc import Iterator

import pytest

from tests.monitoring.expressions import ALERTS, RECORDED, left_side, panel_expressions
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.scraped import round_of_requests, scraped_server

pytestmark = [
    pytest.mark.serve,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Prometheus: apt-get install prometheus"),
]

NEVER_HAPPENS = ("cache_requests", "prechecks", "shed_requests", "shedding", "rejected_requests")
"""Metrics of what the asked application does not have: a cache, skipping, shedding, a full model."""
EXPRESSIONS = dict(panel_expressions()) | {rule["record"]: rule["record"] for rule in RECORDED}
EXPRESSIONS |= {alert["alert"]: left_side(alert) for alert in ALERTS}
EXPRESSIONS = {
    name: expression
    for name, expression in EXPRESSIONS.items()
    if not any(f"ray_cascade_{metric}" in expression for metric in NEVER_HAPPENS)
}


@pytest.fixture(scope="module")
def scraping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Yield Prometheus after rounds of requests until every expression has a value, at most twenty."""
    with scraped_server(tmp_path_factory.mktemp("monitoring")) as (served, monitor):
        for _ in range(20):
            round_of_requests(served)
            if all(map(monitor.values_now, EXPRESSIONS.values())):
                break
            time.sleep(2)
        yield monitor


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_it_returns_numbers(name: str, scraping: Prometheus) -> None:
    assert scraping.values(EXPRESSIONS[name]), EXPRESSIONS[name]


def test_rules_evaluate(scraping: Prometheus) -> None:
    rules = [rule for group in scraping.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    assert len(rules) == len(RECORDED) + len(ALERTS)


def test_the_numbers_are_those_of_the_requests(scraping: Prometheus) -> None:
    """Rates are estimates; shares of equal rounds are nearly exact, and gauges are."""

    def default(series: str) -> float:
        return scraping.values(series)[frozenset({"application": "cascade", "cascade": "default"}.items())]

    def recorded(name: str) -> float:
        labels = {"__name__": name, "application": "cascade", "cascade": "default"}
        return scraping.values(name)[frozenset(labels.items())]

    assert default('max by (application, cascade) (ray_cascade_threshold{cascade="default"})') == 0.95
    assert recorded("cascade:calibrated_deferral_ratio:high") == 0.45
    # Of seven requests of a round to this cascade two fail, both at the target.
    assert recorded("cascade:error_ratio:rate5m") == pytest.approx(2 / 7, abs=0.12)
    assert recorded("cascade:scorer_failure_ratio:rate5m") == 0
    assert scraping.values("cascade:routers:count") == {frozenset({("__name__", "cascade:routers:count")}): 1}
