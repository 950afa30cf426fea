"""A real Ray Serve cluster with one application on it, deployed from a config file as a user would."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from loadtests.ports import free_port
from serve_app.engines import EngineCounters
from tests.patience import PATIENCE_S


@dataclass
class Served:
    """A running application: its config file, its URL, and its deployments' own methods."""

    path: Path
    url: str
    address: str
    dashboard_url: str | None

    async def counters(self, model: str) -> EngineCounters:
        """Return the counters of the model's engine itself."""
        from ray import serve

        counters: EngineCounters = await serve.get_deployment_handle(model, "cascade").counters.remote()
        return counters

    async def active(self, *models: str) -> list[int]:
        """Return how many requests hold a slot of each model now, by the engines' own counters."""
        return [(await self.counters(model)).active for model in models]

    def rewrite(self, change: Any) -> None:
        """Change the config file in place."""
        values = yaml.safe_load(self.path.read_text())
        change(values)
        self.path.write_text(yaml.safe_dump(values))

    def deploy(self) -> None:
        """Send the file as it is now to Ray Serve, as `serve deploy` does, which takes seconds to start."""
        from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

        assert self.dashboard_url is not None
        ServeSubmissionClient(self.dashboard_url).deploy_applications(yaml.safe_load(self.path.read_text()))

    def run_serve_deploy(self) -> None:
        """Run `serve deploy` itself on the file as it is now, as a user changes a running application."""
        command = [sys.executable, "-m", "ray.serve.scripts", "deploy", "--address", self.dashboard_url, str(self.path)]
        subprocess.run(command, check=True, capture_output=True)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Deploy the router's `user_config` in place of the one before, which restarts nothing."""

        def write(values: dict[str, Any]) -> None:
            values["applications"][0]["deployments"] = [{"name": "Router", "user_config": user_config}]

        self.rewrite(write)
        self.deploy()


async def until(look: Callable[[], Awaitable[Any]], expected: Any) -> None:
    """Wait until `look` sees what is wanted."""
    async with asyncio.timeout(PATIENCE_S):
        while await look() != expected:  # noqa: ASYNC110 - engine counters raise no event
            await asyncio.sleep(0.1)


@contextmanager
def serving(values: dict[str, Any], folder: Path, port: int | None = None) -> Iterator[Served]:
    """Serve the application of these config values, on a port (free if not named) and a Ray cluster of its own."""
    from serve_app.config.serve_file import load
    from serve_app.deployments.local.cluster import local_cluster
    from serve_app.deployments.local.deploy import submit, wait_until_running

    values = values | {"http_options": {"host": "127.0.0.1", "port": port or free_port()}}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    file = load(path)
    with local_cluster() as cluster:
        submit(path, cluster)
        wait_until_running(file, cluster, lambda _: None)
        yield Served(path, file.url, cluster.address, cluster.dashboard_url)


MEMBER_ANSWERS = [
    {"contains": "France", "text": "The capital is Paris."},
    {"contains": "sure", "text": "Quite sure.", "logprobs": [["Quite ", -0.5], ["sure.", -0.1]]},
    {"contains": "slow start", "text": "never", "first_token_s": 120},
    {"contains": "slow", "text": "word " * 2000, "token_s": 0.05},
    {"contains": "one waits", "text": "never", "first_token_s": 120},
    {"contains": "member breaks", "error": "The member broke."},
    {"contains": "all break", "error": "The member broke."},
    {"contains": "weather", "tool_calls": [{"name": "get_weather", "arguments": '{"city": "Paris"}'}]},
]
REPLAY: dict[str, Any] = {
    "applications": [
        {
            "name": "cascade",
            "route_prefix": "/",
            "import_path": "serve_app.app:build_app",
            "args": {
                "models": {
                    "first": {
                        "engine": "replay",
                        "parameters": 1e9,
                        "input_usd": 0,
                        "answers": [{"contains": "one waits", "error": "The member broke."}, *MEMBER_ANSWERS],
                        "default": "The answer is one.",
                    },
                    "second": {
                        "engine": "replay",
                        "parameters": 2e9,
                        "input_usd": 0,
                        "answers": [a for a in MEMBER_ANSWERS if a["contains"] != "member breaks"],
                        "default": "The answer is two.",
                    },
                    "target": {
                        "engine": "replay",
                        "parameters": 30e9,
                        "output_usd": 2.0,
                        "answers": [
                            {"contains": "all break", "error": "The target broke."},
                            {"contains": "target fails", "error": "The target broke."},
                            {"contains": "long target", "text": "word " * 2000, "token_s": 0.05},
                        ],
                        "default": "From the target.",
                    },
                    "narrow": {
                        "engine": "replay",
                        "slots": 1,
                        "answers": [
                            {"contains": "waits", "text": "never", "first_token_s": 120},
                            {"contains": "breaks", "error": "It broke."},
                        ],
                        "default": "From the narrow one.",
                    },
                },
                "signals": {
                    "mixed": {"kind": "mix", "parts": [{"signal": "rouge1", "weight": 3}, {"signal": "exact"}]},
                    "avg": {
                        "kind": "chow_avg",
                        "zscores": {"first": {"mean": -0.5, "std": 0.1}, "second": {"mean": -0.4, "std": 0.2}},
                    },
                    "both": {"kind": "blend", "agreement": "mixed", "confidence": "avg"},
                },
                "cascades": {
                    "confident": {
                        "tiers": [
                            {"models": ["first", "second"], "signal": "avg", "threshold": 1.0},
                            {"models": ["target"]},
                        ]
                    },
                    "blended": {
                        "tiers": [
                            {"models": ["first", "second"], "signal": "both", "threshold": 2.0},
                            {"models": ["target"]},
                        ]
                    },
                    "default": {
                        "tiers": [
                            {"models": ["first", "second"], "signal": "rougeL", "threshold": 0.9},
                            {"models": ["target"]},
                        ]
                    },
                    "forgiving": {
                        "tiers": [
                            {"models": ["first", "second"], "signal": "exact", "threshold": 0.5},
                            {"models": ["target"]},
                        ],
                        "on_target_failure": "best_member",
                    },
                },
                "router": {"keepalive_s": 0.5, "cors": {"origins": ["https://app.example"]}},
            },
        }
    ],
}
