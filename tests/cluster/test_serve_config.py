"""The serving config as pods need it, and configs that no pod can run."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.cluster.render.files import Rendered
from serve_app.cluster.settings import Settings
from serve_app.errors import ConfigError
from tests.cluster.overlays import CONFIG, CONFIGS, LOCAL, MODEL, ROOT, rendered_text, service


def test_the_serving_config_as_pods_need_it() -> None:
    values = yaml.safe_load(service("gpu-single-node")["spec"]["serveConfigV2"])
    own = yaml.safe_load((ROOT / CONFIGS["gpu-single-node"]).read_text())
    assert values["http_options"] == {"host": "0.0.0.0", "port": 8000}
    assert values["proxy_location"] == "EveryNode"
    bleurt = values["applications"][0]["args"]["signals"].pop("bleurt")
    assert bleurt["environment"] == "/opt/bleurt/bin/python"
    assert bleurt == own["applications"][0]["args"]["signals"].pop("bleurt") | {"environment": bleurt["environment"]}
    router = values["applications"][0]["args"].pop("router")
    assert router == own["applications"][0]["args"].pop("router", {}) | {
        "access": {"keys_file": "/etc/cascade/client-keys/keys.yaml"},
        "deployment": {"num_replicas": 2},
    }
    assert values["applications"] == own["applications"]
    assert values["logging_config"] == own["logging_config"]


SKIP = "{fitted: skip.npz, encoder: sbert, k: 5, defer_above: 0.8, accept_above: 0.8}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (LOCAL.replace("WEIGHTS", "model.gguf").replace("OPTIONS", ""), r"the weights of 'a' are a local path"),
        (
            LOCAL.replace("WEIGHTS", "/models/m.gguf").replace("OPTIONS", "num_gpus: 1, accelerator_type: Z9"),
            r"Unknown accelerator_type 'Z9'\. Available: .* gpu_products: \{Z9: \[VALUE\]\}",
        ),
        (
            "http_options: {ssl_certfile: c, ssl_keyfile: k}\n"
            + LOCAL.replace("WEIGHTS", "/models/m.gguf").replace("OPTIONS", ""),
            "in a cluster TLS ends at the Ingress or the Gateway",
        ),
        (
            CONFIG.replace("MODEL", "{engine: replay, records: ./x.jsonl}"),
            r"models\.a\.records: 'x\.jsonl': pods have only files under /models; use one there",
        ),
        (
            LOCAL.replace("WEIGHTS", "/models/m.gguf")
            .replace("OPTIONS", "")
            .replace(
                "[{models: [a]}]", f"[{{models: [a, b], signal: exact, threshold: 1}}, {{models: [a]}}], skip: {SKIP}"
            )
            .replace("models: {a: ", "models: {b: {engine: llama_cpp, weights: /models/n.gguf}, a: "),
            r"cascades\.default\.skip\.fitted: 'skip\.npz': pods have only files under /models",
        ),
        (CONFIG.replace("MODEL", MODEL.replace("KEY", "api_key_file: /home/me/key")), "use /etc/cascade/keys/NAME"),
    ],
)
def test_configs_that_cannot_run_in_a_cluster(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        rendered_text(tmp_path, text)


@pytest.mark.parametrize("access", ["{}", "{keys_file: ./mine.yaml, limits_url: 'redis://redis:6379'}"])
def test_clients_need_keys_from_the_secret_whatever_the_config_names(tmp_path: Path, access: str) -> None:
    config = access_of(rendered_text(tmp_path, REMOTE + f"      router: {{access: {access}}}\n"))
    own = yaml.safe_load(access)
    assert config == own | {"keys_file": "/etc/cascade/client-keys/keys.yaml"}


def test_an_open_config_stays_open_and_render_says_what_that_means(tmp_path: Path) -> None:
    rendered = rendered_text(tmp_path, REMOTE + "      router: {access: {open: true}}\n")
    assert access_of(rendered) == {"open": True}
    assert "the API asks for no key (router.access.open), so any client that reaches it may use it" in rendered.cautions
    assert "client-keys" not in str(rendered.objects)


def router_of(rendered: Rendered) -> dict[str, Any]:
    [ray] = [body for body in rendered.objects if body["kind"] == "RayService"]
    router: dict[str, Any] = yaml.safe_load(ray["spec"]["serveConfigV2"])["applications"][0]["args"]["router"]
    return router


def access_of(rendered: Rendered) -> object:
    return router_of(rendered)["access"]


class TestRouters:
    ROUTER = "      router: {deployment: {max_queued_requests: 50}, access: {open: true}}\n"

    def test_there_are_two_and_what_they_share(self, tmp_path: Path) -> None:
        rendered = rendered_text(tmp_path, REMOTE + self.ROUTER)
        assert router_of(rendered)["deployment"] == {"max_queued_requests": 50, "num_replicas": 2}
        [group] = rendered.groups
        assert {placement.name: placement.replicas.max for placement in group.placements} == {
            "a": 1,
            "Scorer": 1,
            "StateStore": 1,
            "Router": 2,
        }

    @pytest.mark.parametrize(
        "text",
        [
            "      router: {deployment: {num_replicas: 1}}\n",
            "      router: {deployment: {autoscaling_config: {max_replicas: 1}}}\n",
            "    deployments: [{name: Router, num_replicas: 1}]\n",
            "    deployments: [{name: Router, autoscaling_config: {max_replicas: 1}}]\n",
        ],
    )
    def test_a_config_that_says_how_many_has_so_many(self, tmp_path: Path, text: str) -> None:
        rendered = rendered_text(tmp_path, REMOTE + text)
        [group] = rendered.groups
        assert [(placement.name, placement.replicas.max) for placement in group.placements] == [
            ("a", 1),
            ("Scorer", 1),
            ("Router", 1),
        ]


REMOTE = CONFIG.replace("MODEL", MODEL.replace("KEY", "keyless: true"))
VLLM = CONFIG.replace("MODEL", "{engine: vllm, weights: /models/m, env: {HF_TOKEN: hunter2}}")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (
            REMOTE.replace("    args:", "    runtime_env: {env_vars: {WANDB_API_KEY: hunter2}}\n    args:"),
            "applications[0].runtime_env.env_vars.WANDB_API_KEY",
        ),
        (
            REMOTE.replace("    args:", "    runtime_env: {env_vars: {PROXY: 'http://me:hunter2@proxy'}}\n    args:"),
            "applications[0].runtime_env.env_vars.PROXY",
        ),
        (
            REMOTE + "    deployments: [{name: a, ray_actor_options: {runtime_env: {env_vars: {TOKEN: hunter2}}}}]\n",
            "applications[0].deployments[0].ray_actor_options.runtime_env.env_vars.TOKEN",
        ),
        (VLLM, "applications[0].args.models.a.env.HF_TOKEN"),
    ],
)
def test_a_secret_is_not_rendered(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rendered_text(tmp_path, text)
    assert f"config.yaml: {where}: looks like a secret, which the manifests would show" in str(caught.value)
    assert "api_keys_secret" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "http_options: {ssl_keyfile_password: hunter2}\n" + REMOTE,
        REMOTE + "      router: {tracing: {endpoint: 'http://me:hunter2@collector:4318'}}\n",
        REMOTE.replace("keyless: true", "keyless: true, headers: {X-Auth: hunter2}"),
        REMOTE.replace("keyless: true", "keyless: true, extra_body: {password: hunter2}"),
    ],
)
def test_a_secret_that_no_pod_needs_is_not_rendered(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rendered_text(tmp_path, text)
    assert "hunter2" not in str(caught.value)


def test_other_secrets_come_from_the_secret_of_the_keys(tmp_path: Path) -> None:
    text = LOCAL.replace("WEIGHTS", "/models/m.gguf").replace("OPTIONS", "")
    settings = Settings(secret_env=["OTEL_EXPORTER_OTLP_HEADERS"], pull_secret_env={"PIP_INDEX_URL": 8443})
    objects = {body["kind"]: body for body in rendered_text(tmp_path, text, settings).objects}
    [group] = objects["RayService"]["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    pods = {"OTEL_EXPORTER_OTLP_HEADERS": group["template"], "PIP_INDEX_URL": objects["Job"]["spec"]["template"]}
    for name, pod in pods.items():
        reference = {"secretKeyRef": {"name": "cascade-api-keys", "key": name}}
        assert {"name": name, "valueFrom": reference} in pod["spec"]["containers"][0]["env"]
