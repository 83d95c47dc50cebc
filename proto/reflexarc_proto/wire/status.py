"""The one table between the error family and gRPC statuses.

Both sides use it: the server to answer, the client to raise the same kind of error again. The kind also travels in the
trailing metadata ERROR_KEY; an answer without it (a proxy's, say) is judged by its status alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from reflexarc_core.errors import (
    ERROR_CLASSES,
    DefinitionError,
    InvalidEventError,
    LimitError,
    ManifestError,
    PermissionDeniedError,
    ReflexArcError,
    ScoringError,
    StorageError,
    SyncFileError,
    TransportError,
    UnauthenticatedError,
)
from reflexarc_proto.v1 import error_pb2

ERROR_KEY: Final = "reflexarc-error-bin"
INSTALLATION_KEY: Final = "reflexarc-installation"
RETRY_AFTER_MS_MAX: Final = 3_600_000

_STATUS: Final[dict[type[ReflexArcError], grpc.StatusCode]] = {
    DefinitionError: grpc.StatusCode.FAILED_PRECONDITION,
    InvalidEventError: grpc.StatusCode.INVALID_ARGUMENT,
    StorageError: grpc.StatusCode.INTERNAL,
    ManifestError: grpc.StatusCode.DATA_LOSS,
    ScoringError: grpc.StatusCode.NOT_FOUND,
    TransportError: grpc.StatusCode.UNAVAILABLE,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    LimitError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    SyncFileError: grpc.StatusCode.ABORTED,
}
_UNSAID: Final[dict[grpc.StatusCode, tuple[str, str]]] = {
    grpc.StatusCode.UNAVAILABLE: ("cannot be reached", ""),
    grpc.StatusCode.DEADLINE_EXCEEDED: ("did not answer in time", ""),
    grpc.StatusCode.UNIMPLEMENTED: ("does not know this call", "is it a reflexarc server, of this version?"),
    grpc.StatusCode.INTERNAL: ("answers something else", "is it a reflexarc server, and this the port of gRPC?"),
}
"""What grpc says by itself, for people: (message, hint)."""
_CLASS: Final = {code: cls for cls, code in _STATUS.items()}
_CLASS_OF_CODE: Final = {cls.code: cls for cls in ERROR_CLASSES}


def status_of(error: BaseException) -> grpc.StatusCode:
    """The status an error is answered with; UNKNOWN for anything outside the family."""
    for cls in type(error).__mro__:
        if cls in _STATUS:
            return _STATUS[cls]
    return grpc.StatusCode.UNKNOWN


def metadata_of(error: ReflexArcError) -> tuple[tuple[str, bytes], ...]:
    """Trailing metadata that lets the caller raise the same error."""
    detail = error_pb2.ErrorDetail(code=error.code, message=error.message[:1_000], hint=error.hint[:1_000])
    if isinstance(error, LimitError):
        detail.retry_after_ms = error.retry_after_ms
    return ((ERROR_KEY, detail.SerializeToString()),)


def error_of(
    code: grpc.StatusCode, details: str = "", metadata: Iterable[tuple[str, str | bytes]] | None = None
) -> ReflexArcError:
    """The error of a call that failed: by its trailing metadata, else by its status.

    TransportError when the status says nothing about us (deadline, cancelled).
    """
    for key, value in metadata or ():
        if key == ERROR_KEY and isinstance(value, bytes):
            detail = error_pb2.ErrorDetail()
            try:
                detail.ParseFromString(value)
            except DecodeError:
                break
            cls = _CLASS_OF_CODE.get(detail.code)
            if cls is LimitError:
                return LimitError(detail.message, hint=detail.hint, retry_after_ms=_pause(detail.retry_after_ms))
            if cls is not None:
                return cls(detail.message, hint=detail.hint)
    if code in _CLASS:
        return _CLASS[code](details or code.name)
    return TransportError(f"{code.name}: {details}" if details else code.name)


def _pause(retry_after_ms: int) -> int:
    """A pause as it was asked for, within reason: no answer may put a caller to sleep for years."""
    return min(max(0, retry_after_ms), RETRY_AFTER_MS_MAX)


def error_of_call(error: grpc.RpcError, address: str = "") -> ReflexArcError:
    """The error of a failed call as grpc raised it.

    address: of whom was called. With it, what no server of ours said is told in one line instead of in grpc's prose.
    """
    if not isinstance(error, grpc.Call):
        return TransportError(str(error))
    code, metadata = error.code(), tuple(error.trailing_metadata() or ())
    found = error_of(code, error.details() or "", metadata)
    if address and code in _UNSAID and all(key != ERROR_KEY for key, _ in metadata):
        message, hint = _UNSAID[code]
        return type(found)(f"the server at {address} {message}", hint=hint)
    return found
