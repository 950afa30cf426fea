"""The committed overlays and their configs, as in the Makefile, rendered once."""

from functools import cache
from pathlib import Path

from serve_app.cluster.manifests import Fields, Manifest
from serve_app.cluster.render.files import Rendered
from serve_app.cluster.render.overlay import render
from serve_app.cluster.settings import OVERLAYS, Settings

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


PAPER = "paper-70b"


def objects(overlay: str, kind: str) -> list[Manifest]:
    return [body for body in rendered(overlay).objects if body["kind"] == kind]


def groups(overlay: str) -> dict[str, Fields]:
    return {group["groupName"]: group for group in service(overlay)["spec"]["rayClusterConfig"]["workerGroupSpecs"]}


def pod_specs(overlay: str) -> dict[str, Fields]:
    cluster = service(overlay)["spec"]["rayClusterConfig"]
    specs = {name: group["template"]["spec"] for name, group in groups(overlay).items()}
    jobs = {body["metadata"]["name"]: body["spec"]["template"]["spec"] for body in objects(overlay, "Job")}
    return {"head": cluster["headGroupSpec"]["template"]["spec"]} | specs | jobs


MODEL = "{engine: openai_api, model: m, base_url: 'https://api.example.com:8443/v1', KEY}"

CONFIG = """
applications:
  - import_path: serve_app.app:build_app
    args:
      models: {a: MODEL}
      cascades: {default: {tiers: [{models: [a]}]}}
"""


def rendered_text(tmp_path: Path, text: str, settings: Settings | None = None) -> Rendered:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return render(path, "cpu-demo", settings or Settings())


LOCAL = CONFIG.replace("MODEL", "{engine: llama_cpp, weights: WEIGHTS, deployment: {ray_actor_options: {OPTIONS}}}")
