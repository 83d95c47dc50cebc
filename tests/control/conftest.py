"""A running server per test, as the server's own tests have it."""

from __future__ import annotations

from tests.server.conftest import clock, connect, data, server, stubs

__all__ = ["clock", "connect", "data", "server", "stubs"]
