"""`reflexarc store`: the words a person types about a device's store. What they do is in `reflexarc_cli.store`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click

from reflexarc_cli.misuse import Misused
from reflexarc_core.errors import StorageError

FOLDER: Final = click.argument("folder", type=click.Path(readable=False, path_type=Path))
KEY_FILE: Final = click.option(
    "--key-file",
    metavar="FILE",
    type=click.Path(readable=False, path_type=Path),
    help="The key of an encrypted store: 32 bytes, or 64 hex digits.",
)
AS_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(short_help="Look at a device's store, check it, mend it.")
def store() -> None:
    """Look at a device's store, check it, mend it, copy its records out."""


@store.command(short_help="What is in a store; changes nothing.")
@FOLDER
@KEY_FILE
@AS_JSON
def inspect(folder: Path, key_file: Path | None, as_json: bool) -> None:
    """Say what is in a store: counts, numbers and sizes, never what was captured.

    Reads only, also while the store's process runs. Of an encrypted store everything is told without its key, but for what the
    server acknowledged and where the snapshot stands.
    """
    from reflexarc_cli.store.inspection import inspect as facts_of
    from reflexarc_cli.store.page import inspection_page
    from reflexarc_cli.store.place import seal_of, store_folder

    facts = facts_of(store_folder(folder), seal_of(key_file))
    click.echo(json.dumps(facts) if as_json else inspection_page(facts))


@store.command(short_help="Whether a store is sound; changes nothing.")
@FOLDER
@KEY_FILE
@AS_JSON
def verify(folder: Path, key_file: Path | None, as_json: bool) -> None:
    """Read everything in a store and say whether it is sound.

    Reads only, also while the store's process runs. Each thing that is wrong is one line with what to do. Exit status: 0 sound,
    1 something is wrong, 2 there is no store, or its key is missing.
    """
    from reflexarc_cli.store.page import verdict_page
    from reflexarc_cli.store.place import seal_of, store_folder
    from reflexarc_cli.store.verification import verify as verdict_of

    verdict = verdict_of(store_folder(folder), seal_of(key_file))
    click.echo(json.dumps(verdict.to_json()) if as_json else verdict_page(verdict))
    if not verdict.is_sound:
        raise click.exceptions.Exit(1)


@store.command(short_help="Mend a damaged store.")
@FOLDER
@KEY_FILE
def repair(folder: Path, key_file: Path | None) -> None:
    """Mend a store that no process owns: what can be read is kept, what cannot becomes a loss with its number.

    A damaged database is set aside, never deleted. A sound store stays as it is, but for what only its journal held, which is
    brought into it. May be interrupted: run it again. Exit status: 0 sound now, 1 something is still wrong.
    """
    from reflexarc_cli.store.mending import repair as mend
    from reflexarc_cli.store.page import mended_page
    from reflexarc_cli.store.place import seal_of, store_folder

    mended = mend(store_folder(folder), seal_of(key_file))
    click.echo(mended_page(mended))
    if not mended.after.is_sound:
        raise click.exceptions.Exit(1)


@store.command(short_help="Copy a store's records out, with what was captured.")
@FOLDER
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to; - for standard output.")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True, help="CSV: of events only."
)
@click.option(
    "--kind",
    type=click.Choice(["events", "decisions", "dead", "all"]),
    help="Which records; all, or with CSV events, by default. dead: dead letters, with their reasons.",
)
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only records with a number behind this one.")
@click.option("--force", is_flag=True, help="Replace the file when it is there.")
@KEY_FILE
def export(folder: Path, output: str, form: str, kind: str | None, after: int, force: bool, key_file: Path | None) -> None:
    """Copy a store's records into a file, one a line.

    PRINTS WHAT WAS CAPTURED: subjects, properties, payloads, and of an encrypted store in the clear. That is its purpose; whoever
    has the file has the data. It is made readable for you alone, and there whole or not at all. Reads the store only, also while
    its process runs.
    """
    from reflexarc_cli.store.exporting import export as copy_out
    from reflexarc_cli.store.place import seal_of, store_folder

    as_csv = form == "csv"
    if as_csv and kind not in (None, "events"):
        raise Misused("CSV holds events only", hint="--kind events, or --format jsonl")
    found = copy_out(
        store_folder(folder), output, seal_of(key_file), as_csv=as_csv, kind=kind or ("events" if as_csv else "all"), after=after,
        force=force,
    )  # fmt: skip
    click.echo(_of(found.record_count, "record"), err=True)
    if found.captures_waiting:
        click.echo(f"{_of(found.captures_waiting, 'capture')} of other processes: no records yet", err=True)
    if found.unreadable_count:
        count = _of(found.unreadable_count, "record")
        raise StorageError(f"{count} cannot be read: left out", hint=f"reflexarc store verify {folder}")


def _of(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"
