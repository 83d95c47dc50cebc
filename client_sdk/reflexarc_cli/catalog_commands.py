"""`reflexarc catalog`: check, build, compare, and say which version is live."""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from reflexarc_cli.access import Access, with_access
from reflexarc_core.errors import ReflexArcError, StorageError

if TYPE_CHECKING:
    from reflexarc_cli.catalogs.difference import Change
    from reflexarc_cli.catalogs.versions import Entry


def _you() -> str:
    """The user's name, where the system knows one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"


FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
IN = click.option("--in", "folder", type=click.Path(path_type=Path, file_okay=False), help="Its folder.")
FOLDER = click.option("--in", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="Its folder.")
SERVER = click.option(
    "--server", envvar="REFLEXARC_SERVER", metavar="ADDRESS", help="host:port of a running server, in place of a folder."
)
BY = click.option("--by", default=_you, show_default="you", help="Who does it, for the history.")
YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group()
def catalog() -> None:
    """Check, build, compare and promote catalogs."""


@catalog.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Read a catalog and say everything that is wrong with it."""
    try:
        from reflexarc_build.reader import check_file
    except ImportError:
        raise _no_build() from None
    built, unused = check_file(file)
    for note in unused:
        click.echo(f"note: {note}", err=True)
    click.echo(
        f"{file}: {len(built.event_types)} event types, {len(built.features)} features, {len(built.models)} models,"
        f" {len(built.triggers)} triggers, digest {built.digest[:12]}"
    )


@catalog.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The built catalog (.json).")
def build(file: Path, output: Path) -> None:
    """Build a catalog for devices."""
    try:
        from reflexarc_build.reader import build_file
    except ImportError:
        raise _no_build() from None
    built = build_file(file)
    try:
        output.write_bytes(built.to_bytes())
    except OSError as error:
        raise StorageError(f"{output} cannot be written: {error.strerror}") from None
    click.echo(f"{output}: {output.stat().st_size:,} bytes, digest {built.digest}")


@catalog.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to; standard output by default.")
def schema(output: Path | None) -> None:
    """Print the JSON Schema of a catalog's source, for editors."""
    try:
        from reflexarc_build.schema import catalog_schema
    except ImportError:
        raise _no_build() from None
    text = json.dumps(catalog_schema(), indent=1) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{output} cannot be written: {error.strerror}") from None


@catalog.command()
@click.argument("file", type=FILE)
def show(file: Path) -> None:
    """Write a catalog, a built one too, as YAML: everything it holds, what it includes as well."""
    try:
        from reflexarc_build.writer import text_of
    except ImportError:
        raise _no_build() from None
    from reflexarc.definitions import load_catalog

    click.echo(text_of(load_catalog(file)), nl=False)


@catalog.command()
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diff(old: Path, new: Path, as_json: bool) -> None:
    """Say which definitions of NEW are not as in OLD, and in what. Exit status 0 whether or not there are any."""
    from reflexarc.definitions import load_catalog
    from reflexarc_cli.catalogs.difference import differ

    one, other = load_catalog(old), load_catalog(new)
    changes = differ(one, other)
    if as_json:
        found = {"old": one.digest, "new": other.digest, "changes": [change.to_json() for change in changes]}
        click.echo(json.dumps(found))
    else:
        _print(changes)


@catalog.command()
@click.argument("file", type=FILE)
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Its folder, made if new.")
@SERVER
@BY
@click.option("--note", default="", help="Why, for the history.")
@click.option("--needs-approval", is_flag=True, help="Let it wait until somebody else approves (in a folder).")
@YES
@with_access
def promote(
    file: Path, folder: Path | None, server: str | None, by: str, note: str, needs_approval: bool, yes: bool, access: Access
) -> None:
    """Make a catalog the live one of a folder, FOLDER/live.json, or of a running server. What changes is told first.

    A server makes a bundle of it, with confidence tables for its lines from the live models, and its devices take it over. It
    refuses what a host could not run, or the live models were not trained for.
    """
    from reflexarc.definitions import load_catalog
    from reflexarc_cli.catalogs.difference import differ
    from reflexarc_cli.catalogs.versions import Versions
    from reflexarc_core.catalog import Catalog

    fresh, place = load_catalog(file), _place(folder, server, "--to")
    if isinstance(place, str):
        if needs_approval:
            raise click.UsageError("--needs-approval is for a folder: promote from there when it is approved")
        with access.operator(place) as operator:
            live = operator.catalog()
            notes = operator.check_catalog(fresh)
            _print(differ(live, fresh))
            for told in notes:
                click.echo(f"note: {told}", err=True)
            _ask("make it live", yes)
            change, _ = operator.promote(fresh, by=by, note=note, live_catalog_digest=live.digest)
        click.echo(_entry(change))
        return
    versions = Versions(place)
    _print(differ(versions.live() or Catalog(), fresh))
    _ask("make it live" if not needs_approval else "propose it", yes)
    click.echo(versions.promote(fresh, by, note, _now(), needs_approval=needs_approval))


@catalog.command()
@FOLDER
@BY
def approve(folder: Path, by: str) -> None:
    """Make live what somebody else proposed. What changes is told."""
    from reflexarc_cli.catalogs.difference import differ
    from reflexarc_cli.catalogs.versions import Versions
    from reflexarc_core.catalog import Catalog

    versions = Versions(folder)
    changes = differ(versions.live() or Catalog(), versions.pending())
    entry = versions.approve(by, _now())
    _print(changes)
    click.echo(entry)


@catalog.command()
@IN
@SERVER
@click.option(
    "--to", "digest", default="", metavar="DIGEST", help="Which version, of a server which bundle; the one before by default."
)
@BY
@click.option("--note", default="", help="Why, for the history.")
@with_access
def rollback(folder: Path | None, server: str | None, digest: str, by: str, note: str, access: Access) -> None:
    """Make an earlier version live again, at once; on a server the earlier bundle, its models too. What changes is told."""
    from reflexarc_cli.catalogs.difference import differ
    from reflexarc_cli.catalogs.versions import Versions
    from reflexarc_core.catalog import Catalog

    place = _place(folder, server, "--in")
    if isinstance(place, str):
        with access.operator(place) as operator:
            change = operator.roll_back(digest, by=by, note=note)
            _print(differ(operator.catalog(change["before_digest"]), operator.catalog(change["digest"])))
        click.echo(_entry(change))
        return
    versions = Versions(place)
    changes = differ(versions.live() or Catalog(), versions.earlier(digest))
    entry = versions.roll_back(digest, by, note, _now())
    _print(changes)
    click.echo(entry)


@catalog.command()
@IN
@SERVER
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_access
def history(folder: Path | None, server: str | None, as_json: bool, access: Access) -> None:
    """Say which versions were live, since when, and who made them so. Of a server: which bundles."""
    from dataclasses import asdict

    from reflexarc_cli.catalogs.versions import Versions

    place = _place(folder, server, "--in")
    if isinstance(place, str):
        with access.operator(place) as operator:
            entries = [_entry(change) for change in operator.changes()]
    else:
        entries = Versions(place).history()
    if as_json:
        click.echo(json.dumps({"history": [asdict(entry) for entry in entries]}))
        return
    for entry in entries:
        click.echo(entry)
    if not entries:
        click.echo("nothing was promoted here yet", err=True)


def _place(folder: Path | None, server: str | None, option: str) -> Path | str:
    """A folder, or a server's address. A folder that is named goes before what the environment says of a server."""
    typed = click.get_current_context().get_parameter_source("server") is ParameterSource.COMMANDLINE
    if folder is not None and typed:
        raise click.UsageError(f"{option} or --server, not both")
    if folder is not None:
        return folder
    if server is None:
        raise click.UsageError(f"give {option} FOLDER or --server ADDRESS")
    return server


def _entry(change: dict[str, Any]) -> Entry:
    """A change of what is live on a server, in the words of a folder's history."""
    from reflexarc_cli.catalogs.versions import Entry

    by = change["by"] or "somebody"
    return Entry(
        change["change_time"], change["action"], change["digest"], change["before_digest"], change["catalog_version"],
        f"{by} with key {change['key_id']}" if change["key_id"] else by, change["note"],
    )  # fmt: skip


def _print(changes: list[Change]) -> None:
    for change in changes:
        for line in change.lines():
            click.echo(line)
    if not changes:
        click.echo("no definition differs")


def _ask(what: str, yes: bool) -> None:
    """On a terminal somebody is asked; where nobody is, `--yes` has to say it."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: add --yes")
    click.confirm(f"{what}?", abort=True)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _no_build() -> ReflexArcError:
    return ReflexArcError("catalogs cannot be built here", hint="pip install 'reflexarc[build]'")
