"""The one family of errors.

Owns every exception the product raises on purpose. A foreign exception (sqlite3, grpc, onnxruntime) is mapped
into this family at the port it came through, never by reading its message.
"""

from __future__ import annotations


class ReflexArcError(Exception):
    """Base of all errors: a stable machine-readable `code`, a message, and a `hint` that says what to do."""

    code = "internal"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class DefinitionError(ReflexArcError):
    """A catalog, mapping or configuration says something that cannot be meant."""

    code = "definition"


class InvalidEventError(ReflexArcError):
    """What was sent does not fit: an event its declared type, a row its model. Never costs its neighbours anything."""

    code = "invalid_event"


class StorageError(ReflexArcError):
    """The device's or the server's store cannot be opened, read or written."""

    code = "storage"


class ManifestError(ReflexArcError):
    """A bundle or an artifact is not what its manifest says, or fails its self-test."""

    code = "manifest"


class ScoringError(ReflexArcError):
    """A model cannot give a score: unknown model, wrong vector, runtime failure."""

    code = "scoring"


class TransportError(ReflexArcError):
    """The other side could not be reached, refused, or did not answer within the deadline."""

    code = "transport"


class UnauthenticatedError(TransportError):
    """The server does not know who calls: no credential or key, or one that is wrong or over."""

    code = "unauthenticated"


class PermissionDeniedError(TransportError):
    """The server knows who calls, and does not let them: revoked, or a key of another role."""

    code = "permission_denied"


class LimitError(TransportError):
    """Too much. retry_after_ms: when to ask again; 0 when waiting will not help, because this one request is too large."""

    code = "limit"

    def __init__(self, message: str, *, hint: str = "", retry_after_ms: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_ms = retry_after_ms


class SyncFileError(ReflexArcError):
    """A sync file is refused: torn, altered, signed by somebody else, not for this installation or not for this side.

    Nothing of it was applied.
    """

    code = "sync_file"


ERROR_CLASSES: tuple[type[ReflexArcError], ...] = (
    DefinitionError,
    InvalidEventError,
    StorageError,
    ManifestError,
    ScoringError,
    TransportError,
    UnauthenticatedError,
    PermissionDeniedError,
    LimitError,
    SyncFileError,
)
