"""A real HTTP server that speaks the hub's API."""

import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.weights.fakes.wheels import sha256

COMMIT = "c" * 40


TOKEN = "hf_secret"


@dataclass
class Hub:
    """What the server holds and was asked; one repository, org/repo, at one commit."""

    endpoint: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    break_at: int | None = None  # cuts the next file off after so many bytes
    reports_digests: bool = True  # as the hub does of large files; of small ones it has git's id


class HubHandler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append(f"{self.command} {path}")
        if path.startswith("/api/models/org/repo/revision/main"):
            siblings = [{"rfilename": name} for name in self.hub.files]
            self._json({"id": "org/repo", "sha": COMMIT, "siblings": siblings})
        elif path == f"/api/models/org/repo/tree/{COMMIT}":
            self._json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": sha256(data)[:40]}
                    for name, data in self.hub.files.items()
                ]
            )
        elif path.startswith(("/org/gated/", "/api/models/org/gated/")):
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                self._file(b"secret weights")
            else:
                self._error(403, "GatedRepo")
        elif "/org/repo/" not in path:
            self._error(404, "RepoNotFound")
        elif "/main" not in path and COMMIT not in path:
            self._error(404, "RevisionNotFound")
        elif (name := path.rpartition("/main/")[2].rpartition(f"/{COMMIT}/")[2]) in self.hub.files:
            self._file(self.hub.files[name])
        else:
            self._error(404, "EntryNotFound")

    def _file(self, data: bytes) -> None:
        byte_range = self.headers.get("Range")
        start = int(byte_range.removeprefix("bytes=").partition("-")[0]) if byte_range else 0
        self.send_response(206 if byte_range else 200)
        if self.hub.reports_digests:
            self.send_header("X-Linked-Etag", f'"{sha256(data)}"')
            self.send_header("ETag", '"of the storage behind"')
        else:
            self.send_header("ETag", f'"{sha256(data)[:40]}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data) - start))
        if byte_range:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.hub.ranges.append(byte_range)
        end, self.hub.break_at = self.hub.break_at, None
        self.wfile.write(data[start:end])

    def _json(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _error(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
