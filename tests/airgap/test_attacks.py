"""Files that somebody meddled with, or made: each is refused with one clear line, and nothing of it is applied."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from reflexarc import Client
from reflexarc.testing import ManualClock
from reflexarc_cli.sync.keys import key_of_store
from reflexarc_core.errors import InvalidEventError, ReflexArcError, SyncFileError
from reflexarc_core.record import Moment, ScoresInput
from reflexarc_proto.sync_file import SyncFileWriter, frame_bytes, new_header, peek, verified
from reflexarc_proto.sync_file.frames import HEAD, MAGIC, MARK_BYTES, new_mark
from reflexarc_proto.v1 import event_service_pb2, sync_file_pb2, sync_file_service_pb2
from reflexarc_proto.wire import error_of_call
from reflexarc_server.app import Server
from tests.airgap.kit import (
    ANSWERS,
    BATCHES,
    INSTALLATION,
    KEY,
    Walk,
    bring,
    enrol,
    file_of,
    push_request,
    standing,
    stored,
    upload,
    write_batches,
)
from tests.server.kit import T0, Stubs, catalog


def refused(stubs: Stubs, path: Path, tmp_path: Path, **more: bool) -> ReflexArcError:
    """Why the server does not take a file."""
    with pytest.raises(grpc.RpcError) as raised:
        bring(stubs, [path], tmp_path / "never", **more)
    return error_of_call(raised.value)


def test_no_flipped_bit_is_taken(tmp_path: Path) -> None:
    """Every eleventh bit, so that every byte of the head and the mark is hit and every kind of field in between."""
    path = file_of(tmp_path / "file", 1, 30)
    content = path.read_bytes()
    for place in range(0, len(content) * 8, 11):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        for key, allow_unsigned in ((KEY, False), (None, True)):
            with pytest.raises(SyncFileError):
                verified(path, BATCHES, lambda _, key=key: key, allow_unsigned=allow_unsigned)


def test_no_part_of_a_file_is_taken(tmp_path: Path) -> None:
    path = file_of(tmp_path / "file", 1, 30)
    content = path.read_bytes()
    for length in (*range(200), *range(200, len(content), 7), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(SyncFileError, match=r"ends in the middle|is empty|is no sync file|damaged|altered"):
            verified(path, BATCHES, lambda _: KEY, allow_unsigned=False)


def sealed(*frames: sync_file_pb2.SyncFrame, key: bytes | None = KEY, magic: bytes = MAGIC) -> bytes:
    """Frames as they are, with a right mark behind them."""
    content = magic + b"".join(frame_bytes(frame.SerializeToString()) for frame in frames)
    mark = new_mark(key)
    mark.update(content)
    return bytes(content + mark.digest())


def header(
    kind: int = BATCHES, installation: str = INSTALLATION, mark: int = sync_file_pb2.SYNC_FILE_MARK_HMAC_SHA256, **more: object
) -> sync_file_pb2.SyncFrame:
    made = new_header(BATCHES, installation, T0, "test")
    made.kind, made.mark, made.incarnation, made.first_seq = kind, mark, "one", 1
    for name, value in more.items():
        setattr(made, name, value)
    return sync_file_pb2.SyncFrame(header=made)


def push(first: int, last: int) -> sync_file_pb2.SyncFrame:
    return sync_file_pb2.SyncFrame(push=push_request(first, last))


def end(count: int, last: int = 0) -> sync_file_pb2.SyncFrame:
    return sync_file_pb2.SyncFrame(end=sync_file_pb2.SyncEnd(frame_count=count, last_seq=last))


def spliced(tmp_path: Path) -> bytes:
    """The head of one signed file, the tail of another."""
    one, two = file_of(tmp_path / "a", 1, 20).read_bytes(), file_of(tmp_path / "b", 21, 40).read_bytes()
    return one[: len(one) // 2] + two[len(two) // 2 :]


def frames_of_two(tmp_path: Path) -> bytes:
    """Whole frames of one signed file among those of another, each with a right checksum."""
    one, two = file_of(tmp_path / "a", 1, 20).read_bytes(), file_of(tmp_path / "b", 21, 40).read_bytes()
    (length, _) = HEAD.unpack_from(two, len(MAGIC))
    first = len(MAGIC) + HEAD.size + length
    (length, _) = HEAD.unpack_from(two, first)
    frame = two[first : first + HEAD.size + length]
    return one[:-MARK_BYTES] + frame + one[-MARK_BYTES:]


def oversized(tmp_path: Path) -> bytes:
    """A frame that says it has 4 GiB less a byte."""
    whole = file_of(tmp_path / "a", 1, 20).read_bytes()
    return whole[: len(MAGIC)] + struct.pack(">II", 0xFFFF_FFFF, 0) + whole[len(MAGIC) + 8 :]


def bomb(_: Path) -> bytes:
    """Two million records of two bytes each, in one small frame."""
    request = b"\x12\x00" * 2_000_000
    payload = b"\x12" + varint(len(request)) + request
    content = MAGIC + frame_bytes(header().SerializeToString()) + frame_bytes(payload)
    content += frame_bytes(end(2).SerializeToString())
    mark = new_mark(KEY)
    mark.update(content)
    return content + bytes(mark.digest())


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


UNSIGNED = sync_file_pb2.SYNC_FILE_MARK_SHA256

ATTACKS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda _: b"", "a file of 0 bytes"),
    "noise": (lambda _: bytes(range(256)) * 9, "no sync file"),
    "a later version": (lambda _: sealed(header(), end(1), magic=b"RXSYNC\x09\n"), "another version"),
    "a head and nothing else": (lambda _: MAGIC, "ends in the middle"),
    "no header": (lambda _: sealed(push(1, 5), end(1)), "has no header"),
    "no end": (lambda _: sealed(header(), push(1, 5)), "ends in the middle"),
    "fewer frames than it says": (lambda _: sealed(header(), push(1, 5), end(3, 5)), "ends in the middle"),
    "frames behind its end": (lambda _: sealed(header(), end(1), push(1, 5)), "ends in the middle"),
    "something behind its mark": (lambda p: file_of(p / "a", 1, 20).read_bytes() + b"more", "damaged|ends in the middle"),
    "spliced": (spliced, r"damaged|ends in the middle|altered"),
    "a frame of another file": (frames_of_two, "altered"),
    "4 GiB at once": (oversized, "damaged at byte 8"),
    "two million records": (bomb, "more than"),
    "another key": (lambda p: file_of(p / "a", 1, 20, key=b"x" * 32).read_bytes(), "not signed with the key"),
    "somebody else's name": (lambda _: sealed(header(installation="device-2"), push(1, 5), end(2, 5)), "not known here"),
    "nobody's name": (lambda _: sealed(header(installation=""), push(1, 5), end(2, 5)), "whose it is"),
    "a name too long": (lambda _: sealed(header(installation="x" * 70), push(1, 5), end(2, 5)), "whose it is"),
    "an id that is a path": (lambda _: sealed(header(file_id="../../../../etc/passwd/x1234567890"[:32]), end(1)), "whose it is"),
    "signature taken off": (lambda _: sealed(header(mark=UNSIGNED), push(1, 5), end(2, 5), key=None), "has a key"),
    "a mark nobody knows": (lambda _: sealed(header(mark=9), push(1, 5), end(2, 5)), "does not know"),
    "no way at all": (lambda _: sealed(header(kind=0), push(1, 5), end(2, 5)), "which way"),
    "answers": (lambda _: sealed(header(kind=ANSWERS), end(1)), "take it to the device"),
    "something else between": (
        lambda _: sealed(header(), push(1, 5), sync_file_pb2.SyncFrame(stream=sync_file_pb2.StreamAnswer()), end(3, 5)),
        "does not belong there",
    ),
    "a second header": (lambda _: sealed(header(), header(), push(1, 5), end(3, 5)), "does not belong there"),
    "no message": (
        lambda _: (lambda c: c + bytes((lambda m: (m.update(c), m.digest())[1])(new_mark(KEY))))(
            MAGIC + frame_bytes(header().SerializeToString()) + frame_bytes(b"\xff" * 40)
        ),
        "no message of this version",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_server_takes_nothing_of_it(name: str, server: Server, stubs: Stubs, tmp_path: Path) -> None:
    enrol(stubs)
    make, why = ATTACKS[name]
    path = tmp_path / "bad"
    path.write_bytes(make(tmp_path))
    for allow_unsigned in (False, True):
        if name == "empty":
            request = sync_file_service_pb2.UploadRequest(sha256="0" * 64, total_bytes=0)
            with pytest.raises(grpc.RpcError) as raised:
                stubs.sync_files.Upload(request, metadata=stubs.metadata, timeout=10)
            error = error_of_call(raised.value)
        else:
            error = refused(stubs, path, tmp_path, allow_unsigned=allow_unsigned)
        assert isinstance(error, SyncFileError), error
        assert re.search(why, str(error)), str(error)
        assert error.hint
    assert stored(server, INSTALLATION) == []
    assert stubs.status().stream_count == 0
    assert not list((tmp_path / "server").rglob("*.sync"))


def test_one_bad_file_among_good_ones_takes_nothing_of_any(server: Server, stubs: Stubs, tmp_path: Path) -> None:
    enrol(stubs)
    good, bad = file_of(tmp_path / "good", 1, 20), file_of(tmp_path / "bad", 21, 40)
    content = bytearray(bad.read_bytes())
    content[len(content) // 2] ^= 1
    bad.write_bytes(content)
    with pytest.raises(grpc.RpcError):
        bring(stubs, [good, bad], tmp_path / "never")
    assert stored(server, INSTALLATION) == []


def test_a_revoked_installation_is_not_believed_signed_or_not(server: Server, stubs: Stubs, tmp_path: Path) -> None:
    enrol(stubs)
    signed, unsigned = file_of(tmp_path / "a", 1, 20), file_of(tmp_path / "b", 1, 20, key=None)
    server.identity.registry.revoke_installation(INSTALLATION, T0)
    assert "revoked" in str(refused(stubs, signed, tmp_path))
    assert "revoked" in str(refused(stubs, unsigned, tmp_path, allow_unsigned=True))
    with pytest.raises(grpc.RpcError):
        enrol(stubs)
    assert stored(server, INSTALLATION) == []


def test_a_key_is_replaced_only_by_whoever_says_so(server: Server, stubs: Stubs, tmp_path: Path) -> None:
    assert not enrol(stubs)
    assert enrol(stubs)
    with pytest.raises(grpc.RpcError) as raised:
        enrol(stubs, key=b"y" * 32)
    assert "--replace" in str(error_of_call(raised.value))
    assert not enrol(stubs, key=b"y" * 32, replace=True)
    assert "not signed with the key" in str(refused(stubs, file_of(tmp_path / "a", 1, 20), tmp_path))


@pytest.mark.parametrize(
    ("digest", "total", "offset", "chunk"),
    [
        ("../../etc/passwd", 10, 0, b"x"),
        ("A" * 64, 10, 0, b"x"),
        ("0" * 64, 0, 0, b""),
        ("0" * 64, 1 << 40, 0, b"x"),
        ("0" * 64, 10, -1, b"x"),
        ("0" * 64, 10, 8, b"xxx"),
        ("0" * 64, 1 << 30, 0, b"x" * (1_048_576 + 1)),
    ],
)
def test_what_is_no_upload_is_refused(stubs: Stubs, tmp_path: Path, digest: str, total: int, offset: int, chunk: bytes) -> None:
    request = sync_file_service_pb2.UploadRequest(sha256=digest, total_bytes=total, offset=offset, chunk=chunk)
    with pytest.raises(grpc.RpcError) as raised:
        stubs.sync_files.Upload(request, metadata=stubs.metadata, timeout=10)
    assert isinstance(error_of_call(raised.value), SyncFileError | InvalidEventError)
    assert not list((tmp_path / "server").rglob("*.sync"))


def test_an_upload_of_something_else_under_a_files_digest_is_not_that_file(stubs: Stubs, tmp_path: Path) -> None:
    enrol(stubs)
    path = file_of(tmp_path / "a", 1, 20)
    digest = upload(stubs, path)
    held = next((tmp_path / "server").rglob("*.sync"))
    held.write_bytes(held.read_bytes()[:-1] + b"?")
    with pytest.raises(grpc.RpcError) as raised:
        list(stubs.sync_files.Apply(sync_file_service_pb2.ApplyRequest(sha256=[digest]), metadata=stubs.metadata, timeout=10))
    assert "not what was sent" in str(error_of_call(raised.value))
    assert not held.exists()


# -- answers, on the device ---------------------------------------------------------------------------------------------


@pytest.fixture
def walk(tmp_path: Path, server: Server) -> Iterator[Walk]:
    made = Walk(tmp_path, server.address)
    with Client(made.store, catalog=catalog(), clock=ManualClock(T0)) as client:
        for number in range(40):
            client.track("page_view", {"page_url": f"/{number}"}, subject="known:1")
    made.enrol()
    yield made
    made.backend.close()


def device_key(walk: Walk) -> bytes:
    return key_of_store(walk.store, None).file_key


def answers(
    walk: Walk, *frames: sync_file_pb2.SyncFrame, time: int = T0, installation: str = "", key: bytes | None = None
) -> Path:
    """Answers as a server would sign them."""
    path = walk.stick / "forged"
    made = new_header(ANSWERS, installation or standing(walk.store)[0], time, "test")
    with path.open("wb") as stream:
        writer = SyncFileWriter(stream, made, key or device_key(walk))
        for frame in frames:
            writer.write(frame)
        writer.end()
    return path


def stream_of(walk: Walk, upto: int, check: int = 0, *, rekey: bool = False) -> sync_file_pb2.SyncFrame:
    with Client(walk.store, clock=ManualClock(T0)) as client:
        incarnation = client.log.incarnation
    answer = event_service_pb2.PushResponse(upto_seq=upto, rekey=rekey)
    return sync_file_pb2.SyncFrame(stream=sync_file_pb2.StreamAnswer(incarnation=incarnation, answer=answer, upto_check=check))


@pytest.mark.parametrize("upto", [10_000, 2**62, -1])
def test_nothing_is_acknowledged_that_was_never_written(walk: Walk, upto: int) -> None:
    before = standing(walk.store)
    with pytest.raises(SyncFileError, match="another history"):
        walk.receive(answers(walk, stream_of(walk, upto)))
    assert standing(walk.store) == before


def test_nothing_is_acknowledged_by_another_records_checksum(walk: Walk) -> None:
    with pytest.raises(SyncFileError, match="another history"):
        walk.receive(answers(walk, stream_of(walk, 20, check=12345)))
    assert standing(walk.store)[1] == 0


def test_scores_of_another_history_are_told_apart_too(walk: Walk) -> None:
    with Client(walk.store, clock=ManualClock(T0)) as client:
        seq = client.log.append([ScoresInput(Moment(T0), "tick:churn:0", ())])
    with pytest.raises(SyncFileError, match="another history"):
        walk.receive(answers(walk, stream_of(walk, seq, check=12345)))
    assert standing(walk.store)[1] == 0


def test_another_numbering_acknowledges_nothing(walk: Walk) -> None:
    frame = stream_of(walk, 20)
    frame.stream.incarnation = "somebody else's"
    assert walk.receive(answers(walk, frame)).acked_seq == 0


@pytest.mark.parametrize("of", ["another installation", "another key", "this very file, a bit later altered"])
def test_answers_that_are_not_for_us(walk: Walk, of: str) -> None:
    frame = stream_of(walk, 20)
    if of == "another installation":
        path, why = answers(walk, frame, installation="somebody"), "answers installation somebody"
    elif of == "another key":
        path, why = answers(walk, frame, key=b"z" * 32), "not signed with the key"
    else:
        path, why = answers(walk, frame), "damaged"
        content = bytearray(path.read_bytes())
        content[70] ^= 4
        path.write_bytes(content)
    before = standing(walk.store)
    for allow_unsigned in (False, True):
        with pytest.raises(SyncFileError, match=why):
            walk.receive(path, allow_unsigned=allow_unsigned)
    assert standing(walk.store) == before


def test_no_flipped_bit_of_answers_is_taken(walk: Walk) -> None:
    path = answers(walk, stream_of(walk, 20))
    content = path.read_bytes()
    for place in range(0, len(content) * 8, 37):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(SyncFileError):
            walk.receive(path)
    assert standing(walk.store)[1] == 0


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "churn/device/../../../../escaped"])
def test_a_bundle_writes_nowhere_but_in_its_place(walk: Walk, tmp_path: Path, name: str) -> None:
    """Signed by the right key, and still: whatever a manifest names stays inside the bundle's folder."""
    content = b"{}"
    digest = hashlib.sha256(content).hexdigest()
    listed = {name if "device" in name else f"{name}/device/x": {"sha256": digest, "bytes": len(content)}}
    manifest = json.dumps({"format": 1, "version": 1, "files": listed}).encode()
    bundle = sync_file_pb2.SyncFrame()
    bundle.bundle.digest = hashlib.sha256(manifest).hexdigest()
    bundle.bundle.manifest_json = manifest
    piece = sync_file_pb2.SyncFrame(piece=sync_file_pb2.BundlePiece(sha256=digest, chunk=content))
    before = {path for path in tmp_path.rglob("*") if "store" not in path.parts}
    applied = walk.receive(answers(walk, stream_of(walk, 20), bundle, piece)).applied[0][1]
    assert applied.bundle == ""
    assert len(applied.notes) == 1
    assert standing(walk.store)[1] == 20
    assert {path for path in tmp_path.rglob("*") if "store" not in path.parts} - before <= {walk.stick / "forged"}
    assert not list(walk.store.rglob("*escaped*"))


@pytest.mark.parametrize("left_out", ["the pieces", "the last piece", "the order"])
def test_a_bundle_that_is_not_whole_leaves_the_one_before(walk: Walk, left_out: str) -> None:
    one, two = b"x" * 10, b"y" * 10
    names = {"catalog.json": one, "churn/device/model": two}
    listed = {name: {"sha256": hashlib.sha256(held).hexdigest(), "bytes": len(held)} for name, held in names.items()}
    manifest = json.dumps({"files": listed}).encode()
    bundle = sync_file_pb2.SyncFrame()
    bundle.bundle.digest, bundle.bundle.manifest_json = hashlib.sha256(manifest).hexdigest(), manifest
    pieces = [
        sync_file_pb2.SyncFrame(piece=sync_file_pb2.BundlePiece(sha256=hashlib.sha256(held).hexdigest(), chunk=held))
        for held in (one, two)
    ]
    given = {"the pieces": [], "the last piece": pieces[:1], "the order": pieces[::-1]}[left_out]
    applied = walk.receive(answers(walk, bundle, *given)).applied[0][1]
    assert applied.bundle == ""
    assert "refused" in applied.notes[0]
    assert not list((walk.store / "bundles").glob("*")) if (walk.store / "bundles").exists() else True


def test_a_file_that_changes_while_it_is_read_is_noticed(walk: Walk) -> None:
    """A stick that gives one thing to the check and another to the import."""
    path = file_of(walk.stick / "a", 1, 40)
    file = verified(path, BATCHES, lambda _: KEY, allow_unsigned=False)
    other = bytearray(path.read_bytes())
    frames = [(HEAD.size, frame) for frame in peek(path)]
    assert len(frames) > 3
    (length, _) = HEAD.unpack_from(other, len(MAGIC))
    second = len(MAGIC) + HEAD.size + length
    (length, _) = HEAD.unpack_from(other, second)
    request = sync_file_pb2.SyncFrame.FromString(bytes(other[second + HEAD.size : second + HEAD.size + length]))
    request.push.records[0].event.event.properties["page_url"].string_value = "/X"
    payload = request.SerializeToString(deterministic=True)
    other[second : second + HEAD.size + length] = HEAD.pack(len(payload), zlib.crc32(payload)) + payload
    path.write_bytes(other)
    with pytest.raises(SyncFileError, match=r"changed while it was read|ends in the middle"):
        list(file.frames())


def test_batches_with_numbers_that_cannot_be_are_refused_whole(server: Server, stubs: Stubs, tmp_path: Path) -> None:
    enrol(stubs)
    request = push_request(1, 10)
    request.records[3].seq = 2
    path = write_batches(tmp_path / "a", [push_request(1, 5), request], last_seq=10)
    assert "a batch of the file is refused" in str(refused(stubs, path, tmp_path))
    assert stored(server, INSTALLATION) == [1, 2, 3, 4, 5]
