"""`reflexarc token`, `installation`, `key`, `rotate-signing-key`: who may call a server. `reflexarc tls`: a pair for development.

Owns the words. A secret that was made is shown once: on standard output, or in a file for you alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from reflexarc_cli.access import Access, with_access
from reflexarc_cli.misuse import Misused
from reflexarc_cli.store_commands import AS_JSON
from reflexarc_core.errors import ReflexArcError, StorageError

SERVER: Final = click.option(
    "--server", required=True, envvar="REFLEXARC_SERVER", metavar="ADDRESS", help="host:port of the server."
)
OUTPUT: Final = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write it into this new file, for you alone, instead of printing it."
)
HOUR_MS: Final = 3_600_000


@click.group(short_help="Make, list and revoke enrolment tokens.")
def token() -> None:
    """Make, list and revoke enrolment tokens: with one, a new device becomes known."""


@token.command("create", short_help="Make an enrolment token.")
@SERVER
@click.option("--label", default="", help="A name for people: a shop, a fleet.")
@click.option("--uses", type=click.IntRange(1), default=1, show_default=True, help="How many devices may enrol with it.")
@click.option("--hours", type=click.IntRange(1), default=168, show_default=True, help="How long it is good.")
@click.option("--installation", default="", help="Only for this device: it lost its secret, or was revoked.")
@OUTPUT
@with_access
def create_token(server: str, label: str, uses: int, hours: int, installation: str, output: Path | None, access: Access) -> None:
    """Make an enrolment token, for Config.enrolment_token of the devices that are to become known."""
    _must_be_new(output)
    with _operator(access, server) as operator:
        text, kept = operator.create_token(label, uses_max=uses, life_ms=hours * HOUR_MS, installation=installation)
    _show_once(text, output)
    click.echo(f"token {kept['token_id']}: for {uses} device{'' if uses == 1 else 's'}, {hours} hours", err=True)


@token.command("list", short_help="List enrolment tokens.")
@SERVER
@AS_JSON
@with_access
def list_tokens(server: str, as_json: bool, access: Access) -> None:
    """List every enrolment token, without the token itself."""
    with _operator(access, server) as operator:
        found = operator.tokens()
    show_table(found, ("token_id", "label", "installation", "use_count", "uses_max", "expiry_time", "revoke_time"), as_json)


@token.command("revoke", short_help="Take no more devices with a token.")
@click.argument("token_id")
@SERVER
@with_access
def revoke_token(token_id: str, server: str, access: Access) -> None:
    """Take no more devices with a token; those that enrolled with it stay."""
    with _operator(access, server) as operator:
        operator.revoke_token(token_id)
    click.echo(f"token {token_id} is revoked", err=True)


@click.group()
def installation() -> None:
    """List and revoke the devices that enrolled."""


@installation.command("list", short_help="List enrolled devices.")
@SERVER
@AS_JSON
@with_access
def list_installations(server: str, as_json: bool, access: Access) -> None:
    """List every device that enrolled."""
    with _operator(access, server) as operator:
        found = operator.installations()
    show_table(found, ("installation", "token_id", "enrol_time", "revoke_time"), as_json)


@installation.command("revoke", short_help="Believe a device no more.")
@click.argument("name")
@SERVER
@with_access
def revoke_installation(name: str, server: str, access: Access) -> None:
    """Believe a device no more, from its next call on. It keeps what it captured, and goes on deciding by itself."""
    with _operator(access, server) as operator:
        operator.revoke_installation(name)
    click.echo(f"installation {name} is revoked", err=True)


@click.group()
def key() -> None:
    """Make, list and revoke the keys of services and people."""


@key.command("create", short_help="Make a key.")
@click.option("--role", required=True, type=click.Choice(["ingest", "score", "read", "admin"]), help="What it is for.")
@click.option("--label", default="", help="A name for people.")
@SERVER
@OUTPUT
@with_access
def create_key(role: str, label: str, server: str, output: Path | None, access: Access) -> None:
    """Make a key: ingest (track events), score, read (results and counts), admin (everything)."""
    _must_be_new(output)
    with _operator(access, server) as operator:
        text, kept = operator.create_key(role, label)
    _show_once(text, output)
    click.echo(f"key {kept['key_id']}: {role}", err=True)


@key.command("list", short_help="List keys.")
@SERVER
@AS_JSON
@with_access
def list_keys(server: str, as_json: bool, access: Access) -> None:
    """List every key, without the key itself."""
    with _operator(access, server) as operator:
        found = operator.keys()
    show_table(found, ("key_id", "role", "label", "create_time", "revoke_time"), as_json)


@key.command("revoke", short_help="Believe a key no more.")
@click.argument("key_id")
@SERVER
@with_access
def revoke_key(key_id: str, server: str, access: Access) -> None:
    """Believe a key no more, from its next call on."""
    with _operator(access, server) as operator:
        operator.revoke_key(key_id)
    click.echo(f"key {key_id} is revoked", err=True)


@click.command("rotate-signing-key", short_help="Let a new key sign the devices' credentials.")
@click.option("--at-once", is_flag=True, help="Refuse what was signed before from now on: a key got out. Every device renews.")
@SERVER
@with_access
def rotate_signing_key(at_once: bool, server: str, access: Access) -> None:
    """Let a new key sign the devices' credentials. What was signed before stays good until it is over."""
    with _operator(access, server) as operator:
        signing_key_id = operator.rotate_signing_key(at_once=at_once)
    click.echo(f"signing key {signing_key_id} signs now", err=True)


@click.group()
def tls() -> None:
    """Certificates for development."""


@tls.command(short_help="Make a development authority and a server's certificate.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--host", "hosts", multiple=True, help="Another name or address of the server; localhost is always in it.")
@click.option("--days", type=click.IntRange(1, 825), default=365, show_default=True, help="How long the certificate is good.")
def init(folder: Path, hosts: tuple[str, ...], days: int) -> None:
    """Make a development authority (ca.pem) and a server's certificate and key (server.pem, server-key.pem) in a FOLDER.

    Where ca.pem is there already, it vouches for a new server certificate: a running server takes that without a restart.
    """
    try:
        from reflexarc_cli.authority import make_pair
    except ImportError:
        raise ReflexArcError("certificates cannot be made here", hint="pip install 'reflexarc[server]'") from None
    try:
        made = make_pair(folder, ("localhost", "127.0.0.1", "::1", *hosts), days)
    except OSError as error:
        raise StorageError(f"{folder} cannot be used: {error.strerror}") from None
    for path, what in made:
        click.echo(f"{path}: {what}", err=True)


@contextlib.contextmanager
def _operator(access: Access, server: str) -> Iterator[Any]:
    found = access.operator(server)
    try:
        yield found
    finally:
        found.close()


def _must_be_new(output: Path | None) -> None:
    """Looks before anything is made: a secret that nobody wanted would stay good."""
    if output is not None and os.path.lexists(output):
        raise Misused(f"{output} is there already", hint="name a new file")


def _show_once(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text)
        return
    try:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text + "\n")
    except OSError as error:
        click.echo(text)  # made is made: it is not lost over a full disk
        raise StorageError(f"{output} cannot be written: {error.strerror}", hint="what was made stands above") from None


def show_table(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    """Rows as a table for people, or as JSON with everything they hold."""
    if as_json:
        click.echo(json.dumps(rows))
        return
    shown = [[_cell(name, row[name]) for name in columns] for row in rows]
    widths = [max(len(line[place]) for line in [list(columns), *shown]) for place in range(len(columns))]
    for line in [list(columns), *shown]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(name: str, value: Any) -> str:
    if name.endswith("_time"):
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(value / 1000)) if value else "-"
    return str(value) or "-"
