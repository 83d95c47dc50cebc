"""Fakes for tests, ours and yours: foreign systems that answer as the real ones do. Never part of a running server."""

from reflexarc_server.testing.channel import Receiver
from reflexarc_server.testing.crms import LocalHubSpot, LocalSalesforce

__all__ = ["LocalHubSpot", "LocalSalesforce", "Receiver"]
