"""A server of its own per test."""

from __future__ import annotations

from tests.server.conftest import churn, clock, connect, data, server, stubs

__all__ = ["churn", "clock", "connect", "data", "server", "stubs"]
