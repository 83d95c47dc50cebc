"""The server's certificate and key: two files, looked at again at every handshake.

Owns the rule that a pair is only used when it fits: while it is being replaced, the one before serves on. TLS 1.2 is the oldest
version spoken (grpc's own floor). Must never start without encryption because a file is missing.
"""

from __future__ import annotations

import logging
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from reflexarc_core.errors import TransportError

_log = logging.getLogger(__name__)
HINT: Final = "reflexarc tls init DIR makes a pair for development"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. cert: the server's certificate, then those between it and an authority. key: its private key, unencrypted."""

    cert: Path
    key: Path


def server_credentials(files: TlsFiles) -> Any:
    """For `add_secure_port`. Raises TransportError when the files cannot be read, or do not belong together."""
    return _Renewed(files).credentials


class _Renewed:
    """The files' content, read again when they changed."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._seen = self._stamp()
        self.credentials = grpc.dynamic_ssl_server_credentials(_read(files), self._fetch, require_client_authentication=False)

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        stats = [path.stat() for path in (self._files.cert, self._files.key) if path.exists()]
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)

    def _fetch(self) -> Any:
        """Called by grpc for each handshake; None keeps what was given before."""
        try:
            with self._lock:
                stamp = self._stamp()
                if stamp == self._seen:
                    return None
                fresh = _read(self._files)
                self._seen = stamp
        except (OSError, TransportError) as error:  # half of the pair is replaced: the next handshake looks again
            _log.warning("the certificate is not renewed yet: %s", error)
            return None
        return fresh


def _read(files: TlsFiles) -> Any:
    try:
        cert, key = files.cert.read_bytes(), files.key.read_bytes()
    except OSError as error:
        raise TransportError(f"{error.filename} cannot be read: {error.strerror}", hint=HINT) from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.cert, files.key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError):
        raise TransportError(f"{files.cert} and {files.key} are no certificate and its key in PEM", hint=HINT) from None
    return grpc.ssl_server_certificate_configuration([(key, cert)])


def _no_password() -> str:
    """An encrypted key is refused: nobody is there to be asked at a restart."""
    raise ValueError("encrypted")
