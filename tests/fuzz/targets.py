"""What is fuzzed: every call of every service over real gRPC, every answer a device reads, and the file reader.

A target takes bytes and returns, or raises Broken. It may answer with an error of the family; it may never answer UNKNOWN or
INTERNAL, hang, or raise anything else. Targets are found from the contract, so a new call is fuzzed from its first day.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool

from tests.fuzz import email_targets, http_targets, inbound_targets, social_targets

Target = Callable[[bytes], None]
TIMEOUT_S: Final = 10.0
SUBJECTS: Final = ("known:1", "device:d")
ALLOWED: Final = frozenset({
    grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED,
    grpc.StatusCode.DATA_LOSS,
})  # fmt: skip
"""Every status of the error family but those that mean a fault of ours or "send it again"."""


class Broken(Exception):
    """A target did what none may do."""


def call_names() -> list[str]:
    """`EventService/Push` and every other call of our services."""
    from reflexarc_server.app import SERVICES

    pool = descriptor_pool.Default()
    return [
        f"{name.rsplit('.', 1)[1]}/{method.name}"
        for name in SERVICES
        for method in pool.FindServiceByName(name).methods
        if method.name != "Watch"  # stays open by design, and reads an empty message
    ]


ALONE: Final = ("EventService/Push", "EventService/Track", "EventService/Pull", "ScoringService/Score", "answer Push")
"""What takes the largest messages has a run of its own; the others share one by kind."""


def groups() -> dict[str, list[str]]:
    """What is fuzzed together, by name: the first byte of an input chooses which."""
    calls = call_names()
    found = {name: [name] for name in ALONE}
    found["file calls"] = [name for name in calls if name.startswith("SyncFile")]
    found["other calls"] = [name for name in calls if name not in ALONE and not name.startswith("SyncFile")]
    found["other answers"] = [name for name in ANSWERS if name not in ALONE]
    alone = ("metadata", "sync file", social_targets.NAME, email_targets.NAME, inbound_targets.NAME)
    return {**found, **{name: [name] for name in alone}, "http intake": list(http_targets.NAMES)}


@contextmanager
def opened(group: str) -> Iterator[tuple[Target, list[bytes]]]:
    """A group's target and its seeds: inputs that mean something, to begin with."""
    members = groups()[group]
    with ExitStack() as stack:
        found = [stack.enter_context(_opened(name)) for name in members]
        targets = [target for target, _ in found]
        if len(targets) == 1:
            yield found[0]
            return

        def target(content: bytes) -> None:
            if content:
                targets[content[0] % len(targets)](content[1:])

        yield target, [bytes([place]) + seed for place, (_, seeds) in enumerate(found) for seed in seeds]


@contextmanager
def _opened(name: str) -> Iterator[tuple[Target, list[bytes]]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reflexarc-fuzz-")))
        if name == "metadata":
            yield _metadata(stack, folder), [b"device-1", b"", b"x" * 65, "é".encode(), b"\0", b"d\nreflexarc-installation: e"]
        elif name == "sync file":
            yield _sync_file(folder), [b"", b"reflexarc", bytes(64)]
        elif name in http_targets.NAMES:
            yield http_targets.opened(stack, folder, name, Broken), http_targets.seeds(name)
        elif name == social_targets.NAME:
            yield social_targets.opened(stack, folder, Broken), social_targets.seeds()
        elif name == inbound_targets.NAME:
            yield inbound_targets.opened(Broken), inbound_targets.seeds()
        elif name == email_targets.NAME:
            yield email_targets.opened(Broken), email_targets.seeds()
        elif name in ANSWERS:
            yield _answer(stack, folder, name), _answer_seeds(name)
        else:
            yield _call(stack, folder, name), _request_seeds(name)


# -- requests to the server -----------------------------------------------------------------------------------------


def _server(stack: ExitStack, folder: Path) -> grpc.Channel:
    from reflexarc.definitions import load_catalog
    from reflexarc_server.app import start_server

    server = start_server(folder / "server", "127.0.0.1:0", load_catalog(None), insecure=True)
    stack.callback(server.stop)
    channel = grpc.insecure_channel(server.address)
    stack.callback(channel.close)
    return channel


def _call(stack: ExitStack, folder: Path, name: str) -> Target:
    channel = _server(stack, folder)
    service, method = name.split("/")
    found = descriptor_pool.Default().FindServiceByName(f"reflexarc.v1.{service}").FindMethodByName(method)
    path = f"/reflexarc.v1.{name}"
    metadata = (("reflexarc-installation", "device-1"),)
    if found.server_streaming:
        stream: Any = channel.unary_stream(path)
        return lambda content: _judged(name, lambda: list(stream(content, metadata=metadata, timeout=TIMEOUT_S)))
    unary: Any = channel.unary_unary(path)
    return lambda content: _judged(name, lambda: unary(content, metadata=metadata, timeout=TIMEOUT_S))


def _judged(name: str, call: Callable[[], object]) -> None:
    try:
        call()
    except grpc.RpcError as error:
        code = error.code()  # type: ignore[attr-defined]
        if code not in ALLOWED:
            raise Broken(f"{name} answers {code}: {error.details()}") from None  # type: ignore[attr-defined]


def _metadata(stack: ExitStack, folder: Path) -> Target:
    """Forged installations: whatever the key holds, the answer is one of the family's, or the bytes never leave this machine."""
    channel = _server(stack, folder)
    push: Any = channel.unary_unary("/reflexarc.v1.EventService/Push")

    def target(content: bytes) -> None:
        text = content.decode("latin-1")
        if text.isascii() and text.isprintable():  # no other header leaves a machine
            _judged("metadata", lambda: push(b"", metadata=(("reflexarc-installation", text),), timeout=TIMEOUT_S))

    return target


def _request_seeds(name: str) -> list[bytes]:
    from reflexarc_core.decision import Reason
    from reflexarc_core.event import Event
    from reflexarc_core.record import EventInput, LossOutput, Moment, TickInput
    from reflexarc_proto.v1 import event_service_pb2 as messages
    from reflexarc_proto.wire import event_to_proto, record_to_proto
    from tests.server.kit import decision

    events = [
        Event(f"e{i}", "page_view", "known:1", 1_000 + i, {"page_url": "/a", "l": [1, 2.5, "x"]}, {"screen": "1x1"})
        for i in (1, 2)
    ]
    records = [
        *(EventInput(Moment(1_000, True), event) for event in events), decision("d", Reason.FIRED, "known:1", 5),
        TickInput(Moment(6)), LossOutput("full", 9, 12, 4),
    ]  # fmt: skip
    push = messages.PushRequest(
        incarnation="one", records=[record_to_proto(i, record, i) for i, record in enumerate(records, 1)], sent_time=7
    )
    push.losses.add(reason="full", first_seq=9, last_seq=12, count=4)
    seeds = {
        "EventService/Push": [push.SerializeToString(), *_each(push)],
        "EventService/Track": [messages.TrackRequest(events=[event_to_proto(event) for event in events]).SerializeToString()],
    }
    return [*seeds.get(name, []), b"", *_shapes(_input_of(name))]


def _each(push: Any) -> Iterator[bytes]:
    """Each record of a batch as a batch of its own, as the first of its stream."""
    for record in push.records:
        alone = type(push)(incarnation="alone", records=[record])
        alone.records[0].seq = 1
        yield alone.SerializeToString()


def _input_of(name: str) -> Any:
    service, method = name.split("/")
    return descriptor_pool.Default().FindServiceByName(f"reflexarc.v1.{service}").FindMethodByName(method).input_type


def _shapes(descriptor: Any, depth: int = 0) -> Iterable[bytes]:
    """A message with every field set to something, as bytes: each field a fuzzer would have to find by itself."""
    from google.protobuf import message_factory

    message = message_factory.GetMessageClass(descriptor)()
    _fill(message, descriptor, depth)
    return [message.SerializeToString()]


def _fill(message: Any, descriptor: Any, depth: int) -> None:
    for field in descriptor.fields:
        if field.message_type is not None:
            if depth > 4 or field.message_type.GetOptions().map_entry:
                continue
            inner = getattr(message, field.name)
            _fill(inner.add() if field.is_repeated else inner, field.message_type, depth + 1)
            continue
        value = {"str": "a", "bytes": b"a", "float": 0.5, "bool": True}.get(type(field.default_value).__name__, 1)
        if field.is_repeated:
            getattr(message, field.name).append(_scalar(field))
        else:
            setattr(message, field.name, value)


def _scalar(field: Any) -> Any:
    return {9: "a", 12: b"a", 1: 0.5, 2: 0.5, 8: True}.get(field.type, 1)


# -- answers to the device ------------------------------------------------------------------------------------------


ANSWERS: Final = {
    "answer Push": "reflexarc.v1.PushResponse",
    "answer Pull": "reflexarc.v1.PullResponse",
    "answer Score": "reflexarc.v1.ScoreResponse",
    "answer GetBundle": "reflexarc.v1.GetBundleResponse",
    "answer FetchFile": "reflexarc.v1.FetchFileResponse",
}


class _Says(grpc.GenericRpcHandler):
    """A server that answers every call with the same bytes."""

    def __init__(self) -> None:
        self.content = b""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        if details.method.endswith("FetchFile"):
            return grpc.unary_stream_rpc_method_handler(lambda *_: iter((self.content, self.content)))
        return grpc.unary_unary_rpc_method_handler(lambda *_: self.content)


def _answer(stack: ExitStack, folder: Path, name: str) -> Target:
    """Through the device's own transport: it gives values, or raises one of the family."""
    from reflexarc import Config
    from reflexarc.transport import Transport
    from reflexarc_core.effect import RequestScore
    from reflexarc_core.errors import ReflexArcError
    from reflexarc_core.record import TickInput
    from reflexarc_edge.log import Log
    from reflexarc_edge.upload import upload_batch
    from tests.edge.kit import NOW

    says = _Says()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[says])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stack.callback(lambda: server.stop(0).wait())
    log = Log(folder / "device")
    stack.callback(log.close)
    transport = Transport(f"127.0.0.1:{port}", log, Config(insecure=True), lambda _: None)
    stack.callback(transport.close)
    log.append([TickInput(NOW)] * 20)
    log.drain()
    log.sync_to_disk()
    batch = upload_batch(log, 500, 100_000)
    question = RequestScore(
        model_id="churn", subject="known:1", vector=(1.0, 2.0), cause_id="c", where="server", decision_id="d", line=0.7,
        deadline_ms=100,
    )  # fmt: skip
    asked: dict[str, Callable[[], object]] = {
        "answer Push": lambda: transport.push(batch, 5, TIMEOUT_S),
        "answer Pull": lambda: transport.pull(SUBJECTS, "", TIMEOUT_S),
        "answer Score": lambda: transport.score(question, ("a", "b"), TIMEOUT_S),
        "answer GetBundle": lambda: transport.bundle_manifest("a", TIMEOUT_S),
        "answer FetchFile": lambda: transport.fetch("a", 10, TIMEOUT_S),
    }
    ask = asked[name]

    def target(content: bytes) -> None:
        says.content = content
        try:
            ask()
        except ReflexArcError:
            pass
        except Exception as error:
            raise Broken(f"{name} raises {type(error).__name__}: {error}") from error
        if len(upload_batch(log, 500, 100_000).records) != len(batch.records):
            raise Broken(f"{name}: records that nobody acknowledged are gone")

    return target


def _answer_seeds(name: str) -> list[bytes]:
    return [b"", *_shapes(descriptor_pool.Default().FindMessageTypeByName(ANSWERS[name]))]


def _sync_file(folder: Path) -> Target:
    from reflexarc_core.errors import ReflexArcError
    from reflexarc_proto.sync_file.reading import ANSWERS as WAY_DOWN
    from reflexarc_proto.sync_file.reading import verified

    path = folder / "file"

    def target(content: bytes) -> None:
        path.write_bytes(content)
        try:
            for _ in verified(path, WAY_DOWN, lambda _: None, allow_unsigned=True).frames():
                pass
        except ReflexArcError:
            pass
        except Exception as error:
            raise Broken(f"a sync file raises {type(error).__name__}: {error}") from error

    return target
