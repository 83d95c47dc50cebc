"""Following: the device runs the bundle that its server announces.

Owns when a bundle is fetched, and when again one that could not be taken. Must never keep an exchange from going on: events,
erasures and decisions need no bundle.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from reflexarc.pacing import Pacing
from reflexarc.transport import Transport
from reflexarc_core.errors import DefinitionError, ManifestError, ScoringError, TransportError

if TYPE_CHECKING:
    from reflexarc.device import Device

REFUSED_S: Final = 600.0
"""How long a bundle that this device cannot run is left alone, unless the server announces another meanwhile."""
FILE_BYTES_A_S: Final = 65_536
"""A file has the time that it takes at this pace, beside the deadline of any call."""
TOLD_AFTER: Final = 3
"""Failed fetches in a row of which the host is told: a connection that breaks once is nothing to tell."""


class Following:
    """One device's. transport: to its server."""

    def __init__(self, transport: Transport, device: Device) -> None:
        self._transport = transport
        self._device = device
        self._deadline_s = device.config.push_deadline_ms / 1000.0
        self._pacing = Pacing(device.config.backoff_ms_min, device.config.backoff_ms_max)
        self._failed = ""
        self._told: type[Exception] | None = None
        self._look_again_at = 0.0

    def follow(self, digest: str, server_time: int) -> None:
        """Take the bundle a pull announced. One that cannot be taken is told of once, and tried again later. Never raises."""
        if digest != self._failed:
            self._failed, self._told = "", None
            self._pacing.succeeded()
        elif time.monotonic() < self._look_again_at:
            return
        try:
            self.take(digest, server_time)
        except Exception as error:
            pause_s = self._pacing.failed() / 1000.0
            if isinstance(error, (ManifestError, DefinitionError, ScoringError)):
                pause_s = REFUSED_S
            self._failed, self._look_again_at = digest, time.monotonic() + pause_s
            is_to_be_told = not isinstance(error, TransportError) or self._pacing.failures >= TOLD_AFTER
            if is_to_be_told and type(error) is not self._told:
                self._told = type(error)
                self._device.note("bundle", error)

    def take(self, digest: str, server_time: int) -> None:
        """Make that bundle live: the one that is still kept, or what the server has. Nothing is done when the server went on to
        another meanwhile, which its next answer announces. Raises ReflexArcError."""
        device = self._device
        with device.bundle_lock:
            if digest in ("", device.live_bundle):
                return
            bundle = device.bundles.held(digest)
            if bundle is None:
                manifest = self._transport.bundle_manifest(digest, self._deadline_s)
                if not manifest:
                    return
                bundle = device.bundles.install(digest, manifest, self._fetch)
            device.make_live(bundle)
        device.hear(server_time)

    def _fetch(self, sha256: str, byte_count: int) -> bytes:
        held = self._device.bundles.file(sha256)
        return held or self._transport.fetch(sha256, byte_count, self._deadline_s + byte_count / FILE_BYTES_A_S)


__all__ = ["Following"]
