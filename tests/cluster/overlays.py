"""The committed overlays and their configs, as in the Makefile, rendered once."""

from functools import cache
from pathlib import Path

from serve_app.cluster.render.overlay import Rendered, render
from serve_app.cluster.settings import OVERLAYS

ROOT = Path(__file__).parents[2]
CRDS = ROOT.parent / "shared" / "kuberay-crds"
CONFIGS = {
    "cpu-demo": "configs/quickstart.yaml",
    "gpu-single-node": "configs/gpu-80gb.yaml",
    "gpu-autoscaling": "configs/autoscaling.yaml",
    "paper-70b": "configs/paper/llama-3.2-3b_qwen2.5-3b_flan-t5-large_to_llama-3.1-70b-tp4.yaml",
}


@cache
def rendered(overlay: str) -> Rendered:
    return render(ROOT / CONFIGS[overlay], overlay, OVERLAYS[overlay])


def service(overlay: str) -> dict:
    return next(body for body in rendered(overlay).objects if body["kind"] == "RayService")
