"""What a release is recorded with, run inside that release: `python recorder.py OUT` with its rooms on PYTHONPATH.

Uses only what has been there since the first capability. Writes the device's store with records that were never sent, the
server's store, and every call between the two as bytes: a relay that knows no message stands between them.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

EVENTS = 40
OFFLINE = 15
UNARY = ("EventService/Push", "EventService/Track", "EventService/Pull")


class Relay(grpc.GenericRpcHandler):
    """Hands calls on as bytes and keeps them."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.calls: list[dict[str, str]] = []
        self._lock = threading.Lock()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = details.method
        forward = self.channel.unary_unary(method)

        def call(request: bytes, context: grpc.ServicerContext) -> bytes:
            metadata = [(key, value) for key, value in context.invocation_metadata() if key.startswith("reflexarc-")]
            answer = forward(request, metadata=metadata, timeout=20)
            if method.endswith(UNARY):
                kept = {"request": base64.b64encode(request).decode(), "answer": base64.b64encode(answer).decode()}
                with self._lock:
                    self.calls.append({"method": method, **kept})
            return answer

        return grpc.unary_unary_rpc_method_handler(call)


def main(out: Path) -> None:
    """Record everything into `out`."""
    from reflexarc import Client
    from reflexarc.backend import Backend
    from reflexarc.definitions import load_catalog
    from reflexarc_core.event import Event
    from reflexarc_server.app import start_server

    server = start_server(out / "server", "127.0.0.1:0", load_catalog(None))
    relay = Relay(server.address)
    between = grpc.server(ThreadPoolExecutor(4), handlers=[relay])
    port = between.add_insecure_port("127.0.0.1:0")
    between.start()
    device = out / "device"
    client = Client(device, server=f"127.0.0.1:{port}")
    client.identify("ann")
    for number in range(EVENTS):
        assert client.track("page_view", {"page_url": f"/{number}", "title": "skew", "time_on_page": 1.5}).accepted
    client.track("support_ticket", {"ticket_id": "t1"})
    assert client.flush(20).delivered
    client.close()
    backend = Backend(f"127.0.0.1:{port}")
    properties = {"page_url": "/from-a-service"}
    backend.track([Event("service-1", "page_view", "known:ann", 1_700_000_000_000, properties)])
    backend.close()
    client = Client(device)
    for number in range(OFFLINE):
        assert client.track("page_view", {"page_url": f"/offline-{number}"}).accepted
    client.close()
    between.stop(1).wait()
    relay.channel.close()
    server.stop()
    (out / "calls.json").write_text(json.dumps(relay.calls, indent=0))
    for unneeded in ("ballast", "owner.lock"):
        (device / unneeded).unlink(missing_ok=True)
    shutil.rmtree(device / "bundles", ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
