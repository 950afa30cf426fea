"""From config to manifests: what is in them, and that the files come to the same objects."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from serve_app.cli.main import app
from serve_app.cluster import settings as setting
from serve_app.cluster.render import overlay as rendering
from serve_app.cluster.render.overlay import patch_of
from serve_app.cluster.settings import OVERLAYS, Ingress, Redis, Settings
from serve_app.errors import ConfigError
from tests.cluster.overlays import CONFIGS, ROOT, rendered, service

Body = dict[str, Any]
PAPER = "paper-70b"


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386, as it stands there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def objects(overlay: str, kind: str) -> list[Body]:
    return [body for body in rendered(overlay).objects if body["kind"] == kind]


def groups(overlay: str) -> dict[str, Body]:
    return {group["groupName"]: group for group in service(overlay)["spec"]["rayClusterConfig"]["workerGroupSpecs"]}


def pod_specs(overlay: str) -> dict[str, Body]:
    cluster = service(overlay)["spec"]["rayClusterConfig"]
    specs = {name: group["template"]["spec"] for name, group in groups(overlay).items()}
    jobs = {body["metadata"]["name"]: body["spec"]["template"]["spec"] for body in objects(overlay, "Job")}
    return {"head": cluster["headGroupSpec"]["template"]["spec"]} | specs | jobs


@pytest.mark.parametrize(
    ("overlay", "kinds"),
    [
        ("cpu-demo", []),
        ("gpu-single-node", ["Ingress", "PodMonitor"]),
        # Redis, the Gateway's proxies; the operator makes the Gateway
        ("gpu-autoscaling", ["NetworkPolicy", "NetworkPolicy", "PodMonitor"]),
        ("paper-70b", ["Ingress", "NetworkPolicy", "PodMonitor"]),
    ],
)
def test_objects_of_an_overlay(overlay: str, kinds: list[str]) -> None:
    common = ["ConfigMap", "Job", "Namespace", "NetworkPolicy", "NetworkPolicy", "NetworkPolicy"]
    common += ["PersistentVolumeClaim", "PodDisruptionBudget", "RayService"]
    assert sorted(body["kind"] for body in rendered(overlay).objects) == sorted(common + kinds)


@pytest.mark.parametrize("overlay", CONFIGS)
def test_committed_files_come_to_the_objects(overlay: str) -> None:
    """Through kustomize itself, with the image put in and the namespace set."""
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl, whose kustomize puts base and overlay together")
    command = ["kubectl", "kustomize", str(ROOT / "k8s" / "overlays" / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    image = OVERLAYS[overlay].image
    found = {(body["kind"], body["metadata"]["name"]): body for body in yaml.safe_load_all(built.stdout)}
    expected = {}
    for body in yaml.safe_load_all(yaml.safe_dump_all(rendered(overlay).objects)):
        if body["kind"] != "Namespace":
            body["metadata"]["namespace"] = "cascade"
        expected[body["kind"], body["metadata"]["name"]] = with_image(body, image)
    assert found == expected


def with_image(value: Any, image: str) -> Any:
    if isinstance(value, list):
        return [with_image(inner, image) for inner in value]
    if not isinstance(value, dict):
        return value
    return {key: image if key == "image" else with_image(inner, image) for key, inner in value.items()}


@pytest.mark.parametrize("overlay", CONFIGS)
def test_base_and_patch_make_the_service(overlay: str) -> None:
    files = rendered(overlay).files
    base = yaml.safe_load(files["base/rayservice.yaml"])
    patch = yaml.safe_load(files[f"overlays/{overlay}/rayservice.yaml"])
    assert merged(base, patch) == service(overlay)


def test_the_base_is_the_same_for_every_overlay() -> None:
    bases = [{n: t for n, t in rendered(o).files.items() if n.startswith("base/")} for o in CONFIGS]
    assert bases[0] == bases[1] == bases[2] == bases[3]
    assert sorted(bases[0]) == [f"base/{name}.yaml" for name in ("kustomization", "namespace", "network", "rayservice")]


leaves = st.integers(0, 3) | st.booleans() | st.lists(st.integers(0, 3), max_size=2)
trees = st.recursive(
    st.dictionaries(st.sampled_from("abc"), leaves, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | leaves, max_size=3),
    max_leaves=8,
)


@given(trees, trees)
def test_patch_makes_after_of_before(before: Body, after: Body) -> None:
    named = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "n"}}
    assert merged(named | {"spec": before}, patch_of(named | {"spec": before}, named | {"spec": after})) == named | {
        "spec": after
    }


def test_worker_groups_of_the_autoscaling_overlay() -> None:
    found = groups("gpu-autoscaling")
    bounds = {name: (group["minReplicas"], group["replicas"], group["maxReplicas"]) for name, group in found.items()}
    assert bounds == {"cpu": (2, 2, 6), "gpu-h100": (0, 0, 2), "gpu-l4": (2, 2, 8)}
    h100 = found["gpu-h100"]
    assert h100["resources"] == {"CPU": "4", "GPU": "4", "accelerator_type:H100": "1"}
    spec = h100["template"]["spec"]
    assert spec["containers"][0]["resources"] == {
        "requests": {"cpu": "32", "memory": "262144Mi"},
        "limits": {"cpu": "32", "memory": "262144Mi", "nvidia.com/gpu": "4"},
    }
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    [term] = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe", "NVIDIA-H100-NVL"]
    assert "tolerations" not in found["cpu"]["template"]["spec"]


@pytest.mark.parametrize("overlay", CONFIGS)
def test_every_pod_is_restricted(overlay: str) -> None:
    """Kubernetes' `restricted` rules, which the namespace enforces."""
    for name, spec in pod_specs(overlay).items():
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["limits"]["memory"], name
        assert {next(iter(v.keys() - {"name"})) for v in spec.get("volumes", [])} <= {
            "configMap",
            "persistentVolumeClaim",
            "secret",
        }
    [namespace] = objects(overlay, "Namespace")
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.mark.parametrize("overlay", CONFIGS)
def test_only_the_head_has_a_service_account_token(overlay: str) -> None:
    tokens = {name: spec.get("automountServiceAccountToken", True) for name, spec in pod_specs(overlay).items()}
    assert [name for name, mounted in tokens.items() if mounted] == ["head"]


@pytest.mark.parametrize("overlay", CONFIGS)
def test_only_the_job_writes_models_and_has_the_hub_token(overlay: str) -> None:
    for name, spec in pod_specs(overlay).items():
        containers = [*spec["containers"], *spec.get("initContainers", [])]
        mounts = [m for c in containers for m in c.get("volumeMounts", []) if m["name"] == "models"]
        variables = {variable["name"] for c in containers for variable in c["env"]}
        job = name.startswith("cascade-pull-")
        assert all(bool(mount.get("readOnly")) is not job for mount in mounts), name
        assert ("HF_TOKEN" in variables) is job, name
        assert bool(mounts) is (name != "head")


@pytest.mark.parametrize("overlay", CONFIGS)
def test_secrets_are_only_referred_to(overlay: str) -> None:
    assert objects(overlay, "Secret") == []
    assert service(overlay)["spec"]["rayClusterConfig"]["authOptions"] == {
        "mode": "token",
        "secretName": "cascade-ray-token",
    }


def test_redis_stands_only_in_production() -> None:
    with_redis = [o for o in CONFIGS if "gcsFaultToleranceOptions" in service(o)["spec"]["rayClusterConfig"]]
    assert with_redis == ["gpu-autoscaling", "paper-70b"]
    assert service(PAPER)["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"] == {
        "redisAddress": "redis:6379",
        "redisPassword": {"valueFrom": {"secretKeyRef": {"name": "cascade-redis", "key": "password"}}},
    }


def test_upgrades() -> None:
    kinds = {overlay: service(overlay)["spec"]["upgradeStrategy"]["type"] for overlay in CONFIGS}
    assert kinds == dict.fromkeys(CONFIGS, "NewCluster") | {"gpu-autoscaling": "NewClusterWithIncrementalUpgrade"}
    [ingress] = objects(PAPER, "Ingress")
    [path] = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"] == {"service": {"name": "cascade-serve-svc", "port": {"number": 8000}}}


def test_times_add_up_in_the_demo() -> None:
    """A replica 20 s, Ray 120 s, Kubernetes 150 s; a request 120 s + 30 s of scoring + 600 s."""
    spec = service("cpu-demo")["spec"]
    pod = groups("cpu-demo")["cpu"]["template"]["spec"]
    drain = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
    assert drain["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] == "120"
    assert pod["terminationGracePeriodSeconds"] == 150
    assert spec["rayClusterDeletionDelaySeconds"] == 750


def test_the_serving_config_as_pods_need_it() -> None:
    values = yaml.safe_load(service("gpu-single-node")["spec"]["serveConfigV2"])
    own = yaml.safe_load((ROOT / CONFIGS["gpu-single-node"]).read_text())
    assert values["http_options"] == {"host": "0.0.0.0", "port": 8000}
    assert values["proxy_location"] == "EveryNode"
    bleurt = values["applications"][0]["args"]["signals"].pop("bleurt")
    assert bleurt["environment"] == "/opt/bleurt/bin/python"
    assert bleurt == own["applications"][0]["args"]["signals"].pop("bleurt") | {"environment": bleurt["environment"]}
    assert values["applications"] == own["applications"]
    assert values["logging_config"] == own["logging_config"]


MODEL = "{engine: openai_api, model: m, base_url: 'https://api.example.com:8443/v1', KEY}"
CONFIG = """
applications:
  - import_path: serve_app.app:build_app
    args:
      models: {a: MODEL}
      cascades: {default: {tiers: [{models: [a]}]}}
"""


def rendered_text(tmp_path: Path, text: str, settings: Settings | None = None) -> rendering.Rendered:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return rendering.render(path, "cpu-demo", settings or Settings())


def test_models_behind_an_api_need_keys_and_a_way_out_but_no_volume(tmp_path: Path) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "api_key_env: EXAMPLE_KEY"))
    found = {(b["kind"], b["metadata"]["name"]): b for b in rendered_text(tmp_path, text).objects}
    assert not {"PersistentVolumeClaim", "Job", "ConfigMap"} & {kind for kind, _ in found}
    assert found["NetworkPolicy", "cascade-endpoints"]["spec"]["egress"] == [
        {"ports": [{"port": 8443, "protocol": "TCP"}]}
    ]
    [group] = found["RayService", "cascade"]["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    container = group["template"]["spec"]["containers"][0]
    assert container["env"][-1] == {
        "name": "EXAMPLE_KEY",
        "valueFrom": {"secretKeyRef": {"name": "cascade-api-keys", "key": "EXAMPLE_KEY"}},
    }
    assert group["template"]["spec"]["volumes"] == []


def test_traces_need_a_way_out(tmp_path: Path) -> None:
    text = LOCAL.replace("WEIGHTS", "/models/m.gguf").replace("OPTIONS", "")
    text += "      router: {tracing: {endpoint: 'http://collector.observability:4318'}}\n"
    [policy] = [b for b in rendered_text(tmp_path, text).objects if b["metadata"]["name"] == "cascade-endpoints"]
    assert policy["spec"]["egress"] == [{"ports": [{"port": 4318, "protocol": "TCP"}]}]


def test_keys_in_files_come_from_a_mounted_secret(tmp_path: Path) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "api_key_file: /etc/cascade/keys/example"))
    [ray] = [b for b in rendered_text(tmp_path, text).objects if b["kind"] == "RayService"]
    spec = ray["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]
    assert spec["volumes"] == [{"name": "keys", "secret": {"secretName": "cascade-api-keys", "defaultMode": 0o440}}]
    assert spec["containers"][0]["volumeMounts"] == [
        {"name": "keys", "mountPath": "/etc/cascade/keys", "readOnly": True}
    ]


LOCAL = CONFIG.replace("MODEL", "{engine: llama_cpp, weights: WEIGHTS, deployment: {ray_actor_options: {OPTIONS}}}")


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
        (CONFIG.replace("MODEL", MODEL.replace("KEY", "api_key_file: /home/me/key")), "use /etc/cascade/keys/NAME"),
    ],
)
def test_configs_that_cannot_run_in_a_cluster(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        rendered_text(tmp_path, text)


def policy(objects: list[Body], name: str) -> Body:
    return next(b["spec"] for b in objects if (b["kind"], b["metadata"]["name"]) == ("NetworkPolicy", name))


def ports(*numbers: int) -> list[Body]:
    return [{"port": number, "protocol": "TCP"} for number in numbers]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, (443,)),
        ({"HF_ENDPOINT": "https://hub.example.com", "NO_PROXY": "localhost:1,.svc"}, (443,)),
        ({"PIP_INDEX_URL": "http://pypi.example.com/simple"}, (80, 443)),
        ({"PIP_EXTRA_INDEX_URL": "http://one:8081/simple https://two:8082/simple"}, (443, 8081, 8082)),
        ({"HTTPS_PROXY": "http://me:hunter2@proxy:3128", "all_proxy": "socks5://other"}, (443, 1080, 3128)),
        ({"https_proxy": "proxy.example.com:3128"}, (443, 3128)),
        ({"PIP_FIND_LINKS": "file:///models/wheels", "PIP_TIMEOUT": "60"}, (443,)),
    ],
)
def test_the_job_reaches_the_mirrors_and_proxies_that_it_is_told(
    tmp_path: Path, env: dict[str, str], expected: tuple[int, ...]
) -> None:
    text = LOCAL.replace("WEIGHTS", "hf://a/b/c.gguf").replace("OPTIONS", "")
    found = policy(rendered_text(tmp_path, text, Settings(pull_env=env)).objects, "cascade-pull")
    assert found["egress"][1] == {"ports": ports(*expected)}


def test_the_head_reaches_the_api_server_at_the_ports_behind_its_service(tmp_path: Path) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "keyless: true"))
    usual = policy(rendered_text(tmp_path, text).objects, "cascade-head")
    assert usual["egress"] == [{"ports": ports(443, 6443, 8443)}]
    other = policy(rendered_text(tmp_path, text, Settings(api_server_ports=[16443])).objects, "cascade-head")
    assert other["egress"] == [{"ports": ports(16443)}]


def test_a_gateways_proxies_in_the_same_namespace_are_let_in() -> None:
    found = policy(rendered("gpu-autoscaling").objects, "cascade-gateway")
    proxies = {"matchLabels": {"gateway.networking.k8s.io/gateway-name": "cascade-gateway"}}
    assert found["ingress"] == [{"from": [{"podSelector": proxies}], "ports": ports(8000)}]
    assert found["podSelector"] == policy(rendered("gpu-autoscaling").objects, "cascade-ray")["podSelector"]
    assert found["policyTypes"] == ["Ingress"]


def test_an_ingress_waits_as_long_as_the_longest_request(tmp_path: Path) -> None:
    """600 s for the only tier of the config, which is the target; what the settings say goes over ours."""
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "keyless: true"))
    nginx = "nginx.ingress.kubernetes.io/"

    def annotations(**own: str) -> Body:
        settings = Settings(ingress=Ingress(host="a.example.com", annotations={nginx + k: v for k, v in own.items()}))
        [found] = [b for b in rendered_text(tmp_path, text, settings).objects if b["kind"] == "Ingress"]
        return {key.removeprefix(nginx): value for key, value in found["metadata"]["annotations"].items()}

    ours = {"proxy-read-timeout": "600", "proxy-send-timeout": "600"}
    assert annotations() == ours
    assert annotations(**{"proxy-read-timeout": "900", "proxy-body-size": "8m"}) == ours | {
        "proxy-read-timeout": "900",
        "proxy-body-size": "8m",
    }


def test_other_accelerators_by_the_settings(tmp_path: Path) -> None:
    text = LOCAL.replace("WEIGHTS", "/models/m.gguf").replace("OPTIONS", "num_gpus: 1, accelerator_type: Z9")
    found = rendered_text(tmp_path, text, Settings(gpu_products={"Z9": ["ACME-Z9"]})).objects
    assert "ACME-Z9" in str(found)


def test_the_job_is_another_where_anything_in_its_pod_is(tmp_path: Path) -> None:
    """Its template cannot be changed once it is made."""

    def job(weights: str, **settings: Any) -> str:
        text = LOCAL.replace("WEIGHTS", weights).replace("OPTIONS", "")
        [name] = [
            b["metadata"]["name"]
            for b in rendered_text(tmp_path, text, Settings(**settings)).objects
            if b["kind"] == "Job"
        ]
        return name

    one = job("hf://a/b/c.gguf")
    assert one == job("hf://a/b/c.gguf", name="cascade")
    others: list[Body] = [
        {"image": "other:1"},
        {"pull_env": {"HF_ENDPOINT": "https://hub.example.com"}},
        {"pull_env": {"HF_ENDPOINT": "https://mirror.example.com"}},
        {"hub_token_secret": "other"},
        {"image_pull_secret": "other"},
    ]
    assert len({one, job("hf://a/b/d.gguf"), *(job("hf://a/b/c.gguf", **other) for other in others)}) == 7
    assert one == job("hf://a/b/c.gguf", head={"cpus": 8, "memory": "6Gi"})


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("semantic-cascade:0.1.0", {"newName": "semantic-cascade", "newTag": "0.1.0"}),
        ("registry:5000/team/cascade:7", {"newName": "registry:5000/team/cascade", "newTag": "7"}),
        ("registry:5000/team/cascade", {"newName": "registry:5000/team/cascade"}),
        ("r.io/c@sha256:ab", {"newName": "r.io/c", "digest": "sha256:ab"}),
    ],
)
def test_image_in_the_words_of_kustomize(tmp_path: Path, image: str, expected: dict[str, str]) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "keyless: true"))
    files = rendered_text(tmp_path, text, Settings(image=image)).files
    kustomization = yaml.safe_load(files["overlays/cpu-demo/kustomization.yaml"])
    assert kustomization["images"] == [{"name": "semantic-cascade"} | expected]


def test_settings_from_a_file_are_merged_into_the_overlays(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("redis: {address: 'keydb:7000'}\ningress: null\nstorage: {storage_class: fast}\n")
    found = setting.read(PAPER, path)
    assert (found.redis, found.ingress) == (Redis(address="keydb:7000"), None)
    assert (found.storage.storage_class, found.storage.size, found.monitoring) == ("fast", "300Gi", True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("replicas: 3", "replicas: unknown key. Did you mean 'redis'"),
        ("name: 9lives", "name: must be up to 47 small letters"),
        ("storage: {size: 10 GB}", "size: must be a whole number with Ki, Mi, Gi or Ti, such as 16Gi"),
        ("gateway: {class_name: istio}", "ingress and gateway exclude each other"),
        ("api_server_ports: [0]", r"api_server_ports\[0\]: must be greater than or equal to 1, got 0"),
        ("api_server_ports: [65536]", r"api_server_ports\[0\]: must be less than or equal to 65535"),
        ("api_server_ports: []", "api_server_ports: needs at least 1 entry"),
        (
            "pull_env: {HTTPS_PROXY: 'http://me:pw@proxy:99999'}",
            r"HTTPS_PROXY: a URL .* http://proxy\.example\.com:3128",
        ),
        ("- a", "expected a mapping of settings"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        setting.read(PAPER, path)


def test_what_the_operator_would_refuse_is_not_rendered(tmp_path: Path) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "keyless: true"))
    with pytest.raises(ConfigError, match=r"KubeRay would refuse it: rayVersion: token authentication needs 2\.52\.0"):
        rendered_text(tmp_path, text, Settings(ray_version="2.40.0"))


def cascade(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["k8s", "render", *arguments])


def test_the_command_writes_checks_and_notices_what_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # the config's path stands in the files
    arguments = [CONFIGS["cpu-demo"], "--overlay", "cpu-demo", "-o", str(tmp_path)]
    (tmp_path / "overlays" / "cpu-demo").mkdir(parents=True)
    (tmp_path / "overlays" / "cpu-demo" / "old.yaml").write_text("a: 1\n")
    wrote = cascade(*arguments)
    assert (wrote.exit_code, wrote.stderr) == (0, "")
    assert "cpu: 1 of 4 CPUs, 8 GiB, for qwen-0.5b, smollm2-135m, qwen-1.5b, Scorer, Router" in wrote.stdout
    written = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.yaml")}
    expected = rendering.render(ROOT / CONFIGS["cpu-demo"], "cpu-demo", OVERLAYS["cpu-demo"]).files
    assert written == {name: text.replace(f"{ROOT}/", "") for name, text in expected.items()}
    assert cascade(*arguments, "--check").exit_code == 0
    (tmp_path / "base" / "network.yaml").write_text("a: 1\n")
    stale = cascade(*arguments, "--check")
    assert stale.exit_code == 2
    assert stale.stderr == f"cascade: Stale files, run `cascade k8s render`: {tmp_path}/base/network.yaml.\n"
