"""Whom a caller trusts at the other end: TLS against the system's authorities or one pinned file, or plaintext on this machine.

Owns the rule that plaintext is asked for by name and never leaves the loopback. There is no way to skip verification, and no
fallback from TLS to plaintext. Must never load grpc before the first connection.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reflexarc_core.errors import TransportError

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
SYSTEM_FILES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
LOOK_S: Final = 2.0
Stamp = tuple[int, int, int]

# What OpenSSL's codes mean for whoever has to do something about it: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_REASONS: Final = {
    9: "the server's certificate is not valid yet: set this machine's clock, which says {today}",
    10: "the server's certificate is over: renew it, or set this machine's clock, which says {today}",
    18: "the server's certificate is signed by itself: pin its authority with ca_file (--ca-file)",
    19: "the server's authority is not trusted here: pin it with ca_file (--ca-file)",
    20: "the server's authority is not trusted here: pin it with ca_file (--ca-file)",
    62: "the server's certificate is for another host: call it by the name it has",
    64: "the server's certificate is for another address: call it by the name it has",
}


@dataclass(frozen=True, slots=True)
class Trust:
    """insecure: plaintext, no authentication; loopback only. ca_file: PEM of those trusted; empty: the system's."""

    insecure: bool = False
    ca_file: str = ""

    def check(self, address: str) -> None:
        """Raises TransportError where plaintext is asked for and the address is not this machine's own."""
        if self.insecure and _host_port(address)[0] not in LOOPBACK:
            raise TransportError(f"{address} is not on this machine", hint="insecure (--insecure) is for loopback only: use TLS")

    def stamp(self) -> Stamp | None:
        """What changes when the pinned authorities are replaced; None where there are none, or the file is away."""
        try:
            found = os.stat(self.ca_file) if self.ca_file and not self.insecure else None
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size) if found is not None else None

    def credentials(self) -> Any:
        """For grpc.secure_channel. Raises TransportError when the authorities cannot be read."""
        import grpc

        return grpc.ssl_channel_credentials(root_certificates=_authorities(self.ca_file))

    def why_not(self, address: str) -> str:
        """What stands against a verified connection, with what to do about it; empty when nothing does, or nobody answers.

        Looks once more by itself, for grpc tells it in prose only. Says hello and nothing else, LOOK_S at most.
        """
        import socket
        import ssl

        host, port = _host_port(address)
        try:
            authorities = _authorities(self.ca_file)
            # Without a file of the system's the list is grpc's own, and this looks with Python's.
            context = ssl.create_default_context(cadata=authorities.decode("ascii", "replace") if authorities else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            with socket.create_connection((host, port), LOOK_S) as plain:
                plain.settimeout(LOOK_S)
                context.wrap_socket(plain, server_hostname=host).close()
        except ssl.SSLCertVerificationError as error:
            reason = _REASONS.get(error.verify_code, "the server's certificate cannot be trusted: {message}")
            return reason.format(today=time.strftime("%Y-%m-%d", time.gmtime()), message=error.verify_message)
        except ssl.SSLError:
            return "the server speaks no TLS from version 1.2 on: is it one in plaintext?"
        except (OSError, ValueError):
            return ""
        return ""


def _host_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port) if port.isascii() and port.isdigit() else 0


def _authorities(ca_file: str) -> bytes | None:
    """PEM of the authorities to trust; None leaves it to the list that grpc brings along."""
    if ca_file:
        try:
            content = Path(ca_file).read_bytes()
        except OSError as error:
            why = f"the CA file {ca_file} cannot be read: {error.strerror}"
            raise TransportError(why, hint="check ca_file (--ca-file)") from None
        if b"-----BEGIN CERTIFICATE-----" not in content:
            # An empty list would mean the default one to grpc: more trust than was asked for.
            raise TransportError(f"the CA file {ca_file} holds no certificate", hint="give a PEM file to ca_file (--ca-file)")
        return content
    for name in (os.environ.get("SSL_CERT_FILE", ""), *SYSTEM_FILES):
        try:
            return Path(name).read_bytes()
        except OSError:
            continue
    return None
