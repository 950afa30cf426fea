"""What holds for every test: Ray's token guards its ports, as under `cascade serve`; property tests are unhurried."""

import gc
import os
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.models.bleurt_process import BleurtProcess, environment, make

if TYPE_CHECKING:
    from tests.page.browser import Browser

# Ray reads these when it is imported.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")

# Commands would take it as the width of their tables. pytest imports readline, which sets it behind Python's back, so
# that processes that tests start have it, and pytest-xdist's workers.
os.environ.pop("COLUMNS", None)
os.unsetenv("COLUMNS")

# Property tests judge values, not speed: a busy machine must not fail them. Their examples are the same every time, so
# that a change is not refused by one that it has nothing to do with; with CASCADE_TEST_RANDOM set they are new ones.
settings.register_profile(
    "unhurried",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not os.environ.get("CASCADE_TEST_RANDOM"),
)
settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without looking for garbage, and never look among what this has made.

    It is a million objects that all stay; to look at them over and over took 5 of 30 seconds.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests that start Ray first, and skip those of vLLM if it is not installed."""
    items.sort(key=lambda item: not item.get_closest_marker("serve"))  # stable: the rest keeps its order
    for item in items:
        if item.get_closest_marker("vllm") and find_spec("vllm") is None:
            item.add_marker(pytest.mark.skip(reason="needs vLLM: make test-vllm"))


STARTS_RAY = ("tests/serve/", "tests/deployments/local/test_checks.py", "tests/monitoring/test_live.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Let one process run all that starts Ray, one after another, and keep the tests of a file together."""
    return ByFile(config, log)


class ByFile(LoadScopeScheduling):
    """A machine has one Ray cluster at a time; the tests of a file share fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        return "ray" if nodeid.startswith(STARTS_RAY) else nodeid.partition("::")[0]


@pytest.fixture(scope="session")
def one_browser() -> Iterator["Browser"]:
    """Yield a Chromium, which takes seconds to start."""
    from tests.page.browser import MISSING, chromium

    if MISSING is not None:
        pytest.skip(f"{MISSING} is not installed; on Debian: apt-get install chromium chromium-driver")
    with chromium() as browser:
        browser.size(1280, 900)
        yield browser


@pytest.fixture(scope="session")
def bleurt_python() -> Path:
    """Return the python of .venv-bleurt, which is created if missing."""
    return environment()


@pytest.fixture(scope="session")
def bleurt_checkpoint(bleurt_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny model with random weights."""
    return make(bleurt_python, tmp_path_factory.mktemp("bleurt"))


@pytest.fixture(scope="session")
def bleurt(bleurt_python: Path, bleurt_checkpoint: Path) -> Iterator[BleurtProcess]:
    """Yield the signal, computed in its own environment, and its reference."""
    process = BleurtProcess(bleurt_python, bleurt_checkpoint)
    yield process
    assert process.close() == "", "the signal printed"
