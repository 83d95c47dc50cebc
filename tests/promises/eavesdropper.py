"""A peer that records what a client says to it: every byte on the wire, and every byte it could decrypt.

Where the handshake succeeds it answers like an HTTP/2 server, so that a client that trusts it goes on talking.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
import warnings
from types import TracebackType

from reflexarc_server.certificates import TlsFiles

SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
SILENCE_S = 0.5


def context_of(files: TlsFiles, newest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A server's side that speaks HTTP/2, at most in this version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    context.set_alpn_protocols(["h2"])
    if newest is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # old on purpose
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = newest
    return context


class Eavesdropper:
    """Listens on the loopback. context: None for plaintext. wire, said: raw and decrypted bytes of every connection."""

    def __init__(self, context: ssl.SSLContext | None, port: int = 0, host: str = "127.0.0.1") -> None:
        self._context = context
        self.wire = bytearray()
        self.said = bytearray()
        self.connections = 0
        self.handshakes = 0
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Eavesdropper:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with peer, contextlib.suppress(OSError, ssl.SSLError):
                peer.settimeout(SILENCE_S)
                if self._context is None:
                    self._in_plaintext(peer)
                else:
                    self._encrypted(peer, self._context)

    def _in_plaintext(self, peer: socket.socket) -> None:
        peer.sendall(SETTINGS)
        while content := peer.recv(65_536):
            self.wire += content
            self.said += content

    def _encrypted(self, peer: socket.socket, context: ssl.SSLContext) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        is_greeted = False
        while True:
            try:
                if not is_greeted:
                    tls.do_handshake()
                    self.handshakes += 1
                    tls.write(SETTINGS)
                    is_greeted = True
                while content := tls.read(65_536):
                    self.said += content
                return
            except ssl.SSLWantReadError:
                pass
            finally:
                if outgoing.pending:
                    with contextlib.suppress(OSError):
                        peer.sendall(outgoing.read())
            content = peer.recv(65_536)
            if not content:
                return
            self.wire += content
            incoming.write(content)


def _listen(host: str, port: int) -> socket.socket:
    """A port that somebody had a moment ago may need a moment."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_server((host, port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
