"""Choose the nodes of worker pods by their GPUs, and say what Ray counts on one."""

from serve_app.cluster.manifests import Fields
from serve_app.cluster.render.worker_groups import WorkerGroup
from serve_app.cluster.settings import Settings
from serve_app.config.deployment import ACCELERATOR
from serve_app.errors import ConfigError

GPU_PRODUCTS = {
    "T4": ["Tesla-T4"],
    "L4": ["NVIDIA-L4"],
    "A10G": ["NVIDIA-A10G"],
    "L40S": ["NVIDIA-L40S"],
    "A100-40G": ["NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB"],
    "A100-80G": ["NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe"],
    "H100": ["NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe", "NVIDIA-H100-NVL"],
    "H200": ["NVIDIA-H200"],
    "B200": ["NVIDIA-B200"],
}
"""The node label nvidia.com/gpu.product, which NVIDIA's GPU operator sets, by Ray's name of the accelerator."""


def placement(group: WorkerGroup, settings: Settings) -> Fields:
    """Return the tolerations, and the affinity to nodes with the group's GPUs."""
    if not group.gpus:
        return {}
    fields: Fields = {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}
    product_key = group.accelerator or "any"
    if products := settings.gpu_products.get(product_key, GPU_PRODUCTS.get(product_key)):
        match = {"key": "nvidia.com/gpu.product", "operator": "In", "values": products}
        required = {"nodeSelectorTerms": [{"matchExpressions": [match]}]}
        fields["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    elif group.accelerator:
        raise unknown_accelerator(group.accelerator)
    return fields


def unknown_accelerator(name: str) -> ConfigError:
    """Build the error for an accelerator whose nodes have no label that is known."""
    available = ", ".join(GPU_PRODUCTS)
    return ConfigError(
        f"Unknown accelerator_type {name!r}. Available: {available}; for others set "
        f"gpu_products: {{{name}: [VALUE]}}, with the values of the node label nvidia.com/gpu.product."
    )


def group_resources(group: WorkerGroup) -> dict[str, str]:
    """Return the resources that Ray and its autoscaler count in one pod, also while there is none."""
    marks = {ACCELERATOR + group.accelerator: "1"} if group.accelerator else {}
    gpus = {"GPU": str(group.gpus)} if group.gpus else {}
    return {"CPU": str(group.ray_cpus)} | gpus | marks | {name: str(amount) for name, amount in group.custom.items()}
