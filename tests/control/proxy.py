"""A proxy that passes calls on as bytes, but knows no control stream: it refuses Watch, or swallows it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

WATCH = "/reflexarc.v1.EventService/Watch"


class Proxy(grpc.GenericRpcHandler):
    """In front of `server`. swallow: Watch is taken and never answered, instead of UNIMPLEMENTED."""

    def __init__(self, server: str, *, swallow: bool) -> None:
        self._channel = grpc.insecure_channel(server)
        self._swallow = swallow
        self._ended = threading.Event()
        self.watch_count = 0
        self._grpc = grpc.server(ThreadPoolExecutor(8), handlers=(self,))
        self.address = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._grpc.start()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method
        if method == WATCH:
            self.watch_count += 1
            return grpc.unary_stream_rpc_method_handler(self._never) if self._swallow else None

        def passed_on(request: bytes, context: grpc.ServicerContext) -> bytes:
            metadata = [(key, value) for key, value in context.invocation_metadata() if key.startswith("reflexarc-")]
            try:
                answer: bytes = self._channel.unary_unary(method)(request, metadata=metadata, timeout=10)
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())  # type: ignore[attr-defined]  # a call that failed is both
            return answer

        return grpc.unary_unary_rpc_method_handler(passed_on)

    def _never(self, request: bytes, context: grpc.ServicerContext) -> Any:
        context.add_callback(self._ended.set)
        self._ended.wait(60)
        return iter(())

    def stop(self) -> None:
        self._ended.set()
        self._grpc.stop(0).wait()
        self._channel.close()
