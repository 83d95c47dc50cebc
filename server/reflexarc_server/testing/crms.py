"""HubSpot and Salesforce on the loopback: what their client packages need of them to write records, and their troubles.

Owns as much of their behaviour as the adapters rest on: credentials, upsert by an id, the answers. Never part of a running
server.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote


class _Local:
    """records: by id, as they are now. writes: (id, fields) of each write that was taken. on_write: looks on.

    answers: (status, headers, body) of the next calls, one each, in place of their own. is_down: 503 to everything.
    lose_answers: take the write, then 500.
    """

    def __init__(self, tls: tuple[str, str] | None = None) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.writes: list[tuple[str, dict[str, Any]]] = []
        self.calls = 0
        self.answers: list[tuple[int, dict[str, str], Any]] = []
        self.is_down = False
        self.lose_answers = False
        self.on_write: Callable[[str, dict[str, Any]], None] = lambda record_id, fields: None
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                content = self.rfile.read(int(self.headers.get("content-length") or 0))
                with outer._lock:
                    status, headers, said = outer._answer(self.command, self.path, dict(self.headers), content)
                body = b"" if said is None else json.dumps(said).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = _any

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, method: str, path: str, headers: dict[str, str], content: bytes) -> tuple[int, dict[str, str], Any]:
        self.calls += 1
        if self.answers:
            return self.answers.pop(0)
        if self.is_down:
            return 503, {}, [{"errorCode": "SERVER_UNAVAILABLE", "message": "down"}]
        return self._called(method, path, {name.lower(): value for name, value in headers.items()}, content)

    def _called(self, method: str, path: str, headers: dict[str, str], content: bytes) -> tuple[int, dict[str, str], Any]:
        raise NotImplementedError

    def _write(self, record_id: str, fields: dict[str, Any]) -> bool:
        """Whether it is a new record."""
        is_new = record_id not in self.records
        self.records.setdefault(record_id, {}).update(fields)
        self.writes.append((record_id, fields))
        self.on_write(record_id, fields)
        return is_new


class LocalHubSpot(_Local):
    """Contacts by e-mail. token: what an account's private app would have."""

    token = "pat-local"

    def _called(self, method: str, path: str, headers: dict[str, str], content: bytes) -> tuple[int, dict[str, str], Any]:
        if headers.get("authorization") != f"Bearer {self.token}":
            return 401, {}, {"category": "INVALID_AUTHENTICATION", "message": "no"}
        if method != "POST" or not path.endswith("/contacts/batch/upsert"):
            return 404, {}, {"category": "OBJECT_NOT_FOUND"}
        results = []
        for each in json.loads(content)["inputs"]:
            if "@" not in each["id"]:
                return 400, {}, {"category": "VALIDATION_ERROR", "message": each["id"]}
            is_new = self._write(each["id"].lower(), each["properties"])
            now = "2026-01-01T00:00:00Z"
            results.append({
                "id": each["id"], "properties": each["properties"], "createdAt": now, "updatedAt": now, "archived": False,
                "new": is_new,
            })  # fmt: skip
        if self.lose_answers:
            return 500, {}, {"category": "INTERNAL"}
        return 200, {}, {
            "status": "COMPLETE", "results": results, "startedAt": "2026-01-01T00:00:00Z", "completedAt": "2026-01-01T00:00:00Z",
        }  # fmt: skip


class LocalSalesforce(_Local):
    """Records by an external id. client: (id, secret) of a connected app. Sessions end when `expire` is called."""

    client = ("app", "s3cret")

    def __init__(self, tls: tuple[str, str] | None = None) -> None:
        self.sessions: list[str] = []
        super().__init__(tls)

    def expire(self) -> None:
        """End every session."""
        self.sessions.append("")

    def _called(self, method: str, path: str, headers: dict[str, str], content: bytes) -> tuple[int, dict[str, str], Any]:
        if path == "/services/oauth2/token":
            given = {name: values[0] for name, values in parse_qs(content.decode()).items()}
            if (given.get("client_id"), given.get("client_secret")) != self.client:
                return 400, {}, {"error": "invalid_client"}
            self.sessions.append(f"session-{len(self.sessions)}")
            return 200, {}, {"access_token": self.sessions[-1], "instance_url": self.url, "token_type": "Bearer"}
        if not self.sessions or headers.get("authorization") != f"Bearer {self.sessions[-1]}":
            return 401, {}, [{"errorCode": "INVALID_SESSION_ID", "message": "over"}]
        steps = path.split("/")
        if method != "PATCH" or "sobjects" not in steps or len(steps) != 8:
            return 404, {}, [{"errorCode": "NOT_FOUND", "message": "no"}]
        fields = json.loads(content)
        if steps[6] in fields:
            return 400, {}, [{"errorCode": "INVALID_FIELD", "message": "the external id stands in the body"}]
        if steps[5] == "Lead" and not fields.get("LastName"):
            return 400, {}, [{"errorCode": "REQUIRED_FIELD_MISSING", "message": "LastName"}]
        is_new = self._write(unquote(steps[7]), fields)
        if self.lose_answers:
            return 500, {}, [{"errorCode": "UNKNOWN_EXCEPTION", "message": "no"}]
        return 201 if is_new else 200, {}, {"id": "00Q000000000001", "success": True, "created": is_new, "errors": []}
