"""One gRPC channel to the server, made on first use and again after a fork."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, TypeVar

from reflexarc import forking
from reflexarc.credential import Metadata
from reflexarc.tls import LOOK_S, Stamp, Trust
from reflexarc_core.errors import ReflexArcError, TransportError

T = TypeVar("T")

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
FORK_WAIT_S: Final = 1.0
VERIFIED: Final = Trust()
LOOK_EVERY_S: Final = 60.0
WATCH_S: Final = 0.4
"""Longer than gRPC looks at a connection before it asks whether anybody still wants to know."""


class Channel:
    """A channel and its stubs: TLS, or plaintext on the loopback where that was asked for.

    metadata: goes with every call that brings none of its own. backoff_ms: least and greatest pause between two attempts to
    connect. on_reachable: told, on a thread of gRPC's, when the connection is there or cannot be made. Raises TransportError at
    once for plaintext to another machine.
    """

    def __init__(
        self,
        address: str,
        metadata: Metadata = (),
        *,
        trust: Trust = VERIFIED,
        backoff_ms: tuple[int, int] = (100, 1_000),
        on_reachable: Callable[[bool], None] | None = None,
    ) -> None:
        trust.check(address)
        # Without a word gRPC writes a line on the host's standard error for every handshake that fails. It reads this once.
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        self._address = address
        self._trust = trust
        self._backoff_ms = backoff_ms
        self._on_reachable = on_reachable
        self._metadata = metadata
        self._lock = threading.Condition()
        self._inside = 0
        self._is_forking = False
        self._pid = 0
        self._closed = False
        self._look_again_at = 0.0
        self._why_not = ""
        self._stamp: Stamp | None = None
        self._channel: Any = None
        self._stubs: dict[Any, Any] = {}

    def call(self, stub: Callable[[Any], T], name: str, request: Any, timeout_s: float, metadata: Metadata | None = None) -> Any:
        """One call with a deadline. Raises the ReflexArcError the server's answer maps to."""
        import grpc

        from reflexarc_proto.wire import error_of_call

        with self._calling(stub) as made:
            try:
                return getattr(made, name)(request, timeout=timeout_s, metadata=self._shown(metadata))
            except grpc.RpcError as error:
                raise self._explained(error_of_call(error, self._address), timeout_s) from None
            except ValueError:  # closed under the call, by a fork or by `close`
                raise TransportError(f"the channel to {self._address} is closed") from None

    def responses(
        self,
        stub: Callable[[Any], T],
        name: str,
        request: Any,
        timeout_s: float,
        metadata: Metadata | None = None,
        opened: Callable[[Callable[[], object]], None] | None = None,
    ) -> Generator[Any, None, None]:
        """The responses of a server stream. opened: told how to end it from another thread.

        Raises the ReflexArcError its end maps to.
        """
        import grpc

        from reflexarc_proto.wire import error_of_call

        call = None
        with self._calling(stub) as made:
            try:
                call = getattr(made, name)(request, timeout=timeout_s, metadata=self._shown(metadata))
                if opened is not None:
                    opened(call.cancel)
                for response in call:
                    if isinstance(response, _Unreadable):
                        raise TransportError(f"the server at {self._address} answered what cannot be read")
                    yield response
            except grpc.RpcError as error:
                # Whoever may end it from outside must not wait for a look at the other side.
                patience_s = timeout_s if opened is None else 0.0
                raise self._explained(error_of_call(error, self._address), patience_s) from None
            except ValueError:  # closed under the call, by a fork or by `close`
                raise TransportError(f"the channel to {self._address} is closed") from None
            finally:
                if call is not None:
                    call.cancel()

    def stream(
        self,
        stub: Callable[[Any], T],
        name: str,
        request: Any,
        timeout_s: float,
        bytes_max: int,
        metadata: Metadata | None = None,
    ) -> bytes:
        """The concatenated `chunk`s of a server stream, at most `bytes_max` bytes."""
        received = bytearray()
        with contextlib.closing(self.responses(stub, name, request, timeout_s, metadata)) as parts:
            for part in parts:
                received += part.chunk
                if len(received) > bytes_max:
                    raise TransportError("the server sent more than it announced")
        return bytes(received)

    def close(self) -> None:
        """Close the channel: calls under way end, and no other begins."""
        with self._lock:
            self._closed = True
            channel, self._channel = self._channel, None
            self._stubs.clear()
        if channel is not None and self._pid == os.getpid():
            self._shut(channel)

    def renew(self) -> None:
        """Give the connection up: the next call makes a new one. A connection whose other end is gone may look alive for ever."""
        with self._lock:
            channel, self._channel = self._channel, None
            self._stubs.clear()
        if channel is not None and self._pid == os.getpid():
            self._shut(channel)

    def before_fork(self) -> None:
        """Nobody of ours may be inside gRPC while the process forks: calls under way end, and the next ones wait.

        They are made anew after it: what they carried is sent again.
        """
        with self._lock:
            self._is_forking = True
            channel, self._channel = self._channel, None
            self._stubs.clear()
        if channel is not None and self._pid == os.getpid():
            self._shut(channel)
            with self._lock:
                self._lock.wait_for(lambda: self._inside == 0, FORK_WAIT_S)

    def after_fork_in_parent(self) -> None:
        """Calls may begin again."""
        with self._lock:
            self._is_forking = False
            self._lock.notify_all()

    def _shown(self, metadata: Metadata | None) -> Metadata:
        return self._metadata if metadata is None else metadata

    def _explained(self, error: ReflexArcError, timeout_s: float) -> ReflexArcError:
        """The error with what stands against a verified connection, looked for now and then: grpc says "unavailable" for all."""
        if type(error) is not TransportError or error.hint or self._closed:
            return error
        if self._trust.insecure:
            return TransportError(error.message, hint="is it running there, and in plaintext?")
        if self._trust.stamp() != self._stamp:
            self.renew()  # the authorities were replaced under us: a device may run for years
            return error
        now = time.monotonic()
        if now >= self._look_again_at and timeout_s >= LOOK_S:
            self._why_not = self._trust.why_not(self._address)
            self._look_again_at = time.monotonic() + (LOOK_EVERY_S if self._why_not else LOOK_S)
        return TransportError(error.message, hint=self._why_not or "is it running there?")

    def _shut(self, channel: Any) -> None:
        """Close a channel once nobody watches its connection: gRPC's own thread would complain on standard error."""
        if self._on_reachable is not None:
            channel.unsubscribe(self._on_state)
            deadline = time.monotonic() + WATCH_S
            watched = getattr(channel, "_connectivity_state", None)
            while getattr(watched, "polling", False) and time.monotonic() < deadline:
                time.sleep(0.005)
        channel.close()

    @contextlib.contextmanager
    def _calling(self, stub: Callable[[Any], T]) -> Iterator[T]:
        made = self._stub(stub)
        try:
            yield made
        finally:
            with self._lock:
                self._inside -= 1
                self._lock.notify_all()

    def _on_state(self, state: Any) -> None:
        """The connection itself says that the server went away, or is back: sooner than the next call would."""
        import grpc

        assert self._on_reachable is not None
        is_ready = state is grpc.ChannelConnectivity.READY
        if is_ready:
            self._look_again_at, self._why_not = 0.0, ""
        self._on_reachable(is_ready)

    def _open(self) -> Any:
        import grpc

        options = [
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ("grpc.initial_reconnect_backoff_ms", self._backoff_ms[0]),
            ("grpc.min_reconnect_backoff_ms", self._backoff_ms[0]),
            ("grpc.max_reconnect_backoff_ms", self._backoff_ms[1]),
            ("grpc.enable_http_proxy", 0),
        ]
        self._stamp = self._trust.stamp()
        if self._trust.insecure:
            return grpc.insecure_channel(self._address, options=options)
        return grpc.secure_channel(self._address, self._trust.credentials(), options=options)

    def _stub(self, stub: Callable[[Any], T]) -> T:
        forking.keep_quiet(self)
        with self._lock:
            self._lock.wait_for(lambda: not self._is_forking, FORK_WAIT_S)
            if self._closed:
                raise TransportError(f"the channel to {self._address} is closed")
            if self._channel is None or self._pid != os.getpid():
                # A channel made before a fork belongs to the parent.
                self._pid = os.getpid()
                self._stubs.clear()
                is_green = _get_on_with_gevent()
                self._channel = self._open()
                if self._on_reachable is not None and not is_green:
                    self._channel.subscribe(self._on_state, try_to_connect=True)
            held = self._stubs.get(stub)
            if held is None:
                held = self._stubs[stub] = stub(_Readable(self._channel))
            self._inside += 1
            found: T = held
            return found


class _Unreadable:
    """In the place of a response that could not be read."""


class _Readable:
    """A channel for a stub: gRPC would keep a streaming call for ever, and what belongs to it, whose response cannot be read."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.unary_unary = channel.unary_unary

    def unary_stream(self, *given: Any, response_deserializer: Callable[[bytes], object], **more: Any) -> Any:
        from google.protobuf.message import DecodeError

        def read(content: bytes) -> object:
            try:
                return response_deserializer(content)
            except DecodeError:
                return _Unreadable()

        return self._channel.unary_stream(*given, response_deserializer=read, **more)


def _get_on_with_gevent() -> bool:
    """Whether threads here are gevent's greenlets; gRPC is told then, for a call would stop every other one.

    The connection is not watched in that case: gRPC's thread for that would never give way.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return False
    from grpc.experimental import gevent as grpc_gevent

    grpc_gevent.init_gevent()
    return True
