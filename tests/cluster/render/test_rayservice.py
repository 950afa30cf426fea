"""The RayService of a config: groups, upgrades, times, and secrets by reference."""

from pathlib import Path

import pytest

from serve_app.cluster.settings import Settings
from serve_app.errors import ConfigError
from tests.cluster.overlays import CONFIG, CONFIGS, MODEL, PAPER, groups, objects, rendered_text, service


def test_worker_groups_of_the_autoscaling_overlay() -> None:
    worker_groups = groups("gpu-autoscaling")
    bounds = {
        name: (group["minReplicas"], group["replicas"], group["maxReplicas"]) for name, group in worker_groups.items()
    }
    assert bounds == {"cpu": (2, 2, 7), "gpu-h100": (0, 0, 2), "gpu-l4": (2, 2, 8)}
    h100 = worker_groups["gpu-h100"]
    assert h100["resources"] == {"CPU": "4", "GPU": "4", "accelerator_type:H100": "1"}
    spec = h100["template"]["spec"]
    assert spec["containers"][0]["resources"] == {
        "requests": {"cpu": "32", "memory": "262144Mi"},
        "limits": {"cpu": "32", "memory": "262144Mi", "nvidia.com/gpu": "4"},
    }
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    [term] = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe", "NVIDIA-H100-NVL"]
    assert "tolerations" not in worker_groups["cpu"]["template"]["spec"]


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


def test_models_behind_an_api_need_keys_and_a_way_out_but_no_volume(tmp_path: Path) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "api_key_env: EXAMPLE_KEY"))
    manifests = {(b["kind"], b["metadata"]["name"]): b for b in rendered_text(tmp_path, text).objects}
    assert not {"PersistentVolumeClaim", "Job", "ConfigMap"} & {kind for kind, _ in manifests}
    assert manifests["NetworkPolicy", "cascade-endpoints"]["spec"]["egress"] == [
        {"ports": [{"port": 8443, "protocol": "TCP"}]}
    ]
    [group] = manifests["RayService", "cascade"]["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    container = group["template"]["spec"]["containers"][0]
    assert container["env"][-1] == {
        "name": "EXAMPLE_KEY",
        "valueFrom": {"secretKeyRef": {"name": "cascade-api-keys", "key": "EXAMPLE_KEY"}},
    }
    assert [volume["name"] for volume in group["template"]["spec"]["volumes"]] == ["tmp", "home", "client-keys"]


def test_what_the_operator_would_refuse_is_not_rendered(tmp_path: Path) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "keyless: true"))
    with pytest.raises(ConfigError, match=r"KubeRay would refuse it: rayVersion: token authentication needs 2\.52\.0"):
        rendered_text(tmp_path, text, Settings(ray_version="2.40.0"))


@pytest.mark.parametrize("overlay", CONFIGS)
def test_the_head_runs_no_replica_and_takes_no_requests(overlay: str) -> None:
    spec = service(overlay)["spec"]
    assert spec["excludeHeadPodFromServeSvc"] is True
    assert spec["rayClusterConfig"]["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    assert "annotations" not in service(overlay)["metadata"]  # no initializing-timeout, which is final


@pytest.mark.parametrize("overlay", CONFIGS)
def test_the_autoscaler_is_the_second_and_lets_idle_pods_go(overlay: str) -> None:
    cluster = service(overlay)["spec"]["rayClusterConfig"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert {key: cluster["autoscalerOptions"][key] for key in ("version", "idleTimeoutSeconds")} == {
        "version": "v2",
        "idleTimeoutSeconds": 300,
    }


@pytest.mark.parametrize("overlay", CONFIGS)
def test_probes_need_no_program_of_the_image_and_nothing_stops_ray_early(overlay: str) -> None:
    """The operator's own probes call wget, which the image lacks."""
    cluster = service(overlay)["spec"]["rayClusterConfig"]
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        [container] = group["template"]["spec"]["containers"]
        head = group is cluster["headGroupSpec"]
        ready = {"path": "/api/healthz", "port": 52365} if head else {"path": "/-/healthz", "port": 8000}
        assert container["livenessProbe"]["httpGet"] == {"path": "/api/healthz", "port": 52365}
        assert container["readinessProbe"]["httpGet"] == ready
        assert "lifecycle" not in container
