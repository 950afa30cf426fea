"""Which ways are open, and how long they stay so."""

from pathlib import Path

import pytest

from serve_app.cluster.manifests import Manifest
from serve_app.cluster.settings import Ingress, RayDashboard, Settings
from tests.cluster.overlays import CONFIG, CONFIGS, LOCAL, MODEL, groups, rendered, rendered_text


def test_traces_need_a_way_out(tmp_path: Path) -> None:
    text = LOCAL.replace("WEIGHTS", "/models/m.gguf").replace("OPTIONS", "")
    text += "      router: {tracing: {endpoint: 'http://collector.observability:4318'}}\n"
    [policy] = [b for b in rendered_text(tmp_path, text).objects if b["metadata"]["name"] == "cascade-endpoints"]
    assert policy["spec"]["egress"] == [{"ports": [{"port": 4318, "protocol": "TCP"}]}]


def policy(objects: list[Manifest], name: str) -> Manifest:
    return next(b["spec"] for b in objects if (b["kind"], b["metadata"]["name"]) == ("NetworkPolicy", name))


def ports(*numbers: int) -> list[Manifest]:
    return [{"port": number, "protocol": "TCP"} for number in numbers]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, (443,)),
        ({"HF_ENDPOINT": "https://hub.example.com", "NO_PROXY": "localhost:1,.svc"}, (443,)),
        ({"PIP_INDEX_URL": "http://pypi.example.com/simple"}, (80, 443)),
        ({"PIP_EXTRA_INDEX_URL": "http://one:8081/simple https://two:8082/simple"}, (443, 8081, 8082)),
        ({"HTTPS_PROXY": "http://proxy:3128", "all_proxy": "socks5://other"}, (443, 1080, 3128)),
        ({"https_proxy": "proxy.example.com:3128"}, (443, 3128)),
        ({"PIP_FIND_LINKS": "file:///models/wheels", "PIP_TIMEOUT": "60"}, (443,)),
    ],
)
def test_the_job_reaches_the_mirrors_and_proxies_that_it_is_told(
    tmp_path: Path, env: dict[str, str], expected: tuple[int, ...]
) -> None:
    text = LOCAL.replace("WEIGHTS", "hf://a/b/c.gguf").replace("OPTIONS", "")
    network_policy = policy(rendered_text(tmp_path, text, Settings(pull_env=env)).objects, "cascade-pull")
    assert network_policy["egress"][1] == {"ports": ports(*expected)}


def test_the_job_reaches_a_proxy_whose_url_is_secret(tmp_path: Path) -> None:
    text = LOCAL.replace("WEIGHTS", "hf://a/b/c.gguf").replace("OPTIONS", "")
    settings = Settings(pull_secret_env={"HTTPS_PROXY": 3128})
    network_policy = policy(rendered_text(tmp_path, text, settings).objects, "cascade-pull")
    assert network_policy["egress"][1] == {"ports": ports(443, 3128)}


def test_the_head_reaches_the_api_server_at_the_ports_behind_its_service(tmp_path: Path) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "keyless: true"))
    usual = policy(rendered_text(tmp_path, text).objects, "cascade-head")
    assert usual["egress"] == [{"ports": ports(443, 6443, 8443)}]
    network_policy = policy(rendered_text(tmp_path, text, Settings(api_server_ports=[16443])).objects, "cascade-head")
    assert network_policy["egress"] == [{"ports": ports(16443)}]


def test_nobody_is_let_in_by_the_label_of_a_pod_alone() -> None:
    """Anyone who may make pods in any namespace can give them any label."""
    incoming = [
        peer for rule in policy(rendered("cpu-demo").objects, "cascade-ray")["ingress"] for peer in rule["from"]
    ]
    [operator] = [peer for peer in incoming if "kuberay-operator" in str(peer)]
    assert operator["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "kuberay-system"}}
    for peer in incoming:  # without a selector of namespaces, it is our own
        assert peer.get("namespaceSelector", {"matchLabels": {"our": "own"}}).get("matchLabels"), peer


def test_the_operator_may_run_elsewhere(tmp_path: Path) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "keyless: true"))
    objects = rendered_text(tmp_path, text, Settings(operator_namespace="ray-system")).objects
    assert "'kubernetes.io/metadata.name': 'ray-system'" in str(policy(objects, "cascade-ray"))


def test_routers_reach_the_redis_that_counts_limits(tmp_path: Path) -> None:
    text = LOCAL.replace("WEIGHTS", "/models/m.gguf").replace("OPTIONS", "")
    access = "{keys_file: k, limits_url: 'redis://limits:6380', limits_password_env: LIMITS_PASSWORD}"
    objects = rendered_text(tmp_path, text + f"      router: {{access: {access}}}\n").objects
    assert policy(objects, "cascade-endpoints")["egress"] == [{"ports": ports(6380)}]
    [ray] = [body for body in objects if body["kind"] == "RayService"]
    container = ray["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
    [variable] = [variable for variable in container["env"] if variable["name"] == "LIMITS_PASSWORD"]
    assert variable["valueFrom"] == {"secretKeyRef": {"name": "cascade-api-keys", "key": "LIMITS_PASSWORD"}}


@pytest.mark.parametrize("overlay", ["gpu-single-node", "paper-70b"])
def test_an_ingress_has_tls(overlay: str) -> None:
    [body] = [body for body in rendered(overlay).objects if body["kind"] == "Ingress"]
    assert body["spec"]["tls"] == [{"hosts": ["cascade.example.com"], "secretName": "cascade-tls"}]
    assert not [caution for caution in rendered(overlay).cautions if "plain HTTP" in caution]


def test_an_ingress_without_tls_must_be_asked_for_and_is_warned_of(tmp_path: Path) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "keyless: true"))
    plain = rendered_text(tmp_path, text, Settings(ingress=Ingress(host="a.example.com", tls_secret=None)))
    [body] = [body for body in plain.objects if body["kind"] == "Ingress"]
    assert "tls" not in body["spec"]
    assert [caution for caution in plain.cautions if caution.startswith("the Ingress takes plain HTTP")]


def test_a_gateways_proxies_in_the_same_namespace_are_let_in() -> None:
    network_policy = policy(rendered("gpu-autoscaling").objects, "cascade-gateway")
    proxies = {"matchLabels": {"gateway.networking.k8s.io/gateway-name": "cascade-gateway"}}
    assert network_policy["ingress"] == [{"from": [{"podSelector": proxies}], "ports": ports(8000)}]
    assert network_policy["podSelector"] == policy(rendered("gpu-autoscaling").objects, "cascade-ray")["podSelector"]
    assert network_policy["policyTypes"] == ["Ingress"]


def test_an_ingress_waits_as_long_as_the_longest_request_and_takes_the_largest(tmp_path: Path) -> None:
    """600 s for the only tier of the config, which is the target; what the settings say goes over ours."""
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "keyless: true"))
    nginx = "nginx.ingress.kubernetes.io/"

    def annotations(**own: str) -> Manifest:
        settings = Settings(ingress=Ingress(host="a.example.com", annotations={nginx + k: v for k, v in own.items()}))
        [ingress] = [b for b in rendered_text(tmp_path, text, settings).objects if b["kind"] == "Ingress"]
        return {key.removeprefix(nginx): value for key, value in ingress["metadata"]["annotations"].items()}

    ours = {"proxy-read-timeout": "600", "proxy-send-timeout": "600", "proxy-body-size": "4000000"}
    assert annotations() == ours
    assert annotations(**{"proxy-read-timeout": "900", "proxy-body-size": "8m"}) == ours | {
        "proxy-read-timeout": "900",
        "proxy-body-size": "8m",
    }


def test_each_group_of_workers_has_a_budget_of_its_own() -> None:
    """All routers may be on the pods of one group, so many pods of another are no reason to evict them together."""
    budgets = [body for body in rendered("gpu-autoscaling").objects if body["kind"] == "PodDisruptionBudget"]
    assert {body["metadata"]["name"]: body["spec"]["minAvailable"] for body in budgets} == {
        "cascade-cpu": 1,
        "cascade-gpu-h100": 1,
        "cascade-gpu-l4": 1,
    }
    selectors = [body["spec"]["selector"]["matchLabels"] for body in budgets]
    labels = [group["template"]["metadata"]["labels"] for group in groups("gpu-autoscaling").values()]
    assert sorted(map(str, selectors)) == sorted(map(str, labels))
    assert {body["spec"]["unhealthyPodEvictionPolicy"] for body in budgets} == {"AlwaysAllow"}


def test_the_head_reaches_the_metrics_that_rays_dashboard_shows(tmp_path: Path) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "keyless: true"))
    dashboard = RayDashboard(
        prometheus="http://prometheus.monitoring:9090",
        grafana="http://grafana.monitoring",
        grafana_iframe="https://grafana.example.com",
    )
    objects = rendered_text(tmp_path, text, Settings(ray_dashboard=dashboard)).objects
    network_policy = policy(objects, "cascade-dashboard")
    assert network_policy["egress"] == [{"ports": ports(80, 9090)}]
    assert network_policy["podSelector"] == policy(objects, "cascade-head")["podSelector"]
    [ray] = [body for body in objects if body["kind"] == "RayService"]
    container = ray["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert container["env"][-3:] == [
        {"name": "RAY_PROMETHEUS_HOST", "value": "http://prometheus.monitoring:9090"},
        {"name": "RAY_GRAFANA_HOST", "value": "http://grafana.monitoring"},
        {"name": "RAY_GRAFANA_IFRAME_HOST", "value": "https://grafana.example.com"},
    ]


def test_a_pod_monitor_has_the_labels_that_prometheus_selects_by(tmp_path: Path) -> None:
    text = CONFIG.replace("MODEL", MODEL.replace("KEY", "keyless: true"))
    settings = Settings(monitoring=True, monitoring_labels={"release": "prometheus"})
    [body] = [b for b in rendered_text(tmp_path, text, settings).objects if b["kind"] == "PodMonitor"]
    assert body["metadata"]["labels"] == {
        "release": "prometheus",
        "app.kubernetes.io/instance": "cascade",
        "app.kubernetes.io/component": "network",
    }


@pytest.mark.parametrize("overlay", CONFIGS)
def test_who_reaches_rays_pods_at_which_ports(overlay: str) -> None:
    network_policy = policy(rendered(overlay).objects, "cascade-ray")
    ray, *rules = network_policy["ingress"]
    assert ray == {"from": [{"podSelector": network_policy["podSelector"]}]}
    assert [[port["port"] for port in rule["ports"]] for rule in rules] == [[8265, 8000], [8000], [8080, 44217, 44227]]
    operator, clients, prometheus = (rule["from"][0]["namespaceSelector"]["matchLabels"] for rule in rules)
    assert operator == {"kubernetes.io/metadata.name": "kuberay-system"}
    assert clients == {"semantic-cascade/client": "true"}
    assert prometheus == {"kubernetes.io/metadata.name": "monitoring"}
    inside, names = network_policy["egress"]
    assert inside == {"to": ray["from"]}
    assert {(port["port"], port["protocol"]) for port in names["ports"]} == {(53, "UDP"), (53, "TCP")}
