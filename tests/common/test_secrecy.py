"""What is taken for a secret, and what is not."""

import pytest

from serve_app.common.secrecy import holds_secret, names_secret, secret_paths, without_secrets

SECRET = """
api_key HF_TOKEN X-Auth-Token x-auth Authorization ssl_keyfile_password clientSecret APIKey apikey access_token
AWS_SECRET_ACCESS_KEY WANDB_API_KEY Proxy-Authorization Cookie DB_PASS
"""
OTHER = """
max_tokens stop_token_ids TOKENIZERS_PARALLELISM VLLM_CPU_KVCACHE_SPACE ssl_keyfile api_key_env api_key_file
prompt_cache_key AWS_ACCESS_KEY_ID context_tokens keyless keepalive_s stop_token X-Tenant monkey author pass_through
"""


def test_names_of_secrets() -> None:
    assert [name for name in SECRET.split() if not names_secret(name)] == []
    assert [name for name in ["", *OTHER.split()] if names_secret(name)] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key sk-proj-0123456789 here", "key (hidden) here"),
        ("hf_abcdefghij", "(hidden)"),
        ("Bearer abc.def.ghi", "Bearer (hidden)"),
        ("http://me:pw@collector:4318", "http://(hidden)@collector:4318"),
        ("eyJhbGciOi.eyJzdWIi.c2ln", "(hidden)"),
    ],
)
def test_texts_with_secrets(text: str, shown: str) -> None:
    assert holds_secret(text)
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    ["hf://org/repo@main", "http://collector:4318", "task-based-learning-x", "a bearer of news", "pypi://m==1/m.gguf"],
)
def test_texts_without_secrets(text: str) -> None:
    assert without_secrets(text) == text


def test_paths_of_secrets() -> None:
    values = {"a": [{"token": "x"}, "sk-0123456789"], "b": {"api_key_env": "KEY", "token": "", "key": 3}, "keys": ["x"]}
    assert list(secret_paths(values)) == [("a", 0, "token"), ("a", 1)]
    assert list(secret_paths({"password": ["x"]})) == [("password", 0)]
