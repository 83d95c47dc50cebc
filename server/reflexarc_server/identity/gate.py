"""The gate every call passes: who calls, whether they may, whether they asked for too much.

Owns the answer to "who calls", which never comes from a message. Two gates: `OpenGate` takes a caller's word and is for plaintext
on the loopback only; `Guard` believes credentials and keys. Touches no disk on the way of a call.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from reflexarc_core.errors import DefinitionError, PermissionDeniedError, UnauthenticatedError
from reflexarc_proto.wire import INSTALLATION_KEY
from reflexarc_server.clock import Clock
from reflexarc_server.identity.credential import PREFIX as CREDENTIAL_PREFIX
from reflexarc_server.identity.credential import Ring
from reflexarc_server.identity.limits import Meter
from reflexarc_server.identity.registry import NEVER, Key, Registry
from reflexarc_server.identity.roles import ADMIN, ANYBODY, DEVICE, KEY_ROLES, ROLES

INSTALLATION_LENGTH_MAX: Final = 64
AUTHORIZATION: Final = "authorization"
KEY_PREFIX: Final = "rxk_"
LABEL_LENGTH_MAX: Final = 200
_BEARER: Final = "Bearer "

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. installation: of a device, empty for any other. meter_id: whose allowance the call uses, empty where no
    credential was shown."""

    role: str = ANYBODY
    installation: str = ""
    meter_id: str = ""


class Gate(Protocol):
    """What stands before the services."""

    def admit(self, method: str, metadata: Metadata) -> Caller:
        """Who makes this call (`/package.Service/Call`). Raises UnauthenticatedError or PermissionDeniedError."""
        ...

    def wait_ms(self, caller: Caller, byte_count: int, peer: str) -> int:
        """0 when the call is within the caller's limits, else how long they must wait. peer: where the call comes from."""
        ...

    def holds(self, caller: Caller) -> bool:
        """Whether a caller of a call that is still under way is believed to this moment."""
        ...


class OpenGate:
    """Believes everybody. meter: None for no limits, since a name that anybody may take is no caller to limit."""

    def __init__(self, meter: Meter | None = None) -> None:
        self._meter = meter

    def admit(self, method: str, metadata: Metadata) -> Caller:
        """See Gate. A device says in metadata which installation it is."""
        for key, value in metadata:
            if key == INSTALLATION_KEY and isinstance(value, str) and 0 < len(value) <= INSTALLATION_LENGTH_MAX:
                return Caller(DEVICE, value, value)
        return Caller(ADMIN)

    def wait_ms(self, caller: Caller, byte_count: int, peer: str) -> int:
        """See Gate."""
        return self._meter.take(caller.meter_id, byte_count) if self._meter is not None and caller.meter_id else 0

    def holds(self, caller: Caller) -> bool:
        """See Gate."""
        return True


class Guard:
    """Believes credentials and keys. What is revoked is refused from the next call on."""

    def __init__(self, registry: Registry, ring: Ring, clock: Clock, meter: Meter) -> None:
        self._registry = registry
        self._ring = ring
        self._clock = clock
        self._meter = meter
        self._lock = threading.Lock()
        self._keys: dict[bytes, Key] = {}
        self._believed_from: dict[str, int] = {}
        self._seen = -1

    def admit(self, method: str, metadata: Metadata) -> Caller:
        """See Gate."""
        allowed = ROLES.get(method, frozenset())
        if ANYBODY in allowed:
            return Caller()
        self._keep_up()
        caller = self._caller(metadata)
        if caller.role not in allowed:
            raise PermissionDeniedError(
                f"{method} is not for the role {caller.role}", hint=f"it is for {' or '.join(sorted(allowed)) or 'nobody'}"
            )
        return caller

    def wait_ms(self, caller: Caller, byte_count: int, peer: str) -> int:
        """See Gate. Whoever shows nothing yet is limited by the address they call from."""
        return self._meter.take(caller.meter_id or f"{ANYBODY} {peer.rpartition(':')[0]}", byte_count)

    def holds(self, caller: Caller) -> bool:
        """See Gate."""
        self._keep_up()
        if caller.installation:
            return self._believed_from.get(caller.installation, 0) < NEVER
        return not caller.meter_id or any(key.key_id == caller.meter_id for key in self._keys.values())

    def _keep_up(self) -> None:
        """Take in what was changed in the registry since: a call that comes after a change is judged by it."""
        if self._seen == self._registry.change_count:
            return
        with self._lock:
            count = self._registry.change_count
            self._keys = {key.digest: key for key in self._registry.all_keys() if not key.revoke_time}
            self._believed_from = self._registry.believed_from()
            self._seen = count  # last: until then every call waits here

    def _caller(self, metadata: Metadata) -> Caller:
        shown = [value for key, value in metadata if key == AUTHORIZATION]
        if len(shown) != 1 or not isinstance(shown[0], str) or not shown[0].startswith(_BEARER):
            raise UnauthenticatedError("the call shows no credential", hint="a device enrols, a service needs a key")
        credential = shown[0].removeprefix(_BEARER)
        if credential.startswith(CREDENTIAL_PREFIX):
            installation, issue_time = self._ring.verify(credential)
            if issue_time < self._believed_from.get(installation, 0):
                raise PermissionDeniedError("the installation is revoked", hint="an operator may enrol it again with a token")
            return Caller(DEVICE, installation, installation)
        key = self._keys.get(key_digest(credential))
        if key is None:
            raise UnauthenticatedError("the key is not known here", hint="it may be revoked: ask for a new one")
        return Caller(key.role, "", key.key_id)


def new_key(clock: Clock, role: str, label: str) -> tuple[str, Key]:
    """A service's key: its text, shown this once, and what is to be kept. Raises DefinitionError for a role that is none."""
    if role not in KEY_ROLES:
        raise DefinitionError(f"no role {role!r}", hint=" or ".join(KEY_ROLES))
    if len(label) > LABEL_LENGTH_MAX:
        raise DefinitionError("a label that long", hint=f"at most {LABEL_LENGTH_MAX} characters")
    text = KEY_PREFIX + secrets.token_urlsafe(32)
    return text, Key(secrets.token_hex(4), key_digest(text), role, label, clock.now_ms(), 0)


def key_digest(text: str) -> bytes:
    """What is kept of a key or token. Looked up as a whole: there is no prefix of it that could be guessed first."""
    return hashlib.sha256(text.encode()).digest()
