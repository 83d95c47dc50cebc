"""Certificates of every kind, made when a test asks for them, and a server that asks for credentials."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reflexarc.backend import Backend
from reflexarc.config import Config
from reflexarc.definitions import load_catalog
from reflexarc.operator import Operator
from reflexarc_server.app import Server, start_server
from reflexarc_server.certificates import TlsFiles
from reflexarc_server.clock import Clock, SystemClock

DAY = datetime.timedelta(days=1)
HOSTS = ("localhost", "127.0.0.1")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in files."""

    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    files: TlsFiles


class Authority:
    """Vouches for whatever it is asked to."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = name
        folder.mkdir(parents=True, exist_ok=True)
        self.own = self.issue(name, (), is_authority=True)
        self.ca_file = str(self.own.files.cert)

    def issue(
        self,
        name: str = "server",
        hosts: tuple[str, ...] = HOSTS,
        *,
        begins_in: datetime.timedelta = -DAY,
        ends_in: datetime.timedelta = 30 * DAY,
        is_authority: bool = False,
        signs_itself: bool = False,
    ) -> Pair:
        """A certificate; `begins_in` and `ends_in` from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        by_itself = is_authority or signs_itself
        issuer = _name(name) if by_itself else self.own.cert.subject
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins_in)
            .not_valid_after(now + ends_in)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_san(host) for host in hosts]), critical=False)
        cert = builder.sign(key if by_itself else self.own.key, hashes.SHA256())
        files = TlsFiles(self._folder / f"{name}.pem", self._folder / f"{name}-key.pem")
        files.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        files.key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return Pair(cert, key, files)


def _san(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class Secured:
    """A running server with a certificate, its operator's client, and what a device needs to reach it."""

    def __init__(self, folder: Path, clock: Clock | None = None, address: str = "127.0.0.1:0", **more: object) -> None:
        self.folder = folder
        self.data = folder / "server"
        if not (folder / "tls" / "authority.pem").exists():
            self.authority = Authority(folder / "tls")
            self.pair = self.authority.issue()
        self.ca_file = str(folder / "tls" / "authority.pem")
        files = TlsFiles(folder / "tls" / "server.pem", folder / "tls" / "server-key.pem")
        self.server: Server = start_server(
            self.data,
            address,
            load_catalog(None),
            clock or SystemClock(),
            tls=files,
            **more,  # type: ignore[arg-type]
        )
        self.address = self.server.address
        self.admin_key = (self.data / "admin-key").read_text().strip()
        self.operator = Operator(self.address, key=self.admin_key, ca_file=self.ca_file)

    def backend(self, key: str) -> Backend:
        """A client with another key."""
        return Backend(self.address, key=key, ca_file=self.ca_file)

    def config(self, token: str = "", **more: object) -> Config:
        """A device's."""
        given: dict[str, object] = {
            "poll_ms": 100, "backoff_ms_min": 20, "backoff_ms_max": 200, "flush_interval_ms": 5, "offset_minutes": 0,
            "locale": "en", "ca_file": self.ca_file, "enrolment_token": token,
        }  # fmt: skip
        return Config(**{**given, **more})  # type: ignore[arg-type]

    def stop(self) -> None:
        """End it."""
        self.operator.close()
        self.server.stop()
