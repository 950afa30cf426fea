"""What vLLM's engine takes of a machine, and gives back."""

from pathlib import Path

import pytest

from serve_app.engines.vllm import engine as vllm
from serve_app.errors import EngineError
from tests.engines.asking import until
from tests.engines.conftest import load_vllm

pytestmark = [pytest.mark.vllm, pytest.mark.asyncio(loop_scope="session")]


def free_cpus() -> float:
    import ray

    return float(ray.available_resources().get("CPU", 0))


async def test_closing_gives_the_workers_place_back(smollm2_folder: Path) -> None:
    free = free_cpus()
    engine = await load_vllm(smollm2_folder)
    await until(lambda: free_cpus() < free)
    await engine.close()
    await until(lambda: free_cpus() == free)


async def test_workers_that_nothing_has_room_for(smollm2_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_cpus()
    monkeypatch.setattr(vllm, "PLACEMENT_S", 1)
    with pytest.raises(EngineError, match=r"had no room in 1 s: all of its nodes together have \{'CPU': 8\.0\}"):
        await load_vllm(smollm2_folder, tensor_parallel_size=9)
    await until(lambda: free_cpus() == free)
