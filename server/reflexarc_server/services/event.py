"""EventService."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc

from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_proto.v1.event_service_pb2_grpc import EventServiceServicer
from reflexarc_server.admission import Admission
from reflexarc_server.batch import Batch
from reflexarc_server.clock import Clock
from reflexarc_server.control import Control
from reflexarc_server.down import Down
from reflexarc_server.ingest import Ingest
from reflexarc_server.interceptors import caller, device, postponed_ms
from reflexarc_server.live import Switch


class EventServicer(EventServiceServicer):
    """See the contract."""

    def __init__(self, ingest: Ingest, admission: Admission, down: Down, switch: Switch, control: Control, clock: Clock) -> None:
        self._ingest = ingest
        self._admission = admission
        self._down = down
        self._switch = switch
        self._control = control
        self._clock = clock

    def Push(self, request: Batch, context: grpc.ServicerContext) -> messages.PushResponse:  # type: ignore[override]
        wait_ms = postponed_ms() or self._admission.wait_ms(device(), len(request.seqs))
        if wait_ms:
            return self._ingest.postpone(device(), request.head.incarnation, wait_ms)
        return self._ingest.take(device(), request)

    def Track(self, request: messages.TrackRequest, context: grpc.ServicerContext) -> messages.TrackResponse:
        return self._ingest.track(caller(), request)

    def Pull(self, request: messages.PullRequest, context: grpc.ServicerContext) -> messages.PullResponse:
        return self._down.pull(caller(), request)

    async def Watch(self, request: messages.WatchRequest, context: object) -> AsyncIterator[messages.WatchResponse]:
        heartbeat_ms = int(self._control.heartbeat_s * 1000)
        async for pull in self._control.watch(device()):
            yield messages.WatchResponse(
                paused=self._switch.paused,
                bundle_digest=self._switch.live.digest,
                pull=pull,
                server_time=self._clock.now_ms(),
                heartbeat_ms=heartbeat_ms,
            )
