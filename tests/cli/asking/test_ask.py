"""`cascade ask`: against a real HTTP server that sends recorded bodies."""

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

from serve_app.api.chat.schema import ChatCompletion
from serve_app.cli.asking.ask import ask
from serve_app.errors import CascadeError, RequestError, ServerError, UnknownModelError, UsageError
from tests.cli.asking.responses import ACCEPTED
from tests.cli.in_process import cascade


@dataclass
class Canned:
    """A server on this machine that sends one reply to everything, and keeps what it was sent."""

    url: str = ""
    status: int = 200
    kind: str = "application/json"
    body: str = json.dumps(ACCEPTED)
    paths: list[str] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def server() -> Iterator[Canned]:
    canned = Canned()
    canned.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            canned.paths.append(self.path)
            canned.keys.append(self.headers["authorization"])
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


def test_the_key_of_the_environment_is_sent(server: Canned, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CASCADE_API_KEY", raising=False)
    ask(server.url, "Capital?")
    monkeypatch.setenv("CASCADE_API_KEY", "sk-cascade-1")
    ask(server.url, "Capital?")
    assert server.keys == [None, "Bearer sk-cascade-1"]


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("body", "end"),
    [
        (json.dumps({"error": {"message": "Who is it?"}}), r" The server says: Who is it\?$"),
        (json.dumps({"error": {"message": 1}}), "$"),
        ("<html>", "$"),
    ],
)
def test_a_refusal_without_a_key_says_where_it_can_be_put(
    server: Canned, status: int, body: str, end: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("CASCADE_API_KEY", raising=False)
    server.status, server.body = status, body
    refused = rf"^{server.url} refused the request \(HTTP {status}\): no API key was sent; set CASCADE_API_KEY\."
    with pytest.raises(RequestError, match=refused + end):
        ask(server.url, "Capital?")


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
    options = sent.cascade.model_dump(exclude_unset=True)
    assert options == {"threshold": 0, "signal": "bleu", "force": "defer", "include_answers": True}


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


NOT_OURS = "URL is not a cascade server: /v1/chat/completions sent HTTP"
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
    "nested JSON": (200, "application/json", "[" * 100_000, ServerError, f"{NOT_OURS} 200."),
    "half a pair": (500, "application/json", error_body("No \ud83d."), ServerError, "No \ufffd."),
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
        f"No server answers at {url}. Start one with: cascade serve (in a clone: make serve), "
        "or name another with --url."
    )


def test_a_server_that_takes_too_long(server: Canned):
    server.hold.clear()
    with pytest.raises(ServerError) as raised:
        ask(server.url, "Capital?", timeout_s=0.2)
    assert str(raised.value) == f"The server at {server.url} did not answer within 0.2 s."


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost:8000", "ftp://127.0.0.1", "http://", "http://a:b", ""])
def test_not_an_address(url: str):
    with pytest.raises(UsageError) as raised:
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
        from serve_app.cli.asking.ask import ask
        late = {"httpx", "rich", "ray", "torch", "fastapi", "pydantic"}
        assert not late & set(sys.modules), late & set(sys.modules)
        try:
            ask("http://127.0.0.1:9", "Capital?")
        except Exception:
            pass
        print(sorted(late & set(sys.modules)))
    """
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("['httpx', 'rich']\n", "")


def test_a_question_on_standard_input(server: Canned):
    result = cascade("ask", "-", "--url", server.url, stdin="Capital\nof France?\n")
    assert result.exit_code == 0
    assert server.requests[0]["messages"] == [{"role": "user", "content": "Capital\nof France?"}]
