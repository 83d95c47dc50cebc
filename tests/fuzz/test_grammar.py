"""Promise 16, the cases that a fuzzer does not find by chance: depth, size, compression, width, unknown numbers, forged names.

The server is a process of its own, so that its memory can be looked at from outside.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_proto.v1 import record_pb2
from tests.server.kit import event_record, page

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
GROWN_MAX = 64 * MIB
REFUSED = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED})
EVENTS = "/reflexarc.v1.EventService"
DEVICE = (("reflexarc-installation", "device-1"),)


@dataclass
class Running:
    """A server process: what it says to bytes, and what memory it takes."""

    pid: int
    channel: grpc.Channel

    def says(
        self, path: str, content: bytes, metadata: Any = DEVICE, compression: grpc.Compression | None = None
    ) -> tuple[grpc.StatusCode, bytes]:
        """(status, answer)."""
        call: Any = self.channel.unary_unary(path)
        try:
            return grpc.StatusCode.OK, call(content, metadata=metadata, timeout=30, compression=compression)
        except grpc.RpcError as error:
            return error.code(), b""  # type: ignore[attr-defined]

    def rss(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def grown(self, before: int) -> int:
        """Bytes it holds more than before, once it had time to give back what a request took."""
        deadline = time.monotonic() + 20
        while (grown := self.rss() - before) > GROWN_MAX and time.monotonic() < deadline:
            time.sleep(0.2)
        return grown

    def peak(self) -> int:
        """The most it ever held, bytes."""
        line = next(line for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def stored_events(self) -> int:
        """How many events it holds."""
        from reflexarc_proto.v1 import admin_service_pb2 as admin

        status, answer = self.says("/reflexarc.v1.AdminService/GetStatus", b"")
        assert status is grpc.StatusCode.OK
        return admin.GetStatusResponse.FromString(answer).event_count


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", "reflexarc_cli", "serve", "--data", str(tmp_path_factory.mktemp("hostile")), "--address",
         "127.0.0.1:0", "--insecure"],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    address = next(line for line in process.stderr if line.startswith("listening on ")).split()[2]
    channel = grpc.insecure_channel(address, options=(("grpc.max_send_message_length", -1),))
    running = Running(process.pid, channel)
    for path, content in _WIDE.items():  # warm: each decoder once, with something small
        running.says(path, content * 3)
    _settled(running)
    yield running
    channel.close()
    process.terminate()
    assert process.wait(20) == 0
    process.stderr.close()


def _settled(running: Running) -> None:
    """Wait until the process has loaded what it loads behind its first calls."""
    deadline = time.monotonic() + 60
    held, since = running.rss(), time.monotonic()
    while time.monotonic() < min(since + 3, deadline):
        time.sleep(0.1)
        if abs(running.rss() - held) > MIB:
            held, since = running.rss(), time.monotonic()


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field, as protobuf writes it."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes((*out, number))


def _nested(depth: int) -> bytes:
    """A batch whose one event carries a list in a list in a list."""
    value = b"\x10\x01"
    for _ in range(depth):
        value = _field(5, _field(1, value))
    event = event_record(1, page(1)).event.event.SerializeToString() + _field(5, _field(1, b"deep") + _field(2, value))
    return _field(1, b"deep") + _field(2, b"\x08\x01" + _field(3, _field(2, event)))


@pytest.mark.parametrize("depth", [2, 9, 60, 99, 200, 5_000])
def test_depth(server: Running, depth: int) -> None:
    status, answer = server.says(f"{EVENTS}/Push", _nested(depth))
    if status is grpc.StatusCode.OK:
        codes = [verdict.code for verdict in messages.PushResponse.FromString(answer).verdicts]
        assert codes in ([messages.VERDICT_CODE_REJECTED], [messages.VERDICT_CODE_DUPLICATE])
    else:
        assert status is grpc.StatusCode.INVALID_ARGUMENT
    assert server.stored_events() == 0


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip, grpc.Compression.Deflate], ids=str)
@pytest.mark.parametrize("size", [4 * MIB + 1, 64 * MIB])
def test_size_as_sent_and_as_unpacked(server: Running, size: int, compression: grpc.Compression | None) -> None:
    before = server.rss()
    for _ in range(4):
        status, _ = server.says(f"{EVENTS}/Push", bytes(size), compression=compression)
        assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert server.grown(before) <= GROWN_MAX


# The smallest element of each message's widest field.
_WIDE = {
    f"{EVENTS}/Push": b"\x12\x00",
    f"{EVENTS}/Track": b"\x0a\x00",
    f"{EVENTS}/Pull": b"\x0a\x00",
    "/reflexarc.v1.ScoringService/Score": b"\x1a\x00",
    "/reflexarc.v1.AdminService/SetPaused": b"\x0a\x00",
}


@pytest.mark.parametrize("path", _WIDE)
def test_width(server: Running, path: str) -> None:
    content = _WIDE[path] * (4 * MIB // len(_WIDE[path]))
    before = server.rss()
    for _ in range(3):
        status, _ = server.says(path, content)
        assert status in REFUSED
    grown = server.grown(before)
    assert grown <= GROWN_MAX, f"{grown / MIB:.0f} MiB"


def test_width_of_losses_and_of_properties(server: Running) -> None:
    before = server.rss()
    losses = _field(1, b"one") + _field(5, b"") * (2 * MIB - 8)
    assert server.says(f"{EVENTS}/Push", losses)[0] in REFUSED
    for count, expected in ((60_000, grpc.StatusCode.OK), (200_000, grpc.StatusCode.INVALID_ARGUMENT)):
        entries = b"".join(_field(5, _field(1, b"%d" % number) + _field(2, b"\x10\x01")) for number in range(count))
        event = event_record(1, page(1)).event.event.SerializeToString() + entries
        record = b"\x08\x01" + _field(3, _field(2, event))
        status, answer = server.says(f"{EVENTS}/Push", _field(1, b"wide") + _field(2, record))
        assert status is expected
        if status is grpc.StatusCode.OK:
            assert [v.code for v in messages.PushResponse.FromString(answer).verdicts] == [messages.VERDICT_CODE_REJECTED]
    assert server.grown(before) <= GROWN_MAX
    print(f"peak {server.peak() / MIB:.0f} MiB")


def test_fields_and_numbers_that_nobody_knows(server: Running) -> None:
    odd = event_record(1, page(1))
    odd.event.event.subject.kind = 99  # type: ignore[assignment]
    status, answer = server.says(
        f"{EVENTS}/Push", messages.PushRequest(incarnation="odd", records=[odd]).SerializeToString() + b"\xfa\x7f\x03new" * 1_000
    )
    assert status is grpc.StatusCode.OK
    assert [v.code for v in messages.PushResponse.FromString(answer).verdicts] == [messages.VERDICT_CODE_REJECTED]
    huge = messages.PushRequest(incarnation="huge", records=[record_pb2.LogRecord(seq=2**63 - 1, check=2**32 - 1)])
    assert server.says(f"{EVENTS}/Push", huge.SerializeToString())[0] in REFUSED | {grpc.StatusCode.OK}


@pytest.mark.parametrize("name", ["", "x" * 65, "x" * 4_000, "\x7f"])
def test_a_forged_installation_is_nobody(server: Running, name: str) -> None:
    content = messages.PushRequest(incarnation="one", records=[event_record(1, page(1))]).SerializeToString()
    metadata = (("reflexarc-installation", name),) if name.isprintable() else ()
    assert server.says(f"{EVENTS}/Push", content, metadata)[0] is grpc.StatusCode.UNAUTHENTICATED
    assert server.stored_events() == 0
