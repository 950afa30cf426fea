"""Our metrics, as the node of a running application exports them."""

import httpx

from tests.patience import PATIENCE_S

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped() -> Samples:
    """Return our metrics that the node exports, by name and our own labels; counts of replicas are added up."""
    import ray
    from prometheus_client.parser import text_string_to_metric_families

    [node] = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    try:
        async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as http:
            text = (await http.get(address)).text
    except httpx.TransportError:  # busy, and asked again
        return {}
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("ray_cascade_"):
                assert sample.labels["application"] == "cascade"
                assert sample.labels["deployment"]
                assert sample.labels["replica"]
                own = frozenset((key, value) for key, value in sample.labels.items() if key in OWN)
                samples[sample.name, own] = samples.get((sample.name, own), 0) + sample.value
    return samples


OWN = {
    "bound",
    "by",
    "cascade",
    "outcome",
    "model",
    "tier",
    "accepted",
    "reason",
    "signal",
    "phase",
    "role",
    "status",
    "kind",
    "use",
    "le",
}


def series(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"ray_cascade_{name}", frozenset(labels.items())
