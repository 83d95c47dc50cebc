"""Where captured events go: a local endpoint that is up, one that is down, and one that accepts and never answers.

`python -m benchmarks.endpoint` is the process behind `up` (a small HTTP server that keeps every body) and `hole`. Owns
counting what really arrived. Must never run inside a process that is measured.
"""

import contextlib
import gzip
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final

from benchmarks.child import ROOT, ChildError

MODES: Final = ("up", "down", "hole")
SETTLE_S: Final = 0.3
SETTLE_MAX_S: Final = 3.0


class _Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bodies: ClassVar[list[tuple[str, str, bytes]]] = []
    lock: ClassVar[threading.Lock] = threading.Lock()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # its sender was ended in the middle of it: it did not arrive
            self.close_connection = True
            return
        with self.lock:
            self.bodies.append((self.headers.get("Content-Type", ""), self.headers.get("Content-Encoding", ""), body))
        self._answer(b"{}")

    def do_GET(self) -> None:
        with self.lock:
            if self.path == "/taken":
                taken, self.bodies[:] = list(self.bodies), []
                self._answer(json.dumps(sum(_event_count(*one) for one in taken)).encode())
            else:
                self._answer(str(len(self.bodies)).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


def _event_count(content_type: str, encoding: str, body: bytes) -> int:
    """Events in one body, whichever peer sent it."""
    if encoding == "gzip" or body[:2] == b"\x1f\x8b":
        body = gzip.decompress(body)
    if "protobuf" in content_type:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        request = ExportLogsServiceRequest.FromString(body)
        return sum(len(scope.log_records) for resource in request.resource_logs for scope in resource.scope_logs)
    parsed = json.loads(body)
    return len(parsed.get("batch") or parsed.get("data") or ())


class Endpoint:
    """A running endpoint: `port` to send to, `taken()` for what arrived since the last call."""

    def __init__(self, mode: str, port: int, process: "subprocess.Popen[str] | None") -> None:
        self.mode = mode
        self.port = port
        self._process = process

    def taken(self) -> int:
        """Events that arrived, once nothing more does; they are counted once. 0 for an endpoint that keeps nothing."""
        if self.mode != "up":
            return 0
        seen, quiet_since, deadline = -1, time.monotonic(), time.monotonic() + SETTLE_MAX_S
        while time.monotonic() < deadline:
            now = int(self._get("/bodies"))
            if now != seen:
                seen, quiet_since = now, time.monotonic()
            elif time.monotonic() - quiet_since > SETTLE_S:
                break
            time.sleep(0.02)
        return int(self._get("/taken"))

    def close(self) -> None:
        """End the process behind it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())


@contextlib.contextmanager
def endpoint(mode: str) -> Iterator[Endpoint]:
    """An endpoint of that mode for the length of a `with`."""
    if mode == "down":
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, never listening: connections are refused and nobody else gets the port
            yield Endpoint(mode, int(taken.getsockname()[1]), None)
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.endpoint", mode], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    found = Endpoint(mode, 0, process)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ChildError(f"the endpoint did not start: {process.stderr.read() if process.stderr else ''}")
        found.port = int(line)
        yield found
    finally:
        found.close()


def _serve(mode: str) -> None:
    if mode == "up":
        ThreadingHTTPServer.request_queue_size = 128
        ThreadingHTTPServer.daemon_threads = True
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
        print(server.server_address[1], flush=True)
        server.serve_forever()
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    held = []
    while True:
        held.append(listener.accept())


if __name__ == "__main__":
    _serve(sys.argv[1])
