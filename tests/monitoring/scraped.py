"""A real server that is asked for every outcome, and a real Prometheus that scrapes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.common.client_key import VARIABLE, key_headers
from serve_app.config.key_file import create_key
from tests.monitoring.expressions import RULES
from tests.monitoring.prometheus import Prometheus, prometheus
from tests.patience import PATIENCE_S
from tests.serve.conftest import REPLAY, Served, serving

PROMPTS = ("Capital of France?", "How many?", "all break", "target fails", "member breaks", "sure")
USER_CONFIG = {
    "thresholds": {"default": [0.95]},
    "calibrations": {"default": {"id": "default-1", "thresholds": [0.95], "deferral_rate": [0.4, 0.3, 0.45]}},
}


def ask(http: httpx.Client, text: str, **options: Any) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": text}]} | options
    http.post("/v1/chat/completions", json=body)


def round_of_requests(served: Served) -> None:
    """Send requests that are accepted, deferred, failed and cancelled; streams, and a single model."""
    client = {"base_url": served.url, "trust_env": False, "headers": key_headers()}
    with httpx.Client(**client, timeout=PATIENCE_S) as http:
        for text in PROMPTS:
            ask(http, text)
        ask(http, "How many?", stream=True)
        ask(http, "How many?", model="target")
    with httpx.Client(**client, timeout=0.5) as hasty, pytest.raises(httpx.ReadTimeout):
        ask(hasty, "slow start")


@contextmanager
def scraped_server(folder: Path) -> Iterator[tuple[Served, Prometheus]]:
    """Run both: Ray reports every two seconds, Prometheus scrapes every second."""
    values = deepcopy(REPLAY)
    values["applications"][0]["args"]["scorer"] = {"inline_characters": 0}
    values["applications"][0]["deployments"] = [{"name": "Router", "user_config": USER_CONFIG}]
    values["applications"][0]["args"]["router"] = {"access": {"keys_file": str(folder / "keys.yaml")}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, create_key(folder / "keys.yaml", "monitored"))
        patch.setenv("RAY_metrics_report_interval_ms", "2000")
        with serving(values, folder) as served:
            import ray

            [node] = ray.nodes()
            target = f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
            with prometheus(target, RULES, folder) as monitor:
                yield served, monitor
