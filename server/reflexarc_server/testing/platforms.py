"""The platforms' APIs as one local server, for tests of whatever posts: X, Facebook and LinkedIn in shape, nobody behind them.

Owns what was posted and the troubles it was told to have. Must never be reached from outside the loopback.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote

BODY_BYTES_MAX: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Posted:
    """One call that was taken. target: what it answers."""

    platform: str
    target: str
    text: str
    token: str


class LocalPlatform:
    """base: of every platform's API. posted: what stands there now. answers: statuses of the next calls, 0 to take the call and
    close the connection without an answer."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self.answers: list[int] = []
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                platform._answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base: Final = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the port go."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, call: BaseHTTPRequestHandler) -> None:
        length = min(int(call.headers.get("content-length", "0")), BODY_BYTES_MAX)
        body = call.rfile.read(length)
        status = self.answers.pop(0) if self.answers else 201
        if status not in (0, 201):
            self._say(call, status, {"error": "told to"})
            return
        made = self._read(call, body)
        if made is None:
            self._say(call, 400, {"error": "not a call of any platform"})
            return
        if not made.token:
            self._say(call, 401, {"error": "no token"})
            return
        self.posted.append(made)
        if status == 0:
            call.close_connection = True
            return
        made_id = f"{len(self.posted)}00"
        self._say(call, 201, {"data": {"id": made_id}} if made.platform == "twitter" else {"id": made_id})

    def _read(self, call: BaseHTTPRequestHandler, body: bytes) -> Posted | None:
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        path = call.path
        try:
            if path == "/2/tweets":
                given = json.loads(body)
                return Posted("twitter", given["reply"]["in_reply_to_tweet_id"], given["text"], token)
            if path.startswith("/rest/socialActions/") and call.headers.get("linkedin-version"):
                given = json.loads(body)
                assert given["object"] == unquote(path.split("/")[3])
                return Posted("linkedin", given["object"], given["message"]["text"], token)
            if path.endswith("/comments"):
                return Posted("facebook", unquote(path.split("/")[-2]), parse_qs(body.decode())["message"][0], token)
        except (ValueError, KeyError, AssertionError):
            pass
        return None

    def _say(self, call: BaseHTTPRequestHandler, status: int, told: dict[str, Any]) -> None:
        content = json.dumps(told).encode()
        call.send_response(status)
        call.send_header("content-type", "application/json")
        call.send_header("content-length", str(len(content)))
        if status == 429:
            call.send_header("retry-after", "7")
        call.end_headers()
        call.wfile.write(content)
