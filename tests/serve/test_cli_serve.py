"""`cascade serve` as a user runs it: what it prints, how it ends, what it leaves behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from loadtests.ports import free_port
from serve_app.config.key_file import create_key
from tests.patience import PATIENCE_S
from tests.serve.conftest import REPLAY

pytestmark = pytest.mark.serve


@contextmanager
def cascade_serve(values: dict[str, Any], folder: Path) -> Iterator[subprocess.Popen[str]]:
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    process = subprocess.Popen(
        [sys.executable, "-m", "serve_app.cli", "serve", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A proxy for the outside world must not come between us and ourselves.
        env=os.environ | {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


ARGS = REPLAY["applications"][0]["args"]
ENSEMBLE = {"default": ARGS["cascades"]["default"]}
ALONE = {"alone": {"tiers": [{"models": ["target"]}]}}


def on_port(port: int, cascades: dict[str, Any]) -> dict[str, Any]:
    """Return a config of these cascades and of no model that they do not ask: each takes seconds to start."""
    names = [name for cascade in cascades.values() for tier in cascade["tiers"] for name in tier["models"]]
    args = {"models": {name: ARGS["models"][name] for name in names}, "cascades": cascades}
    application = {"name": "cascade", "import_path": "serve_app.app:build_app", "args": args}
    return deepcopy({"applications": [application], "http_options": {"host": "127.0.0.1", "port": port}})


def processes() -> list[tuple[int, int, str]]:
    """Return session, process and command of every process that runs; zombies are left out."""
    shown = subprocess.run(["ps", "-eo", "sid=,pid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 3) for line in shown.splitlines()]
    return [(int(sid), int(pid), args) for sid, pid, state, args in rows if not state.startswith("Z")]


def left_behind(session: int, before: set[int]) -> list[str]:
    """Return the commands that still run in the session, or of Ray, whose processes may leave that session."""
    return [
        args
        for sid, pid, args in processes()
        if pid not in before and (sid == session or any(name in args for name in ("ray::", "raylet", "gcs_server")))
    ]


def assert_nothing_is_left_behind(session: int, before: set[int]) -> None:
    # Python's own helpers see that their parent is gone a moment later.
    deadline = time.monotonic() + 15
    while left_behind(session, before) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left_behind(session, before) == []


@contextmanager
def streaming(port: int, key: str = "none") -> Iterator[Iterator[str]]:
    """Yield the lines of a stream that has begun and takes ten seconds more."""
    body = {"model": "target", "stream": True, "messages": [{"role": "user", "content": "a few seconds"}]}
    url, headers = f"http://127.0.0.1:{port}/v1/chat/completions", {"x-api-key": key}
    with httpx.stream("POST", url, json=body, headers=headers, timeout=PATIENCE_S, trust_env=False) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
        yield lines


def draining(port: int, cascades: dict[str, Any]) -> dict[str, Any]:
    values = on_port(port, cascades)
    target = values["applications"][0]["args"]["models"]["target"]
    target["answers"] = [{"contains": "a few seconds", "text": "word " * 100, "token_s": 0.1}]
    return values


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    """Send SIGINT to every process of the group, as a terminal does."""
    os.killpg(process.pid, signal.SIGINT)


def read_greeting(process: subprocess.Popen[str], port: int, cascade: str) -> None:
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(11)]
    assert lines[0] == f"Ready at http://127.0.0.1:{port}/v1\n"
    assert lines[1:3] == [f"Page: http://127.0.0.1:{port}/\n", f"API docs: http://127.0.0.1:{port}/docs\n"]
    assert Path(lines[4].removeprefix("Logs: ").rstrip()).is_dir()
    assert f"  curl http://127.0.0.1:{port}/v1/chat/completions" in "".join(lines)
    assert f"ask --url http://127.0.0.1:{port} --model {cascade} " in "".join(lines)
    assert lines[-1] == "Ctrl-C stops it.\n"


def assert_ended(process: subprocess.Popen[str], before: set[int]) -> None:
    """Assert that the process prints no more, exits with 0 and leaves nothing behind."""
    assert process.communicate(timeout=PATIENCE_S) == ("", "")
    assert process.returncode == 0
    assert_nothing_is_left_behind(process.pid, before)


def test_says_where_it_is_finishes_its_streams_and_leaves_nothing_behind(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    before = {pid for _, pid, _ in processes()}
    with cascade_serve(draining(port, ENSEMBLE), tmp_path) as process:
        read_greeting(process, port, "default")
        assert process.stdout is not None
        body = {"model": "default", "messages": [{"role": "user", "content": "Capital of France?"}]}
        response = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=PATIENCE_S, trust_env=False)
        assert response.json()["choices"][0]["message"]["content"] == "The capital is Paris."
        with streaming(port) as lines:
            process.terminate()
            expected = "Waiting up to 60 s for 1 request in progress. Ctrl-C stops at once.\n"
            assert process.stdout.readline() == expected
            body = {"model": "target", "messages": [{"role": "user", "content": "One more?"}]}
            refused = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=PATIENCE_S, trust_env=False)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
            assert refused.json()["error"]["message"].startswith("The server is stopping")
            assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 503
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert_ended(process, before)


def status(port: int, key: str) -> int:
    """Return the status of a request with this key."""
    body = {"model": "target", "messages": [{"role": "user", "content": "One more?"}]}
    url, headers = f"http://127.0.0.1:{port}/v1/chat/completions", {"x-api-key": key}
    return httpx.post(url, json=body, headers=headers, timeout=PATIENCE_S, trust_env=False).status_code


def test_keys_are_asked_for_and_the_second_signal_cuts_the_stream(tmp_path: Path) -> None:
    port, keys = free_port(), tmp_path / "keys.yaml"
    key, limited = create_key(keys, "unlimited"), create_key(keys, "limited", requests_per_minute=1)
    values = draining(port, ALONE)
    # A relative path: replicas look for it where the command was started, as the command itself does.
    values["applications"][0]["args"]["router"] = {"access": {"keys_file": os.path.relpath(keys)}}
    before = {pid for _, pid, _ in processes()}
    with cascade_serve(values, tmp_path) as process:
        read_greeting(process, port, "alone")
        assert process.stdout is not None
        # Of three requests within a minute at least two are in the same one, as it is counted.
        assert status(port, "none") == 401
        assert [status(port, limited) for _ in range(3)].count(429) >= 1
        with streaming(port, key) as lines:
            press_ctrl_c(process)
            assert process.stdout.readline().startswith("Waiting up to 60 s for 1 request")
            press_ctrl_c(process)
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)
        assert_ended(process, before)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with cascade_serve(on_port(port, ALONE), tmp_path) as process:
            _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert err.startswith(f"cascade: Port {port} on 127.0.0.1 cannot be used (Address already in use): ")


def test_a_deployment_that_fails_is_one_sentence(tmp_path: Path) -> None:
    records = tmp_path / "missing.jsonl"
    values = on_port(free_port(), ALONE)
    values["applications"][0]["args"]["models"]["target"]["records"] = str(records)
    started = time.monotonic()
    with cascade_serve(values, tmp_path) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("cascade: The deployment 'target' failed: ")
    assert str(records) in err
    assert "Traceback" not in err
    assert err.count("\n") == 1
    assert time.monotonic() - started < 240


def test_more_gpus_than_there_are_is_refused_with_the_sum(tmp_path: Path) -> None:
    values = on_port(free_port(), ENSEMBLE)
    for model, gpus in (("first", 0.5), ("second", 0.5), ("target", 3)):
        values["applications"][0]["args"]["models"][model]["deployment"] = {"ray_actor_options": {"num_gpus": gpus}}
    with cascade_serve(values, tmp_path) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("cascade: This machine cannot run the config: ")
    assert err.endswith("it needs 4 GPUs (first: 0.5, second: 0.5, target: 3), the cluster has 0.\n")
