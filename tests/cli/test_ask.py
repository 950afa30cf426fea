"""`cascade ask`: against a real HTTP server that sends recorded bodies, and on the exact text that people see."""

import copy
import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from rich.console import Console

from serve_app.api.schema import ChatCompletion
from serve_app.cli.ask import Body, ask, render
from serve_app.errors import CascadeError, RequestError, ServerError, UnknownModelError

# Recorded, with numbers rounded: the first three from the quickstart, the others from the same API over replay models.
ACCEPTED: Body = json.loads(r"""
{"id": "chatcmpl-172e51bbe4a94cbd93caaeeea54d6578", "object": "chat.completion", "created": 1795312539,
"model": "default", "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
"message": {"role": "assistant", "content": "The capital of France is Paris.", "refusal": null}}],
"usage": {"prompt_tokens": 83, "completion_tokens": 16, "total_tokens": 99}, "cascade": {"id": "default",
"deferred": false, "answered_by": "qwen-0.5b", "reason": "agreement", "tiers": [{"models": ["qwen-0.5b",
"smollm2-135m"], "signal": "sbert", "similarities": [[1.0, 1.0], [1.0, 1.0]], "output_scores": [1.0, 1.0],
"agreement": 1.0, "threshold": 0.8, "accepted": true, "reason": "agreement", "selected": "qwen-0.5b",
"answers": ["The capital of France is Paris.", "The capital of France is Paris."]}],
"models": {"qwen-0.5b": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 41, "completion_tokens": 8,
"latency_s": 1.76, "first_token_s": 1.001}, "smollm2-135m": {"status": "ok", "finish_reason": "stop",
"prompt_tokens": 42, "completion_tokens": 8, "latency_s": 0.6041, "first_token_s": 0.415}},
"cost": {"flops": 62320000000.0, "usd": 0.0, "device_s": 2.376, "target_only": {"flops": 150900000000.0, "usd": 0.0,
"device_s": 19.43, "estimated": true}}, "timings_s": {"tiers": [1.796], "scoring": 0.02054, "total": 1.796}}}
""")
DEFERRED: Body = json.loads(r"""
{"id": "chatcmpl-9aadef6144b54e11af5fcf9556bdceb1", "object": "chat.completion", "created": 1795312539,
"model": "default", "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
"message": {"role": "assistant", "content": "1. Building walls\n2. Creating floors\n3. Constructing foundations",
"refusal": null}}], "usage": {"prompt_tokens": 124, "completion_tokens": 118, "total_tokens": 242},
"cascade": {"id": "default", "deferred": true, "answered_by": "qwen-1.5b", "reason": "disagreement",
"tiers": [{"models": ["qwen-0.5b", "smollm2-135m"], "signal": "sbert", "similarities": [[1.0, 0.3986], [0.3986, 1.0]],
"output_scores": [0.3986, 0.3986], "agreement": 0.3986, "threshold": 0.95, "accepted": false,
"reason": "disagreement", "selected": "qwen-0.5b",
"answers": ["1. To build a wall\n2. To build a house\n3. To build a castle",
"1. A building's foundation: A brick is a building's foundation."]}, {"models": ["qwen-1.5b"],
"answers": ["1. Building walls\n2. Creating floors\n3. Constructing foundations"]}],
"models": {"qwen-0.5b": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 41, "completion_tokens": 21,
"latency_s": 2.535, "first_token_s": 0.7829}, "smollm2-135m": {"status": "ok", "finish_reason": "stop",
"prompt_tokens": 42, "completion_tokens": 81, "latency_s": 1.282, "first_token_s": 0.3154},
"qwen-1.5b": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 41, "completion_tokens": 16,
"latency_s": 13.49, "first_token_s": 1.734}}, "cost": {"flops": 275000000000.0, "usd": 0.0, "device_s": 17.46,
"target_only": {"flops": 175600000000.0, "usd": 0.0, "device_s": 13.49, "estimated": false}},
"timings_s": {"tiers": [2.704, 13.5], "scoring": 0.1615, "total": 16.21}}}
""")
SINGLE: Body = json.loads(r"""
{"id": "chatcmpl-a013169a3c2147ac80f815323596d4aa", "object": "chat.completion", "created": 1795312539,
"model": "qwen-0.5b", "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
"message": {"role": "assistant", "content": "The capital of France is Paris.", "refusal": null}}],
"usage": {"prompt_tokens": 36, "completion_tokens": 8, "total_tokens": 44}, "cascade": {"id": "qwen-0.5b",
"deferred": false, "answered_by": "qwen-0.5b", "reason": "last_tier", "tiers": [{"models": ["qwen-0.5b"],
"answers": ["The capital of France is Paris."]}], "models": {"qwen-0.5b": {"status": "ok", "finish_reason": "stop",
"prompt_tokens": 36, "completion_tokens": 8, "latency_s": 1.649, "first_token_s": 1.02}},
"cost": {"flops": 43470000000.0, "usd": 0.0, "device_s": 1.649, "target_only": {"flops": 43470000000.0, "usd": 0.0,
"device_s": 1.649, "estimated": false}}, "timings_s": {"tiers": [1.657], "scoring": 0.0, "total": 1.657}}}
""")
WOBBLY: Body = json.loads(r"""
{"id": "chatcmpl-26d1a44d13fc4e78b763193e3753a459", "object": "chat.completion", "created": 1795312539,
"model": "wobbly", "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
"message": {"role": "assistant", "content": "Paris is the capital of France.", "refusal": null}}],
"usage": {"prompt_tokens": 18, "completion_tokens": 18, "total_tokens": 36}, "cascade": {"id": "wobbly",
"deferred": false, "answered_by": "small-a", "reason": "agreement", "tiers": [{"models": ["small-a", "broken",
"small-b"], "signal": "rougeL", "similarities": [[1.0, null, 0.4], [null, null, null], [0.4, null, 1.0]],
"output_scores": [0.4, null, 0.4], "agreement": 0.4, "threshold": 0.3, "accepted": true, "reason": "agreement",
"selected": "small-a", "answers": ["Paris is the capital of France.", null,
"The capital is Paris, on the Seine, [bold]the[/bold] largest city of France."]}],
"models": {"small-a": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 6, "completion_tokens": 6,
"latency_s": 0.2697, "first_token_s": 0.1009}, "broken": {"status": "error",
"message": "The engine stopped: out of memory.", "prompt_tokens": 6, "completion_tokens": 0, "latency_s": 2.835e-05},
"small-b": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 6, "completion_tokens": 12, "latency_s": 0.1696,
"first_token_s": 0.05021}}, "cost": {"flops": 28860000000.0, "usd": 0.0, "device_s": 0.4394,
"target_only": {"flops": 168000000000.0, "usd": 0.0, "device_s": 0.3654, "estimated": true}},
"timings_s": {"tiers": [0.2704], "scoring": 0.0004686, "total": 0.2705}}}
""")
THREE: Body = json.loads(r"""
{"id": "chatcmpl-752bc06e9bfe4c79b62d192572221ca3", "object": "chat.completion", "created": 1795312539,
"model": "three", "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null, "message": {"role": "assistant",
"content": "Paris is the capital and largest city of France.\n\nIt lies on the Seine.", "refusal": null}}],
"usage": {"prompt_tokens": 36, "completion_tokens": 45, "total_tokens": 81}, "cascade": {"id": "three",
"deferred": true, "answered_by": "large", "reason": "disagreement", "tiers": [{"models": ["small-a", "small-b",
"small-c"], "signal": "rougeL", "similarities": [[1.0, 0.4, 0.0], [0.4, 1.0, 0.0], [0.0, 0.0, 1.0]],
"output_scores": [0.2, 0.2, 0.0], "agreement": 0.2, "threshold": 0.8, "accepted": false, "reason": "disagreement",
"selected": "small-a", "answers": ["Paris is the capital of France.",
"The capital is Paris, on the Seine, [bold]the[/bold] largest city of France.", "Lyon."]}, {"models": ["mid-a",
"mid-b"], "signal": "bleu", "similarities": [[1.0, 0.07889], [0.09288, 1.0]], "output_scores": [0.08588, 0.08588],
"agreement": 0.08588, "threshold": 0.8, "accepted": false, "reason": "disagreement", "selected": "mid-a",
"answers": ["It is Paris.", "The capital of France is the city of Paris."]}, {"models": ["large"],
"answers": ["Paris is the capital and largest city of France.\n\nIt lies on the Seine."]}],
"models": {"small-a": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 6, "completion_tokens": 6,
"latency_s": 0.2525, "first_token_s": 0.1018}, "small-b": {"status": "ok", "finish_reason": "stop",
"prompt_tokens": 6, "completion_tokens": 12, "latency_s": 0.1625, "first_token_s": 0.05024},
"small-c": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 6, "completion_tokens": 1,
"latency_s": 1.521e-05, "first_token_s": 1.121e-06}, "mid-a": {"status": "ok", "finish_reason": "stop",
"prompt_tokens": 6, "completion_tokens": 3, "latency_s": 0.0446, "first_token_s": 2.414e-06},
"mid-b": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 6, "completion_tokens": 9, "latency_s": 0.1801,
"first_token_s": 1.262e-06}, "large": {"status": "ok", "finish_reason": "stop", "prompt_tokens": 6,
"completion_tokens": 14, "latency_s": 0.8515, "first_token_s": 0.2003}}, "cost": {"flops": 379900000000.0, "usd": 0.0,
"device_s": 1.492, "target_only": {"flops": 280000000000.0, "usd": 0.0, "device_s": 0.8515, "estimated": false}},
"timings_s": {"tiers": [0.2532, 0.1935, 0.8518], "scoring": 0.01353, "total": 1.299}}}
""")


def changed(body: Body, **paths: Any) -> Body:
    """A copy with other values; `tiers__0__reason` is the record's `tiers[0].reason`."""
    body = copy.deepcopy(body)
    for path, value in paths.items():
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("__"))
        place: Any = body["cascade"]
        for step in steps:
            place = place[step]
        place[last] = value
    return body


def shown(body: Body, width: int = 80, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=width, **{"force_terminal": False} | options)
    render(body, console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().split("\n"))


@dataclass
class Canned:
    """A server on this machine that sends one reply to everything, and keeps what it was sent."""

    url: str = ""
    status: int = 200
    kind: str = "application/json"
    body: str = json.dumps(ACCEPTED)
    paths: list[str] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def server() -> Iterator[Canned]:
    canned = Canned()
    canned.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            canned.paths.append(self.path)
            canned.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            canned.hold.wait(10)
            data = canned.body.encode()
            self.send_response(canned.status)
            self.send_header("content-type", canned.kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        canned.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield canned
        canned.hold.set()
        http.shutdown()
        thread.join()


def test_a_question_is_sent_with_the_defaults_of_the_server(server: Canned):
    assert ask(server.url, "Capital?") == ACCEPTED
    assert server.paths == ["/v1/chat/completions"]
    assert server.requests == [
        {
            "model": "default",
            "messages": [{"role": "user", "content": "Capital?"}],
            "cascade": {"include_answers": True},
        }
    ]


def test_every_option_is_sent_and_is_valid_there(server: Canned):
    ask(
        f"{server.url}/v1/",
        "Capital?",
        model="three",
        system="Be short.",
        max_tokens=5,
        temperature=0,
        threshold=0,
        signal="bleu",
        force="defer",
    )
    assert server.paths == ["/v1/chat/completions"]
    sent = ChatCompletion.model_validate(server.requests[0])
    assert (sent.model, sent.max_tokens, sent.temperature) == ("three", 5, 0)
    assert [(message.role, message.content) for message in sent.messages] == [
        ("system", "Be short."),
        ("user", "Capital?"),
    ]
    assert sent.cascade.model_dump() == {"threshold": 0, "signal": "bleu", "force": "defer", "include_answers": True}


def test_a_server_on_this_machine_is_never_asked_through_a_proxy(server: Canned, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert ask(server.url, "Capital?") == ACCEPTED


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def error_body(message: str, **more: Any) -> str:
    error = {"message": message, "type": "server_error", "param": None, "code": None} | more
    return json.dumps({"error": error})


NOT_OURS = "What answers at URL is not a cascade server: it sent HTTP"
REPLIES: dict[str, tuple[int, str, str, type[CascadeError], str]] = {
    "refused": (
        400,
        "application/json",
        error_body("cascade.signal: no signal 'sbrt'. Did you mean 'sbert'?", param="cascade.signal"),
        RequestError,
        "cascade.signal: no signal 'sbrt'. Did you mean 'sbert'?",
    ),
    "unknown model": (
        404,
        "application/json",
        error_body("There is no model 'defalt'.", param="model", code="model_not_found"),
        UnknownModelError,
        "There is no model 'defalt'.",
    ),
    "target failed": (
        502,
        "application/json",
        error_body("The model 'large' failed: out of memory.", code="error"),
        ServerError,
        "The model 'large' failed: out of memory.",
    ),
    "escape codes": (500, "application/json", error_body("\x1b[31mRed."), ServerError, "[31mRed."),
    "Serve without the application": (
        404,
        "text/plain",
        "Path '/v1/chat/completions' not found. Ping http://.../-/routes for available routes.",
        ServerError,
        "The server at URL runs, but serves no cascade there: it may still be starting.",
    ),
    "Serve's own failure": (
        503,
        "text/plain; charset=utf-8",
        "Request dropped\ndue to backpressure.",
        ServerError,
        "The server at URL failed with HTTP 503: Request dropped due to backpressure.",
    ),
    "a failing proxy": (502, "text/html", "<p>Bad", ServerError, "The server at URL failed with HTTP 502."),
    "a web site": (200, "text/html", "<html>Hello</html>", ServerError, f"{NOT_OURS} 200."),
    "moved": (301, "text/html", "", ServerError, f"{NOT_OURS} 301."),
    "another API": (405, "application/json", '{"detail": "Method Not Allowed"}', ServerError, f"{NOT_OURS} 405."),
    "no object": (200, "application/json", "[1]", ServerError, f"{NOT_OURS} 200."),
    "no decision record": (
        200,
        "application/json",
        json.dumps({name: value for name, value in ACCEPTED.items() if name != "cascade"}),
        ServerError,
        f"{NOT_OURS} 200.",
    ),
}


@pytest.mark.parametrize(("status", "kind", "body", "error", "sentence"), REPLIES.values(), ids=REPLIES)
def test_other_replies_become_a_sentence(
    server: Canned, status: int, kind: str, body: str, error: type[CascadeError], sentence: str
):
    server.status, server.kind, server.body = status, kind, body
    with pytest.raises(CascadeError) as raised:
        ask(server.url, "Capital?")
    assert type(raised.value) is error
    assert str(raised.value) == sentence.replace("URL", server.url)


def test_a_refusal_names_the_field(server: Canned):
    server.status, server.body = 400, REPLIES["refused"][2]
    with pytest.raises(RequestError) as raised:
        ask(server.url, "Capital?", signal="sbrt")
    assert raised.value.param == "cascade.signal"


def test_no_server():
    url = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(ServerError) as raised:
        ask(f"{url}/", "Capital?")
    assert str(raised.value) == (
        f"No server answers at {url}. Start one with: make serve (or cascade serve configs/quickstart.yaml), "
        "or name another with --url."
    )


def test_a_server_that_takes_too_long(server: Canned):
    server.hold.clear()
    with pytest.raises(ServerError) as raised:
        ask(server.url, "Capital?", timeout_s=0.2)
    assert str(raised.value) == f"The server at {server.url} did not answer within 0.2 s."


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost:8000", "ftp://127.0.0.1", "http://", "http://a:b", ""])
def test_not_an_address(url: str):
    with pytest.raises(RequestError) as raised:
        ask(url, "Capital?")
    assert str(raised.value).endswith(" is not the address of a server; one looks like http://127.0.0.1:8000.")


@pytest.mark.parametrize(
    ("sent", "why"), [(b"", "Server disconnected without sending a response"), (b"SSH-2.0-OpenSSH\r\n", "")]
)
def test_a_connection_that_breaks(sent: bytes, why: str):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ServerError) as raised:
            ask(url, "Capital?")
        thread.join()
    assert str(raised.value).startswith(f"The connection to {url} broke before there was an answer: {why}")
    assert str(raised.value).endswith(".")


def test_https_where_there_is_none(server: Canned):
    url = server.url.replace("http:", "https:")
    with pytest.raises(ServerError, match=f"^No secure connection to {url}: "):
        ask(url, "Capital?")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_spinner_only_on_a_terminal(
    server: Canned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    ask(server.url, "Capital?")
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    ask(server.url, "Capital?", model="[red]")
    assert "asking [red]" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_nothing_heavy_is_imported():
    script = """if True:
        import sys
        from serve_app.cli.ask import ask
        late = {"httpx", "rich", "ray", "torch", "fastapi", "pydantic"}
        assert not late & set(sys.modules), late & set(sys.modules)
        try:
            ask("http://127.0.0.1:9", "Capital?")
        except Exception:
            pass
        print(sorted(late & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['httpx', 'rich']\n", "")


VIEWS: dict[str, tuple[Body, str]] = {
    "accepted": (
        ACCEPTED,
        """
The capital of France is Paris.

tier    model         answer                           in  out  seconds  status
   1  * qwen-0.5b     The capital of France is Paris.  41    8     1.76  ok
        smollm2-135m  The capital of France is Paris.  42    8     0.60  ok

similarities (sbert)     1     2
1 qwen-0.5b           1.00  1.00
2 smollm2-135m        1.00  1.00

agreement 1.00 >= threshold 0.80 (sbert): accepted, qwen-0.5b answered
tokens  99 (83 in, 16 out)
cost    6.23e10 FLOPs, 41% of the target alone (1.51e11, estimated)
time    1.8 s (scoring: 0.02 s)
""",
    ),
    "deferred": (
        DEFERRED,
        """
1. Building walls
2. Creating floors
3. Constructing foundations

tier    model         answer                            in  out  seconds  status
   1    qwen-0.5b     1. To build a wall 2. To build …  41   21     2.54  ok
        smollm2-135m  1. A building's foundation: A b…  42   81     1.28  ok
   2  * qwen-1.5b     1. Building walls 2. Creating f…  41   16    13.49  ok

similarities (sbert)     1     2
1 qwen-0.5b           1.00  0.40
2 smollm2-135m        0.40  1.00

agreement 0.40 < threshold 0.95 (sbert): deferred to qwen-1.5b
tokens  242 (124 in, 118 out)
cost    2.75e11 FLOPs, 157% of the target alone (1.76e11)
time    16.2 s (tiers: 2.7 s, 13.5 s; scoring: 0.16 s)
""",
    ),
    "a single model": (
        SINGLE,
        """
The capital of France is Paris.

tier    model      answer                           in  out  seconds  status
   1  * qwen-0.5b  The capital of France is Paris.  36    8     1.65  ok

qwen-0.5b was asked alone, so there was nothing to decide
tokens  44 (36 in, 8 out)
cost    4.35e10 FLOPs
time    1.7 s
""",
    ),
    "a failed member": (
        WOBBLY,
        """
Paris is the capital of France.

tier    model    answer                                 in  out  seconds  status
   1  * small-a  Paris is the capital of France.         6    6     0.27  ok
        broken   The engine stopped: out of memory.      6    0     0.00  error
        small-b  The capital is Paris, on the Seine, …   6   12     0.17  ok

similarities (rougeL)     1    2     3  score
1 small-a              1.00  n/a  0.40   0.40
2 broken                n/a  n/a   n/a    n/a
3 small-b              0.40  n/a  1.00   0.40

agreement 0.40 >= threshold 0.30 (rougeL): accepted, small-a answered
tokens  36 (18 in, 18 out)
cost    2.89e10 FLOPs, 17% of the target alone (1.68e11, estimated)
time    0.27 s (scoring: <0.01 s)
""",
    ),
    "three tiers": (
        THREE,
        """
Paris is the capital and largest city of France.

It lies on the Seine.

tier    model    answer                                 in  out  seconds  status
   1    small-a  Paris is the capital of France.         6    6     0.25  ok
        small-b  The capital is Paris, on the Seine, …   6   12     0.16  ok
        small-c  Lyon.                                   6    1     0.00  ok
   2    mid-a    It is Paris.                            6    3     0.04  ok
        mid-b    The capital of France is the city of…   6    9     0.18  ok
   3  * large    Paris is the capital and largest cit…   6   14     0.85  ok

similarities of tier 1 (rougeL)     1     2     3  score
1 small-a                        1.00  0.40  0.00   0.20
2 small-b                        0.40  1.00  0.00   0.20
3 small-c                        0.00  0.00  1.00   0.00

similarities of tier 2 (bleu)     1     2
1 mid-a                        1.00  0.08
2 mid-b                        0.09  1.00

tier 1: agreement 0.20 < threshold 0.80 (rougeL): deferred to mid-a + mid-b
tier 2: agreement 0.09 < threshold 0.80 (bleu): deferred to large
tokens  81 (36 in, 45 out)
cost    3.80e11 FLOPs, 136% of the target alone (2.80e11)
time    1.3 s (tiers: 0.25 s, 0.19 s, 0.85 s; scoring: 0.01 s)
""",
    ),
}


@pytest.mark.parametrize(("body", "text"), VIEWS.values(), ids=VIEWS)
def test_what_people_see_at_80_columns(body: Body, text: str):
    assert shown(body) == text.removeprefix("\n")


LINES: list[tuple[dict[str, Any], str]] = [
    ({"reason": "disagreement", "agreement": 0.7996}, "agreement 0.7996 < threshold 0.8000 (sbert)"),
    ({"reason": "disagreement", "agreement": 0.5, "threshold": 0.825}, "agreement 0.500 < threshold 0.825 (sbert)"),
    ({"reason": "disagreement", "agreement": None}, "no agreement to compare with threshold 0.80 (sbert)"),
    ({"reason": "too_few_answers", "agreement": None}, "too few answers to compare (sbert)"),
    ({"reason": "nothing_to_return", "agreement": None}, "no answer that could be returned (sbert)"),
    ({"reason": "scorer_failed", "agreement": None}, "scoring failed (sbert)"),
    ({"reason": "forced", "agreement": 0.9}, "forced (sbert, agreement 0.90 >= threshold 0.80)"),
    ({"reason": "forced", "agreement": None}, "forced (sbert)"),
    (
        {"reason": "unsure", "signal": "chow_avg", "agreement": -0.7, "threshold": -0.5},
        "confidence -0.70 < threshold -0.50 (chow_avg)",
    ),
    (
        {"reason": "unsure", "signal": "chow_avg", "agreement": None, "threshold": -0.5},
        "no confidence to compare with threshold -0.50 (chow_avg)",
    ),
    ({"reason": "a_new_one", "agreement": 0.5}, "a new one (sbert, agreement 0.50 < threshold 0.80)"),
]


@pytest.mark.parametrize(("tier", "line"), LINES)
def test_why_it_was_deferred(tier: dict[str, Any], line: str):
    body = changed(DEFERRED, tiers__0=DEFERRED["cascade"]["tiers"][0] | {"threshold": 0.8} | tier)
    assert f"\n{line}: deferred to qwen-1.5b\n" in shown(body)


@pytest.mark.parametrize(
    ("tier", "line"),
    [
        ({"agreement": 0.8}, "agreement 0.80 >= threshold 0.80 (sbert)"),
        ({"reason": "forced", "agreement": 0.1}, "forced (sbert, agreement 0.10 < threshold 0.80)"),
        ({"reason": "confident", "agreement": 0.9}, "confidence 0.90 >= threshold 0.80 (sbert)"),
    ],
)
def test_why_it_was_accepted(tier: dict[str, Any], line: str):
    body = changed(ACCEPTED, tiers__0=ACCEPTED["cascade"]["tiers"][0] | tier)
    assert f"\n{line}: accepted, qwen-0.5b answered\n" in shown(body)


def test_a_failed_scorer_says_why():
    body = changed(
        DEFERRED,
        tiers__0__similarities=None,
        tiers__0__agreement=None,
        tiers__0__reason="scorer_failed",
        tiers__0__scorer_error="There is no signal 'sbert'.",
    )
    text = shown(body)
    assert "\nscoring failed (sbert): deferred to qwen-1.5b\nThere is no signal 'sbert'.\n" in text
    assert "similarities" not in text


def test_a_member_that_stands_in_for_the_target():
    failed = {"status": "error", "message": "It stopped.", "prompt_tokens": 41, "completion_tokens": 0, "latency_s": 1}
    body = changed(
        DEFERRED,
        answered_by="qwen-0.5b",
        tiers__1__answers=[None],
        replaced={"model": "qwen-1.5b", "kind": "error", "message": "It stopped."},
    )
    body["cascade"]["models"]["qwen-1.5b"] = failed
    text = shown(body)
    assert "   1  * qwen-0.5b " in text
    assert "   2    qwen-1.5b     It stopped. " in text
    assert "\nqwen-1.5b failed, so the best member answer stands in, by qwen-0.5b\n" in text


COSTS: list[tuple[dict[str, Any], str]] = [
    ({}, "cost    6.23e10 FLOPs, 41% of the target alone (1.51e11, estimated)\ntime"),
    ({"cost__estimated": True}, "cost    about 6.23e10 FLOPs, 41% of the target alone (1.51e11, estimated)\ntime"),
    ({"cost__target_only__flops": None}, "cost    6.23e10 FLOPs\ntime"),
    ({"cost__target_only__flops": 6.232e13}, "FLOPs, <1% of the target alone (6.23e13, estimated)\ntime"),
    (
        {"cost__flops": None, "cost__usd": 0.0123456, "cost__target_only__usd": 0.02},
        "cost    FLOPs unknown: the config does not give every model's parameters\n"
        "        $0.012, 62% of the target alone ($0.020, estimated)\ntime",
    ),
    (
        {"cost__target_only__usd": 0.000075},
        "(1.51e11, estimated)\n        $0.00, 0% of the target alone ($0.000075, estimated)\ntime",
    ),
    ({"cost__usd": 12.5}, "(1.51e11, estimated)\n        $12.50\ntime"),
]


@pytest.mark.parametrize(("changes", "text"), COSTS)
def test_costs(changes: dict[str, Any], text: str):
    assert text in shown(changed(ACCEPTED, **changes))


def test_answers_are_shown_as_they_are():
    answer = "Look: [red]not red[/red] :smile:\n\n    indented\t`code`\x1b[31m\x07\r\nlast " + "long " * 30
    body = changed(ACCEPTED, tiers__0__answers=[answer, None])
    body["choices"][0]["message"]["content"] = answer
    piped = shown(body)
    long = "last " + ("long " * 30).rstrip()
    assert piped.startswith(f"Look: [red]not red[/red] :smile:\n\n    indented    `code`[31m\n{long}\n")
    assert "   1  * qwen-0.5b     Look: [red]not red[/red] :smile…  41 " in piped
    on_screen = shown(body, force_terminal=True, color_system=None)
    assert max(map(len, on_screen.split("\n"))) <= 80
    assert "\x1b[31m" not in on_screen


def test_answers_that_are_empty_or_cut_off():
    body = changed(ACCEPTED, tiers__0__answers=[" \n", ""])
    body["choices"][0]["message"]["content"] = ""
    assert shown(body).startswith("(an empty answer)\n\n")
    assert "   1  * qwen-0.5b     (empty)  41 " in shown(body)
    body["choices"][0] |= {"finish_reason": "length", "message": {"role": "assistant", "content": "Once upon"}}
    assert shown(body).startswith("Once upon\n(cut off at the limit of tokens)\n\n")


def test_tool_calls_are_shown():
    call = {"id": "1", "type": "function", "function": {"name": "book", "arguments": '{"people": 2}'}}
    body = copy.deepcopy(SINGLE)
    body["choices"][0]["message"] |= {"content": None, "tool_calls": [call]}
    body["cascade"]["tiers"][0] |= {"answers": [""], "tool_calls": [[call["function"]]]}
    lines = shown(body).splitlines()
    assert lines[0] == 'book({"people": 2})'
    assert lines[3].startswith('   1  * qwen-0.5b  book({"people": 2})')


def test_a_record_without_answers_is_shown_too():
    tiers = [{name: value for name, value in tier.items() if name != "answers"} for tier in THREE["cascade"]["tiers"]]
    assert "   3  * large             6   14     0.85  ok\n" in shown(changed(THREE, tiers=tiers))


@pytest.mark.parametrize("width", [30, 40, 60, 120, 200])
@pytest.mark.parametrize("body", [ACCEPTED, DEFERRED, SINGLE, WOBBLY, THREE])
def test_every_width_fits(body: Body, width: int):
    body = copy.deepcopy(body)
    body["choices"][0]["message"]["content"] = "Paris."
    assert max(map(len, shown(body, width).split("\n"))) <= width


def test_colours_only_on_a_terminal_that_wants_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    options = {"force_terminal": True, "color_system": "standard"}
    assert "\x1b[32magreement 1.00" in shown(ACCEPTED, **options)
    assert "\x1b[33magreement 0.40" in shown(DEFERRED, **options)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in shown(DEFERRED, **options)
    assert "\x1b" not in shown(DEFERRED)
