"""Settings from a file, over those of an overlay."""

from pathlib import Path

import pytest

from serve_app.cluster.settings import Redis, read
from serve_app.errors import ConfigError
from tests.cluster.overlays import PAPER


def test_settings_from_a_file_are_merged_into_the_overlays(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("redis: {address: 'keydb:7000'}\ningress: null\nstorage: {storage_class: fast}\n")
    settings = read(PAPER, path)
    assert (settings.redis, settings.ingress) == (Redis(address="keydb:7000"), None)
    assert (settings.storage.storage_class, settings.storage.size, settings.monitoring) == ("fast", "300Gi", True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("replicas: 3", "replicas: unknown key. Did you mean 'redis'"),
        ("name: 9lives", "name: must be up to 47 small letters"),
        ("storage: {size: 10 GB}", "size: must be a whole number with Ki, Mi, Gi or Ti, such as 16Gi"),
        ("gateway: {class_name: istio}", "ingress: leave it out, since there is a gateway"),
        ("api_server_ports: [0]", r"api_server_ports\[0\]: must be greater than or equal to 1, got 0"),
        ("api_server_ports: [65536]", r"api_server_ports\[0\]: must be less than or equal to 65535"),
        ("api_server_ports: []", "api_server_ports: needs at least 1 entry"),
        (
            "pull_env: {HTTPS_PROXY: 'http://me:pw@proxy:99999'}",
            r"HTTPS_PROXY: a URL .* http://proxy\.example\.com:3128",
        ),
        (
            "pull_env: {HF_TOKEN: abc}",
            r"pull_env\.HF_TOKEN: looks like a secret, .* pull_secret_env lists with its port",
        ),
        ("pull_env: {PIP_INDEX_URL: 'https://me:pw@index/simple'}", "PIP_INDEX_URL: looks like a secret"),
        ("namespace: a.b", "namespace: must be up to 63 small letters, digits and '-'"),
        ("ray_token_secret: Token", "ray_token_secret: must be up to 253 small letters"),
        ("image_pull_secret: a_b", "image_pull_secret: must be up to 253 small letters"),
        ("image: ''", "image: must match"),
        ("ingress: {host: 'https://a.example.com'}", "host: must be a host name in small letters without scheme"),
        ("ingress: {host: a.example.com:443}", "host: must be a host name in small letters without scheme"),
        ("ingress: {tls_secret: a_b}", "tls_secret: must be up to 253"),
        ("redis: {address: 'redis:0'}", "address: the port must be 1 to 65535, got 0"),
        ("redis: {address: redis}", "address: must match"),
        ("gpu_products: {L4: ['NVIDIA L4']}", "gpu_products: 'NVIDIA L4' is not the value of a node label"),
        ("pull_env: {A B: c}", "pull_env"),
        (
            "ingress: null\ngateway: {class_name: istio, step_size_percent: 60}",
            r"gateway\.step_size_percent: must be at most max_surge_percent \(50\), got 60",
        ),
        ("ray_dashboard: {prometheus: 'prometheus:9090'}", "prometheus: must be a URL such as http://prometheus"),
        ("ray_dashboard: {prometheus: 'http://prometheus:99999'}", "prometheus: must be a URL such as http://"),
        ("ray_dashboard: {prometheus: 'http://me:pw@prometheus'}", "prometheus: looks like a secret"),
        ("monitoring_labels: {release: a b}", r"monitoring_labels\.release: 'a b' is not a label of Kubernetes"),
        ("secret_env: [A=B]", r"secret_env\[0\]: must match"),
        ("- a", "must be a mapping of settings, got a list."),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        read(PAPER, path)


def test_names_that_kubernetes_takes_are_settings(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(
        f"namespace: 1{'a' * 62}\nray_token_secret: ray.token\nhub_token_secret: {'a' * 253}\n"
        "ingress: {host: '*.example.com'}\n"
    )
    settings = read(PAPER, path)
    assert (len(settings.namespace), settings.ray_token_secret) == (63, "ray.token")
    assert settings.ingress
    assert settings.ingress.host == "*.example.com"
