"""Who may see and decide over HTTP: the same keys and roles as over gRPC.

Owns how a request shows its key. A server without keys (`--insecure`) believes its own machine and nobody behind a proxy: what
came through one names the loopback too. Must never believe a write key.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.requests import Request

from reflexarc_core.errors import PermissionDeniedError, UnauthenticatedError
from reflexarc_server.identity.gate import AUTHORIZATION, Caller, Gate, OpenGate

READS: Final = "/reflexarc.v1.ReportService/CountEvents"
DECIDES: Final = "/reflexarc.v1.AdminService/LinkSubjects"
INGESTS: Final = "/reflexarc.v1.EventService/Track"
"""The gRPC calls whose roles hold here too: read or admin, admin, ingest or admin."""
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via", "origin")
_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")


def admitted(request: Request, call: str) -> Caller:
    """Who makes this request, as somebody who may make that gRPC call. Raises UnauthenticatedError, PermissionDeniedError."""
    gate: Gate | None = getattr(request.app.state, "gate", None)
    if gate is None:
        raise PermissionDeniedError("there are no keys here", hint="ask a server that runs with them")
    if not isinstance(gate, OpenGate):
        return gate.admit(call, ((AUTHORIZATION, request.headers.get(AUTHORIZATION, "")),))
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    near = request.client is not None and _is_loopback(request.client.host) and host in _HOSTS
    if not near or any(request.headers.get(name) for name in _FORWARDED):
        raise UnauthenticatedError("this server knows no keys, so only its own machine may ask", hint="run it with a certificate")
    return gate.admit(call, ())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
