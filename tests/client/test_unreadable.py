"""What a server answers and no device can read costs the call, and nothing that stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from reflexarc.channel import Channel
from reflexarc.tls import Trust
from reflexarc_core.errors import TransportError
from reflexarc_proto.v1 import artifact_service_pb2 as messages
from reflexarc_proto.v1.artifact_service_pb2_grpc import ArtifactServiceStub

CALLS = 40


class Nonsense(grpc.GenericRpcHandler):
    """A server whose every streamed response is no message."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_stream_rpc_method_handler(lambda *_: iter((b"\xff\xff",)))


@pytest.fixture
def channel() -> Iterator[Channel]:
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Nonsense()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    made = Channel(f"127.0.0.1:{port}", trust=Trust(insecure=True))
    yield made
    made.close()
    server.stop(0).wait()


def calls_kept() -> int:
    """Calls that gRPC still holds in this process."""
    gc.collect()
    return sum(type(one).__name__ == "_RPCState" for one in gc.get_objects())


def test_streams_that_cannot_be_read_are_let_go(channel: Channel) -> None:
    def ask() -> None:
        with pytest.raises(TransportError, match="cannot be read"):
            channel.stream(ArtifactServiceStub, "FetchFile", messages.FetchFileRequest(sha256="a"), 10.0, 100)

    ask()
    kept = calls_kept()
    for _ in range(CALLS):
        ask()
    assert calls_kept() - kept < CALLS // 2
