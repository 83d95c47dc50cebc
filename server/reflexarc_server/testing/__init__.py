"""Fakes for tests, ours and yours: foreign systems that answer as the real ones do. Never part of a running server."""

from reflexarc_server.testing.channel import Receiver

__all__ = ["Receiver"]
