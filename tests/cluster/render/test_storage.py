"""The Job that fetches the models."""

import hashlib
from pathlib import Path
from typing import Any

from serve_app.cluster.manifests import Manifest
from serve_app.cluster.render.storage import job_digest
from serve_app.cluster.settings import Settings
from tests.cluster.overlays import LOCAL, rendered_text


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

    first_job = job("hf://a/b/c.gguf")
    assert first_job == job("hf://a/b/c.gguf", name="cascade")
    changes: list[Manifest] = [
        {"image": "other:1"},
        {"pull_env": {"HF_ENDPOINT": "https://hub.example.com"}},
        {"pull_env": {"HF_ENDPOINT": "https://mirror.example.com"}},
        {"hub_token_secret": "other"},
        {"image_pull_secret": "other"},
    ]
    assert len({first_job, job("hf://a/b/d.gguf"), *(job("hf://a/b/c.gguf", **change) for change in changes)}) == 7
    assert first_job == job("hf://a/b/c.gguf", head={"cpus": 8, "memory": "6Gi"})


def test_the_digest_is_of_the_json_that_helm_makes_of_the_pod() -> None:
    pod = {"b": [1, True, None], "a": "\u00e9 <&>\u2028"}
    text = '7203d763{"a":"\u00e9 \\u003c\\u0026\\u003e\\u2028","b":[1,true,null]}'
    assert job_digest("7203d763", pod) == hashlib.sha256(text.encode()).hexdigest()[:8]
