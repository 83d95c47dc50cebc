"""What happens around every call: who calls, how much they may, what an error becomes.

Owns nothing but the order: the gate says who calls before a byte of the message is decoded, then whether it is too much, then
the service is asked. No message ever names its sender. Every ReflexArcError is answered by the one status table; anything else
is logged here and answered without a word about our insides.
"""

from __future__ import annotations

import contextvars
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from reflexarc_core.errors import (
    InvalidEventError,
    LimitError,
    PermissionDeniedError,
    ReflexArcError,
    UnauthenticatedError,
)
from reflexarc_proto.wire import INSTALLATION_KEY, metadata_of, status_of
from reflexarc_proto.wire.width import PARTS_MAX, is_too_wide
from reflexarc_server.identity.gate import Caller, Gate

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
_OWN_SERVICES: Final = "/reflexarc.v1."
_PUSH: Final = "/reflexarc.v1.EventService/Push"
_UNREADABLE: Final = object()
_TOO_WIDE: Final = object()
_NOBODY: Final = Caller()
_log = logging.getLogger(__name__)
_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller", default=_NOBODY)
_postponed_ms: contextvars.ContextVar[int] = contextvars.ContextVar("postponed_ms", default=0)


@dataclass(frozen=True, slots=True)
class Request:
    """A message as it came: decoded, or _UNREADABLE or _TOO_WIDE, and its size."""

    message: Any
    byte_count: int


def caller() -> str:
    """The installation of the call that this thread serves; empty for none."""
    return _caller.get().installation


def role() -> str:
    """The role in which the call that this thread serves is made. In a stream: of its first step only."""
    return _caller.get().role


def key_id() -> str:
    """The key that the call showed which this thread serves; empty for none."""
    admitted = _caller.get()
    return "" if admitted.installation else admitted.meter_id


def device() -> str:
    """As `caller`, for services that only devices may call. Raises UnauthenticatedError."""
    installation = caller()
    if not installation:
        raise UnauthenticatedError(f"the call carries no metadata {INSTALLATION_KEY}", hint="only a device may make it")
    return installation


def postponed_ms() -> int:
    """How long this call's caller is to wait before a batch of theirs is taken; 0 when it is taken now.

    Of Push only: another status than OK would ask a device to send less, and a smaller batch would not help.
    """
    return _postponed_ms.get()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Sets the caller and answers errors, for our own services. Calls that may block are plain functions: gRPC runs them in
    the server's pool. Streams that stay open are asynchronous generators. read_push: makes of a Push request's bytes what its
    service takes."""

    def __init__(self, gate: Gate, read_push: Callable[[bytes], Any]) -> None:
        self._gate = gate
        self._read_push = read_push

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(_OWN_SERVICES):
            return handler
        try:
            admitted = self._gate.admit(method, handler_call_details.invocation_metadata or ())
        except ReflexArcError as error:
            return _refusing(handler, error)
        read = _reader(self._read_push if method == _PUSH else handler.request_deserializer)
        around = _Around(self._gate, admitted, method)
        if handler.unary_stream is not None:
            serve: Any = handler.unary_stream
            wrapped: Any = around.staying_open(serve) if inspect.isasyncgenfunction(serve) else around.streaming(serve)
            return grpc.unary_stream_rpc_method_handler(wrapped, read, handler.response_serializer)
        assert handler.unary_unary is not None  # the contract has no call that streams upwards
        return grpc.unary_unary_rpc_method_handler(around.unary(handler.unary_unary), read, handler.response_serializer)


class _Around:
    """One call: limits before it, the caller while it runs, its error after it."""

    def __init__(self, gate: Gate, admitted: Caller, method: str) -> None:
        self._gate = gate
        self._admitted = admitted
        self._method = method

    def unary(self, serve: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[[Request, grpc.ServicerContext], Any]:
        def called(request: Request, context: grpc.ServicerContext) -> Any:
            who = _caller.set(self._admitted)
            wait = _postponed_ms.set(0)
            try:
                self._charge(request, context.peer())
                return serve(_readable(request), context)
            except Exception as error:
                failure = error
            finally:
                _caller.reset(who)
                _postponed_ms.reset(wait)
            return _abort(failure, context)

        return called

    def streaming(
        self, serve: Callable[[Any, grpc.ServicerContext], Iterator[Any]]
    ) -> Callable[[Request, grpc.ServicerContext], Iterator[Any]]:
        def called(request: Request, context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                self._charge(request, context.peer())
                message = _readable(request)
                # grpc may pull each piece on another thread, so the caller is set for the first step only.
                who = _caller.set(self._admitted)
                try:
                    pieces = serve(message, context)
                finally:
                    _caller.reset(who)
                yield from pieces
            except GeneratorExit:
                raise
            except Exception as error:
                failure = error
            else:
                return
            _abort(failure, context)

        return called

    def staying_open(self, serve: Callable[[Any, Any], AsyncIterator[Any]]) -> Callable[[Request, Any], AsyncIterator[Any]]:
        async def called(request: Request, context: Any) -> AsyncIterator[Any]:
            _caller.set(self._admitted)  # each call runs in a context of its own
            try:
                self._charge(request, context.peer())
                async for piece in serve(_readable(request), context):
                    if not self._gate.holds(self._admitted):
                        raise PermissionDeniedError("who made this call is believed no more")
                    yield piece
            except Exception as error:
                failure = error
            else:
                return
            code, text, metadata = _answer(failure)
            await context.abort(code, text, metadata)

        return called

    def _charge(self, request: Request, peer: str) -> None:
        wait_ms = self._gate.wait_ms(self._admitted, request.byte_count, peer)
        if not wait_ms:
            return
        if self._method != _PUSH:
            raise LimitError("too many calls, or too many bytes", hint="send less, or later", retry_after_ms=wait_ms)
        _postponed_ms.set(wait_ms)


def _refusing(handler: grpc.RpcMethodHandler[Any, Any], error: ReflexArcError) -> grpc.RpcMethodHandler[Any, Any]:
    """Answers a caller who is not let in, and leaves the message as it came."""
    code, text, metadata = _answer(error)

    async def refuse(_: bytes, context: Any) -> None:
        await context.abort(code, text, metadata)

    async def refuse_stream(_: bytes, context: Any) -> AsyncIterator[bytes]:
        await context.abort(code, text, metadata)
        yield b""

    if handler.unary_stream is not None:
        return grpc.unary_stream_rpc_method_handler(refuse_stream)
    return grpc.unary_unary_rpc_method_handler(refuse)


def _reader(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Request]:
    """Bytes that are no message become _UNREADABLE: left to grpc they are answered INTERNAL, which asks to be sent again.
    A flood of small parts becomes _TOO_WIDE before memory is spent on it."""

    def read(content: bytes) -> Request:
        if is_too_wide(content):
            return Request(_TOO_WIDE, len(content))
        try:
            return Request(deserialize(content) if deserialize is not None else content, len(content))
        except DecodeError:
            return Request(_UNREADABLE, len(content))

    return read


def _readable(request: Request) -> Any:
    if request.message is _UNREADABLE:
        raise InvalidEventError("the request is no message of this service")
    if request.message is _TOO_WIDE:
        raise InvalidEventError("the request has too many parts, or one too large", hint=f"at most {PARTS_MAX:,} parts of a MiB")
    return request.message


def _abort(error: Exception, context: grpc.ServicerContext) -> None:
    code, text, metadata = _answer(error)
    if metadata:
        context.set_trailing_metadata(metadata)
    context.abort(code, text)


def _answer(error: Exception) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """(status, words, trailing metadata) of an error; what is not ours is logged here and says nothing."""
    if isinstance(error, ReflexArcError):
        return status_of(error), str(error), metadata_of(error)
    _log.error("a call failed", exc_info=error)
    return grpc.StatusCode.UNKNOWN, "internal error", ()
