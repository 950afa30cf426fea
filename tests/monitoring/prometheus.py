"""A real Prometheus on a folder of its own, which scrapes one address every second."""

import math
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from loadtests.ports import free_port
from tests.patience import PATIENCE_S


class Prometheus:
    """Its HTTP API."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, path: str, **parameters: str) -> Any:
        body = self._http.get(f"/api/v1/{path}", params=parameters).json()
        assert body["status"] == "success", body
        return body["data"]

    def values(self, expression: str) -> dict[frozenset[tuple[str, str]], float]:
        """Return the numbers by labels, once there are any: a late scrape hides all series until the next."""
        until = time.monotonic() + PATIENCE_S
        while not (samples := self.values_now(expression)) and time.monotonic() < until:
            time.sleep(0.5)
        return samples

    def values_now(self, expression: str) -> dict[frozenset[tuple[str, str]], float]:
        """Return the finite numbers that the expression gives now, by labels."""
        samples = {
            frozenset(sample["metric"].items()): float(sample["value"][1])
            for sample in self.get("query", query=expression)["result"]
        }
        return {labels: value for labels, value in samples.items() if math.isfinite(value)}


@contextmanager
def prometheus(target: str, rules: dict[str, Any], folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus, which scrapes the target; its log is `prometheus.log` in the folder."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "ray", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", "--config.file=prometheus.yaml", "--storage.tsdb.path=data"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], cwd=folder, stderr=log)
    # It needs a moment until it listens.
    patient = httpx.HTTPTransport(retries=8)
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=PATIENCE_S, transport=patient, trust_env=False) as http:
            yield Prometheus(http)
    finally:
        process.terminate()
        process.wait()
