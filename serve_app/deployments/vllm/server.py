"""One vLLM model: Ray's `LLMServer`, which places and starts the workers, speaking our contract to the router.

Importing `ray.serve.llm` costs some 380 MB: nothing imports this module but the graph's builder, and replicas.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.serve import Application
from ray.serve.llm import LLMConfig, build_llm_deployment
from ray.serve.llm.deployment import LLMServer
from ray.util.placement_group import get_current_placement_group, placement_group_table
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from serve_app.config import VllmLoraModel, VllmModel
from serve_app.deployments.model_server import PromptServer
from serve_app.deployments.observing.logs import drop_unwritable_lines
from serve_app.deployments.vllm.options import llm_arguments
from serve_app.engines import Engine
from serve_app.engines.running.answer import warm_up
from serve_app.engines.vllm.engine import VllmEngine, collecting
from serve_app.errors import EngineError
from serve_app.weights import fetch


class VllmServer(PromptServer, LLMServer):
    """Fetches the weights, the adapters' too, on every node of its placement group, then starts vLLM with them.

    `check_health` is Ray's own.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, llm_config: LLMConfig, model: VllmModel, adapters: Mapping[str, VllmLoraModel]
    ) -> None:
        drop_unwritable_lines()
        name = llm_config.model_id
        folder = await weights_on_every_node(model.weights, model.sha256)
        model.check_folder(folder)
        folders = {id_: await weights_on_every_node(lora.weights, lora.sha256) for id_, lora in adapters.items()}
        with collecting() as tally:
            await LLMServer.__init__(self, LLMConfig(**llm_arguments(name, model, str(folder), folders)))
        self._answering = VllmEngine(model, name, self, tally)
        self._adapters = {id_: self._answering.adapter(id_) for id_ in adapters}
        for engine in (self._answering, *self._adapters.values()):
            await warm_up(engine)

    @property
    def _engine(self) -> Engine:
        return self._answering

    def _engine_of(self, adapter: str | None) -> Engine:
        return self._answering if adapter is None else self._adapters[adapter]


def build_vllm_deployment(
    name: str, model: VllmModel, adapters: Mapping[str, VllmLoraModel], constructor_tries: int
) -> Application:
    """Build the deployment of one model under its own name, by Ray's builder from the `LLMConfig`."""
    # Only a name until the replica has fetched the folder.
    source = model.weights if isinstance(model.weights, str) else model.weights[0]
    return build_llm_deployment(
        LLMConfig(**llm_arguments(name, model, source)),
        deployment_cls=VllmServer,
        bind_kwargs={"model": model, "adapters": adapters},
        override_serve_options={"name": name, "max_constructor_retry_count": constructor_tries},
    )


async def weights_on_every_node(weights: str | tuple[str, ...], sha256: str | None) -> Path:
    """Fetch the weights on every node where a worker may run, and return their folder.

    Raises `EngineError` if the folder is not the same path on all nodes, or if the weights are one file.
    """
    here = ray.get_runtime_context().get_node_id()
    group = get_current_placement_group()
    table = await asyncio.to_thread(placement_group_table, group) if group else {}
    other_nodes = set(table.get("bundles_to_node_id", {}).values()) - {here}
    fetching: Any = ray.remote(fetch)
    elsewhere = [
        fetching.options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            weights, sha256
        )
        for node in other_nodes
    ]
    path = await asyncio.to_thread(fetch, weights, sha256)
    if different := {str(other_path) for other_path in await asyncio.gather(*elsewhere)} - {str(path)}:
        raise EngineError(
            f"The weights {weights!r} are at {str(path)!r} on one node and at {min(different)!r} on another: set "
            "CASCADE_HOME to the same folder on all nodes, and let all reach the same source."
        )
    if not path.is_dir():
        raise EngineError(f"vLLM needs a folder in Hugging Face format, but the weights {weights!r} are one file.")
    return path
