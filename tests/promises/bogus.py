"""Promise 15: whatever a server answers, nothing that was not sent is deleted, memory stays bounded, and the device goes on.

A real gRPC server answers nonsense: numbers of the future and the past, verdicts about nothing, new numberings without end,
pauses of centuries, bytes that are no message, statuses with details that are none. The device keeps no history, so that
whatever it believes is acknowledged goes at once.
"""

from __future__ import annotations

import logging
import random
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from reflexarc import Client
from reflexarc.sender import Sender
from reflexarc.transport import Transport
from reflexarc_core.errors import ReflexArcError
from reflexarc_core.record import EventInput
from reflexarc_edge.upload import UploadBatch
from reflexarc_proto.v1 import event_service_pb2 as messages
from tests.promises import kit
from tests.promises.outcome import Outcome

ANSWERS_PER_STORE = 2_500
NUMBERS = (0, 1, -1, 2, 7, 2**31, 2**62, 2**63 - 1, -(2**63))
KINDS = ("numbers", "numbers", "numbers", "near", "rekey", "verdicts", "many verdicts", "garbage", "status")
MEMORY_MIB_MAX = 64
CONFIG = {"batch_records_max": 8, "history_rows": 0, "store_bytes_max": 32 * kit.MIB, "backoff_ms_min": 2, "backoff_ms_max": 20}


def run(count: int, seed: int) -> Outcome:
    """count answers."""
    outcome = Outcome(count)
    logging.getLogger("grpc").setLevel(logging.CRITICAL)  # it says of every answer that it is none
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for start in range(0, count, ANSWERS_PER_STORE):
        with kit.scratch("bogus") as place:
            _one_store(place / "store", seed * 100_000 + start, min(ANSWERS_PER_STORE, count - start), outcome)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    outcome.details["MiB grown"] = grown
    outcome.check(grown <= MEMORY_MIB_MAX, f"seed {seed}: {grown} MiB more")
    return outcome


class Liar:
    """A server that answers nonsense until it is told to be `honest`, and then keeps what it is sent."""

    def __init__(self, seed: int) -> None:
        self.honest = False
        self.held: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self._draw = random.Random(seed)
        self._server = grpc.server(ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(0).wait()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return {
            "Push": grpc.unary_unary_rpc_method_handler(self._push),
            "Pull": grpc.unary_unary_rpc_method_handler(lambda content, context: b""),
        }.get(details.method.rpartition("/")[2])

    def _push(self, content: bytes, context: grpc.ServicerContext) -> bytes:
        request = messages.PushRequest.FromString(content)
        if self.honest:
            return self._answer(request)
        kind = self._draw.choice(KINDS)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        draw = self._draw
        answer = messages.PushResponse(server_time=draw.choice(NUMBERS), retry_after_ms=draw.choice((0, 0, *NUMBERS)))
        near = [record.seq for record in request.records] or [request.previous_seq]
        answer.upto_seq = draw.choice(NUMBERS) if kind == "numbers" else draw.choice(near) + draw.randint(-9, 9)
        if kind == "rekey":
            answer.rekey = True
            answer.upto_seq = draw.choice((*NUMBERS, *near))
        elif kind == "verdicts":
            for _ in range(draw.randint(0, 30)):
                seq = draw.choice((*NUMBERS, *near))
                answer.verdicts.add(seq=seq, code=draw.randint(0, 9), reason="x" * draw.choice((0, 9, 50_000)))  # type: ignore[arg-type]
        elif kind == "many verdicts":
            for seq in range(3_000):
                answer.verdicts.add(seq=seq, code=messages.VERDICT_CODE_REJECTED, reason="no")
        elif kind == "garbage":
            return draw.choice((b"\xff" * 40, draw.randbytes(60), answer.SerializeToString()[:-1] + b"\x0a"))
        elif kind == "status":
            detail = draw.choice((b"", draw.randbytes(20), b"\x0a\x05limit\x20\x7f"))
            context.set_trailing_metadata((("reflexarc-error-bin", detail),))
            context.abort(draw.choice([code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]), "no")
        return answer.SerializeToString()

    def _answer(self, request: messages.PushRequest) -> bytes:
        for record in request.records:
            if record.HasField("event"):
                self.held[record.event.event.event_id] = request.incarnation
        last = max([request.previous_seq, *(r.seq for r in request.records), *(loss.last_seq for loss in request.losses)])
        return messages.PushResponse(upto_seq=last).SerializeToString()


def _one_store(folder: Path, seed: int, count: int, outcome: Outcome) -> None:
    draw = random.Random(seed)
    liar = Liar(seed)
    ids: dict[str, int] = {}
    sent: set[str] = set()
    highest = [0]
    with Client(folder, catalog=kit.catalog(), config=kit.config(**CONFIG)) as client:
        transport = Transport(liar.address, client.log, kit.config(insecure=True), lambda reachable: None)

        def push(batch: UploadBatch) -> Any:
            for _, _, record in batch.records:
                if isinstance(record, EventInput):
                    sent.add(record.event.event_id)
            highest[0] = max(highest[0], batch.last_seq if not batch.early else 0)
            return transport.push(batch, 0, 5.0)

        sender = Sender(client.device, push)
        for number in range(count):
            for _ in range(draw.choice((0, 0, 1, 3))):
                receipt = client.track(kit.INERT, {"content_id": str(number)}, priority=draw.choice((0, 1, 2)))
                if outcome.check(receipt.accepted, f"seed {seed}: {receipt.reason}"):
                    ids[receipt.event_id] = client.log.last_seq
            try:
                sender.send()
            except ReflexArcError:
                outcome.add("failures")
            acked = client.log.acked_seq
            outcome.check(acked <= highest[0], f"seed {seed} answer {number}: {acked} is acknowledged, {highest[0]} was sent")
            if number % 100 == 99:
                client.runtime.keep_snapshot(force=True)
                client.device.keep_house()
        held = {record.event.event_id for _, record in client.log.records(0) if isinstance(record, EventInput)}
        gone = {event_id for event_id in ids if event_id not in sent and event_id not in held}
        outcome.lost += len(gone)
        outcome.wrong += [f"seed {seed}: {len(gone)} events went that were never sent"] if gone else []
        outcome.add("new numberings", sender.counts["rekeyed"])
        outcome.check(client.stats()["store"]["dead_letters"] <= 1_000, f"seed {seed}: dead letters without a bound")
        transport.close()
    liar.honest = True
    for kind, times in liar.counts.items():
        outcome.add(kind, times)
    with Client(folder, server=liar.address, insecure=True, catalog=kit.catalog(), config=kit.config(**CONFIG)) as client:
        client.track(kit.INERT, {"content_id": "last"})
        outcome.check(client.flush(30).delivered, f"seed {seed}: it does not go on: {client.stats()['uplink']}")
    unsent = {event_id for event_id in ids if event_id not in sent}
    outcome.lost += len(unsent - set(liar.held))
    outcome.check(unsent <= set(liar.held), f"seed {seed}: {len(unsent - set(liar.held))} events never arrived")
    liar.close()
    outcome.check(threading.active_count() < 100, f"seed {seed}: threads pile up")
