"""A development authority and a server's certificate, in files.

Owns their form: ECDSA on P-256, names in the subject alternative name, as RFC 5280 and RFC 6125 ask for. Not for production: the
authority's key lies beside its certificate.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reflexarc_core.errors import DefinitionError

AUTHORITY_DAYS: Final = 3_650
CLOCKS_APART: Final = datetime.timedelta(days=1)
"""A device's clock may be a little behind."""


def make_pair(folder: Path, hosts: tuple[str, ...], days: int) -> list[tuple[Path, str]]:
    """Write ca.pem and ca-key.pem unless they are there, then server.pem and server-key.pem; each path, and what it is.

    Raises DefinitionError when what is there is no authority, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made: list[tuple[Path, str]] = []
    ca_path, ca_key_path = folder / "ca.pem", folder / "ca-key.pem"
    if not ca_path.exists():
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca = _authority(ca_key)
        _write(ca_key_path, _private(ca_key), 0o600)
        _write(ca_path, ca.public_bytes(serialization.Encoding.PEM), 0o644)
        made.append((ca_path, "whom devices and services are to trust (ca_file)"))
    else:
        ca, ca_key = _load(ca_path, ca_key_path)
    key = ec.generate_private_key(ec.SECP256R1())
    cert = _server(key, ca, ca_key, tuple(dict.fromkeys(hosts)), days)
    key_path, cert_path = folder / "server-key.pem", folder / "server.pem"
    _write(key_path, _private(key), 0o600)
    _write(cert_path, cert.public_bytes(serialization.Encoding.PEM), 0o644)
    return [*made, (cert_path, f"the server's certificate (--tls-cert), for {days} days"), (key_path, "its key (--tls-key)")]


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reflexarc development authority")])
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        _begun(name, name, key, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def _server(
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    hosts: tuple[str, ...],
    days: int,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reflexarc server")])
    return (
        _begun(name, ca.subject, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _begun(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_APART)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise DefinitionError(f"{host!r} is no host", hint="a name or an address, without a port") from None


def _load(ca_path: Path, ca_key_path: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        ca = x509.load_pem_x509_certificate(ca_path.read_bytes())
        ca_key = serialization.load_pem_private_key(ca_key_path.read_bytes(), None)
    except (ValueError, TypeError):
        ca_key = None
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise DefinitionError(f"{ca_path} and {ca_key_path} are no authority of ours", hint="choose another folder")
    return ca, ca_key


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(path: Path, content: bytes, mode: int) -> None:
    """Put in place whole: a running server reads these files at any moment."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    beside.replace(path)
