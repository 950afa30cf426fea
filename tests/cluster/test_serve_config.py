"""The serving config as pods need it, and configs that no pod can run."""

from pathlib import Path

import pytest
import yaml

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
    assert values["applications"] == own["applications"]
    assert values["logging_config"] == own["logging_config"]


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
