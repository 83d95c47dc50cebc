"""How a caller shows who it is: a service its key; a device a credential, renewed with a secret that its store keeps for good.

Owns the secret. It leaves the device over a verified connection only, when the device enrols and when it renews. A secret, a
token or a credential must never be printed, logged or put into an error.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from reflexarc.chance import CHANCE
from reflexarc_core.errors import PermissionDeniedError, TransportError, UnauthenticatedError
from reflexarc_core.secret import SECRET_BYTES, derive_file_key
from reflexarc_edge.log import Log
from reflexarc_edge.whole import whole_file

Metadata = tuple[tuple[str, str], ...]
Ask = Callable[[str, Any, float], Any]
"""A call of IdentityService: its name, the request, its deadline in seconds. Shows nothing."""

RENEW_AT: Final = (0.5, 0.75)
"""Between which shares of its life a credential is renewed: drawn, so that a fleet does not renew in one minute."""
_NO_KEY: Final = "set REFLEXARC_API_KEY_FILE to a file that holds one; to a server in plaintext, say insecure"
AGAIN_S: Final = 60.0
"""Pause after a renewal that failed while the credential still holds."""
_HINT: Final = "set Config.enrolment_token to one of the operator's: reflexarc token create"
SECRET_FILE: Final = "secret"
_SECRET: Final = "secret"
_ENROLLED: Final = "enrolled"


def bearer(text: str) -> Metadata:
    """A key or credential as a call carries it."""
    return (("authorization", f"Bearer {text}"),)


def service_key(file: str = "", *, hint: str = _NO_KEY) -> str:
    """A service's key: in that file, else REFLEXARC_API_KEY, else in the file that REFLEXARC_API_KEY_FILE names.

    Never from an argument: those can be read by everybody on the machine. Raises UnauthenticatedError with that hint when there
    is none.
    """
    said = os.environ.get("REFLEXARC_API_KEY", "") if not file else ""
    name = file or os.environ.get("REFLEXARC_API_KEY_FILE", "")
    if not said and name:
        try:
            said = Path(name).read_text()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise UnauthenticatedError(f"the key file {name} cannot be read: {why}") from None
    if not said.strip():
        raise UnauthenticatedError("no key for the server", hint=hint)
    return said.strip()


def device_secret(log: Log) -> bytes:
    """This installation's secret, made at the first call. The device makes it, so that an enrolment whose answer was lost can
    be repeated. Raises StorageError.

    It is kept in the store, and a second time beside it, for an installation outlives its database. An encrypted store keeps it
    once: nothing there is readable without the key.
    """
    held = _held_secret(log) or secrets.token_bytes(SECRET_BYTES)
    if log.meta(_SECRET, None) != held:
        log.keep_meta(_SECRET, held)
        log.sync_to_disk()  # a server must never know a secret that a power cut takes from the device
    if not log.is_sealed and _beside(log) != held:
        _keep_beside(log, held)
    return held


def _held_secret(log: Log) -> bytes | None:
    held = log.meta(_SECRET, None)
    return held if isinstance(held, bytes) and len(held) == SECRET_BYTES else _beside(log)


def _beside(log: Log) -> bytes | None:
    return secret_beside(log.folder, log.installation)


def secret_beside(folder: Path, installation: str) -> bytes | None:
    """What the file beside a store says of this installation; None for nothing, or for another's."""
    try:
        named, _, text = (folder / SECRET_FILE).read_text().strip().rpartition(" ")
        held = bytes.fromhex(text)
    except (OSError, ValueError):
        return None
    return held if named == installation and len(held) == SECRET_BYTES else None


def _keep_beside(log: Log, secret: bytes) -> None:
    """Put in place whole. A disk that will not have it costs the second copy only."""
    with contextlib.suppress(OSError), whole_file(log.folder / SECRET_FILE) as file:
        file.write(f"{log.installation} {secret.hex()}\n".encode())


def file_key(log: Log) -> bytes:
    """The key that signs this installation's sync files; the server has the same once the device enrolled."""
    return derive_file_key(device_secret(log))


class Credential:
    """What a device shows with every call: enrolled for with a token once, renewed while it holds and whenever it does not.

    Its life is measured from when it came, by a clock that nobody sets: the device's own may be wrong by years.
    """

    def __init__(self, log: Log, token: str, ask: Ask) -> None:
        self._log = log
        self._token = token.strip()  # read from a file, as a rule
        self._ask = ask
        self._lock = threading.Lock()
        self._text = ""
        self._renew_at = 0.0
        self._over_at = 0.0

    def metadata(self, timeout_s: float) -> Metadata:
        """What to send with a call. May call the server first.

        Raises UnauthenticatedError when the device is not enrolled and has no token, or the server does not know it,
        PermissionDeniedError when it is revoked, TransportError when the server cannot be reached.
        """
        with self._turn(timeout_s):
            now = time.monotonic()
            if not self._text or now >= self._renew_at:
                try:
                    self._take(self._obtain(timeout_s))
                except UnauthenticatedError:
                    self._text = ""
                    raise
                except TransportError:
                    if not self._text or now >= self._over_at:
                        raise
                    self._renew_at = now + AGAIN_S  # the old one holds: what there is to send must not wait for a new one
            return bearer(self._text)

    def refused(self, shown: Metadata) -> None:
        """The server did not believe what was shown: it is not shown again."""
        with self._lock:
            if bearer(self._text) == shown:
                self._text = ""

    @contextmanager
    def _turn(self, timeout_s: float) -> Iterator[None]:
        if not self._lock.acquire(timeout=timeout_s):
            raise TransportError("no credential yet", hint="one is being renewed")
        try:
            yield
        finally:
            self._lock.release()

    def _take(self, answer: Any) -> None:
        life_s = max(0.0, answer.expires_in_ms / 1_000.0)
        now = time.monotonic()
        self._text = answer.credential
        self._over_at = now + life_s
        self._renew_at = now + life_s * CHANCE.uniform(*RENEW_AT)

    def _obtain(self, timeout_s: float) -> Any:
        """An answer with a credential: by renewing, or else by enrolling."""
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        is_enrolled = self._log.meta(_ENROLLED, False)
        # A device that never was online may have been made known by hand: it has a secret, and no token.
        if not is_enrolled and not self._token and _held_secret(self._log) is None:
            raise UnauthenticatedError("this device is not enrolled", hint=_HINT)
        installation, secret = self._log.installation, device_secret(self._log)
        refusal: TransportError | None = None
        if is_enrolled or not self._token:
            request = messages.RenewCredentialRequest(installation=installation, secret=secret)
            try:
                return self._ask("RenewCredential", request, timeout_s)
            except UnauthenticatedError:  # another server, or an older copy of it, which may not know this device yet
                if not self._token:
                    raise UnauthenticatedError("the server does not know this device", hint=_HINT) from None
            except PermissionDeniedError as error:  # revoked: a token made for this device lets it in again
                if not self._token:
                    raise
                refusal = error
        enrolment = messages.EnrolInstallationRequest(token=self._token, installation=installation, secret=secret)
        try:
            answer = self._ask("EnrolInstallation", enrolment, timeout_s)
        except (UnauthenticatedError, PermissionDeniedError):
            if refusal is not None:  # the token is the one from long ago: what matters is that the device is revoked
                raise refusal from None
            raise
        self._log.keep_meta(_ENROLLED, True)
        return answer
