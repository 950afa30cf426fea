"""What ends the application of this folder, and so comes last."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from tests.deployments.collector import Collector, attributes
from tests.patience import PATIENCE_S
from tests.serve.conftest import Served, until

pytestmark = pytest.mark.serve

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


async def test_ready_while_a_deploy_of_args_is_refused(replayed: Served, client: AsyncOpenAI) -> None:
    """Serve lists no deployments from the deploy on, but all of them answer."""
    from serve_app.deployments.local.status import application_status

    def damage(values: dict[str, Any]) -> None:
        values["applications"][0]["args"]["cascades"]["default"]["tiers"][1]["models"] = ["none such"]

    async with httpx.AsyncClient(base_url=replayed.url, timeout=PATIENCE_S) as http:

        async def refused() -> bool:
            assert (await http.get("/readyz")).status_code == 200
            status = application_status("cascade")
            return status is not None and status.status == "DEPLOY_FAILED"

        assert not await refused()
        replayed.rewrite(damage)
        replayed.deploy()
        await until(refused, True)
        await asyncio.sleep(2)  # longer than a status is reused
        assert await refused()
    response = await client.chat.completions.create(
        model="default", messages=[{"role": "user", "content": "How many?"}]
    )
    assert response.choices[0].message.content == "From the target."


async def test_one_trace_from_the_client_to_the_target(replayed: Served, collector: Collector) -> None:
    """Last of all: spans wait for an hour to be sent, or until Serve stops the router."""
    from ray import serve

    async with AsyncOpenAI(base_url=f"{replayed.url}/v1", api_key="none", max_retries=0) as client:
        for text in ("Capital of France?", "How many?", "one waits"):
            question: Any = [{"role": "user", "content": text}]
            await client.chat.completions.create(
                model="default", messages=question, extra_headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}
            )
    assert TRACE not in {span.trace_id.hex() for span in collector.spans()}
    await asyncio.to_thread(serve.shutdown)
    spans = [span for span in collector.spans() if span.trace_id.hex() == TRACE]
    requests = [span for span in spans if span.name == "chat default"]
    assert {span.parent_span_id.hex() for span in requests} == {PARENT}
    assert {span.parent_span_id for span in spans if span not in requests} == {span.span_id for span in requests}
    counted = Counter(span.name for span in spans)
    assert counted == {
        "chat default": 3,
        "chat first": 3,
        "chat second": 3,
        "score rougeL": 2,
        "decide": 3,
        "chat target": 2,
    }
    reasons = Counter(attributes(span)["cascade.reason"] for span in spans if span.name == "decide")
    assert reasons == {"agreement": 1, "disagreement": 1, "too_few_answers": 1}
