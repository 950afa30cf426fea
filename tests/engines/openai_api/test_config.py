"""What may be written about an endpoint, and that no secret ever is, or is repeated."""

from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.config import AppConfig
from serve_app.config.explain import explain
from serve_app.engines import OpenAiApiConfig, load_engine
from serve_app.errors import EngineError

KEY = "sk-very-secret"
LOCAL = {"base_url": "http://127.0.0.1:8001/v1", "keyless": True}


def app(signal: str = "rougeL", **values: Any) -> dict[str, Any]:
    """Return a configuration with one local member, and a member and a target behind endpoints."""
    api = {"engine": "openai_api", "model": "big"}
    return {
        "models": {
            "here": {"engine": "replay", "default": "Paris"},
            "there": api | LOCAL | values,
            "target": api | {"logprobs": True, "input_usd": 2.5},
        },
        "signals": {
            "sure": {"kind": "chow_avg", "zscores": {name: {"mean": 0, "std": 1} for name in ("here", "there")}},
            "both": {"kind": "blend", "agreement": "rougeL", "confidence": "sure"},
        },
        "cascades": {
            "default": {
                "tiers": [{"models": ["here", "there"], "signal": signal, "threshold": 0.5}, {"models": ["target"]}]
            }
        },
    }


def refused(**values: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        AppConfig.model_validate(app(**values))
    assert KEY not in str(caught.value)
    return explain(caught.value, AppConfig)


HINT = "name an environment variable (api_key_env) or a mounted file (api_key_file)"
NEVER = f"which must not be in a configuration; {HINT}."


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"api_key": KEY}, f"api_key: a key must not be in a configuration; {HINT}."),
        (
            {"api_key_env": KEY},
            "api_key_env: must be the name of an environment variable, in capitals, and not the key itself.",
        ),
        ({"headers": {"authorization": KEY}}, f"headers.authorization: looks like a secret, {NEVER}"),
        ({"headers": {"X-Api-Key": KEY}}, f"headers.X-Api-Key: looks like a secret, {NEVER}"),
        (
            {"base_url": f"https://me:{KEY}@host/v1"},
            f"base_url: cannot have a user, a query or a fragment; for a key, {HINT}.",
        ),
        (
            {"base_url": f"https://host/v1?key={KEY}"},
            f"base_url: cannot have a user, a query or a fragment; for a key, {HINT}.",
        ),
        ({"headers": {"X-Auth": KEY}}, f"headers.X-Auth: looks like a secret, {NEVER}"),
        ({"headers": {"X-Tenant": f"Bearer {KEY}"}}, f"headers.X-Tenant: looks like a secret, {NEVER}"),
        ({"extra_body": {"a": [{"password": KEY}]}}, f"extra_body.a.0.password: looks like a secret, {NEVER}"),
        ({"extra_body": {"note": KEY}}, f"extra_body.note: looks like a secret, {NEVER}"),
        (
            {"api_key_file": KEY, "keyless": False},
            "api_key_file: must be the path of a file that holds the key, and not the key itself.",
        ),
        ({"extra_body": {"n": 2}}, "extra_body.n: the engine sets this itself, or could not read the answer."),
        ({"api_key_file": "/run/key"}, "keyless: excludes api_key_file."),
        ({"api_version": "2024-10-21"}, "keyless: Azure (api_version) always needs a key."),
        ({"base_url": "localhost"}, "base_url: must be a URL with http:// or https:// and a host."),
        (
            {"base_url": "https://api.together.xyz/v1", "keyless": False},
            "base_url: 'api.together.xyz' is not OpenAI's, so set which key goes there: api_key_env, api_key_file, "
            "or keyless: true.",
        ),
    ],
)
def test_refused_with_a_sentence(values: dict[str, Any], sentence: str) -> None:
    assert refused(**values) == [f"models.there.{sentence}"]


@pytest.mark.parametrize("signal", ["sure", "both"])
def test_token_level_signals_need_endpoints_with_logprobs(signal: str) -> None:
    assert refused(signal=signal) == [
        f"cascades.default.tiers[0].signal: '{signal}' needs log-probabilities, and 'there' gives none; "
        "if its endpoint does, set logprobs: true there."
    ]
    config = AppConfig.model_validate(app(signal, logprobs=True))
    assert config.without_logprobs(config.models) == []
    assert AppConfig.model_validate(app()).without_logprobs(["target", "there", "here"]) == ["there"]


async def load(**values: object) -> None:
    engine = await load_engine(OpenAiApiConfig.model_validate({"engine": "openai_api", "model": "big"} | values))
    await engine.close()


async def test_a_missing_key_is_found_at_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    needs = r"^The model 'big' at api\.openai\.com needs a key: "
    with pytest.raises(EngineError, match=needs + r"the environment variable 'OPENAI_API_KEY' is not set\.$"):
        await load()
    monkeypatch.setenv("EMPTY_KEY", " ")
    with pytest.raises(EngineError, match=needs + r"the environment variable 'EMPTY_KEY' is empty\.$"):
        await load(api_key_env="EMPTY_KEY")
    monkeypatch.setenv("ODD_KEY", "sk-a b")
    with pytest.raises(
        EngineError, match=needs + r"the environment variable 'ODD_KEY' must be visible ASCII characters"
    ):
        await load(api_key_env="ODD_KEY")
    missing = tmp_path / "key"
    with pytest.raises(EngineError, match=r"^The key for 'big' could not be read: the file '.*/key': No such file"):
        await load(api_key_file=str(missing))
    missing.write_bytes(b"\xff")
    with pytest.raises(EngineError, match="is not UTF-8 text"):
        await load(api_key_file=str(missing))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    await load()
