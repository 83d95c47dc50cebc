"""`reflexarc explain` and `reflexarc stats`: questions to a device's own engine, by opening its store as its client would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

import reflexarc
from reflexarc_cli.store_commands import FOLDER, KEY_FILE
from reflexarc_core.errors import StorageError


@click.command(short_help="Why a device's trigger did, or did not, fire.")
@FOLDER
@click.option("--trigger", help="Why would this trigger (not) fire now?")
@click.option("--subject", help="For this subject, kind:id.")
@click.option("--decision", help="Why did this decision come out as it did?")
@KEY_FILE
def explain(folder: Path, trigger: str | None, subject: str | None, decision: str | None, key_file: Path | None) -> None:
    """Explain a decision or a trigger from a device's own store (its client must not be running)."""
    if not trigger and not decision:
        raise click.UsageError("give --trigger or --decision")
    with _client(folder, key_file) as client:
        click.echo(client.explain(trigger or "", subject=subject, decision_id=decision or "").text)


@click.command(short_help="Print a device store's counters.")
@FOLDER
@KEY_FILE
def stats(folder: Path, key_file: Path | None) -> None:
    """Print a device store's counters as JSON (its client must not be running).

    This opens the store as a client does: what a restart ends is ended. `reflexarc store inspect` only looks.
    """
    with _client(folder, key_file) as client:
        click.echo(json.dumps(client.stats(), indent=2))


@contextmanager
def _client(folder: Path, key_file: Path | None) -> Iterator[reflexarc.Client]:
    """The client of a store that is there and nobody owns: looking at a folder must not make one of it, nor capture for it."""
    from reflexarc_cli.store.look import fitting_key
    from reflexarc_cli.store.place import owner_of, store_folder

    key = fitting_key(store_folder(folder), key_file)
    owner = owner_of(folder)
    if owner.is_alive:
        raise StorageError(
            f"the store at {folder} is in use by process {owner.pid or 'unknown'}", hint="ask there, or end that process first"
        )
    with reflexarc.Client(folder, share=False, key=key) as client:
        yield client
