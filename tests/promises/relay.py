"""A real gRPC server between devices and their server that loses, doubles, reorders and delays what passes, by its own dice.

Owns what happens to one message. Knows bytes only: it neither reads a message nor makes one.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

PUSH = "/reflexarc.v1.EventService/Push"
STREAMS = ("Watch", "FetchFile")
LATE_MAX = 4


class Relay:
    """faults: the share of pushes that something happens to; set it to 0 and the network is well again."""

    def __init__(self, upstream: str, seed: int, faults: float) -> None:
        self.faults = faults
        self.counts: dict[str, int] = {}
        self._draw = random.Random(seed)
        self._lock = threading.Lock()
        self._late: list[tuple[bytes, Any]] = []
        self._channel = grpc.insecure_channel(upstream, options=[("grpc.use_local_subchannel_pool", 1)])
        self._server = grpc.server(ThreadPoolExecutor(4, thread_name_prefix="relay"))
        self._server.add_generic_rpc_handlers((_Any(self._pass),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(0).wait()
        self._channel.close()

    def _pass(self, method: str, content: bytes, context: grpc.ServicerContext) -> bytes:
        fault = self._fault() if method == PUSH else ""
        metadata = [(k, v) for k, v in context.invocation_metadata() or () if k.startswith("reflexarc-")]
        call: Callable[[bytes], bytes] = lambda sent: self._send(method, sent, metadata)  # noqa: E731
        if fault == "request lost":
            context.abort(grpc.StatusCode.UNAVAILABLE, fault)
        if fault == "late":  # it arrives when others have overtaken it; its sender has long given up
            with self._lock:
                self._late.append((content, metadata))
                del self._late[:-LATE_MAX]
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, fault)
        if fault == "overtaken":
            with self._lock:
                late, self._late = self._late, []
            for old, whose in self._draw.sample(late, len(late)):
                try:
                    self._send(method, old, whose)
                except grpc.RpcError:
                    continue
        try:
            answer = call(content)
            if fault == "doubled":
                again = call(content)
                answer = self._draw.choice((answer, again))
        except grpc.RpcError as error:
            context.set_trailing_metadata(error.trailing_metadata() or ())  # type: ignore[attr-defined]
            context.abort(error.code(), error.details())  # type: ignore[attr-defined]
        if fault == "answer lost":
            context.abort(grpc.StatusCode.UNAVAILABLE, fault)
        if fault == "slow":
            threading.Event().wait(self._draw.uniform(0, 0.01))
        return answer

    def _send(self, method: str, content: bytes, metadata: Any) -> bytes:
        answer: bytes = self._channel.unary_unary(method)(content, metadata=metadata, timeout=5)
        return answer

    def _fault(self) -> str:
        with self._lock:
            if self._draw.random() >= self.faults:
                return ""
            kind = self._draw.choice(("request lost", "answer lost", "answer lost", "doubled", "late", "overtaken", "slow"))
            self.counts[kind] = self.counts.get(kind, 0) + 1
            return kind


class _Any(grpc.GenericRpcHandler):
    """Every call that has one message each way; streams are not relayed."""

    def __init__(self, passing: Callable[[str, bytes, grpc.ServicerContext], bytes]) -> None:
        self._passing = passing

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        method = details.method
        if method.rpartition("/")[2] in STREAMS:
            return None
        return grpc.unary_unary_rpc_method_handler(lambda content, context: self._passing(method, content, context))
