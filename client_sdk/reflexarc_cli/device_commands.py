"""`reflexarc explain` and `reflexarc stats`: questions to a device's own engine, by opening its store as its client would.

`explain` asks a server about its triggers too, and answers in the same form.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from click.core import ParameterSource

import reflexarc
from reflexarc_cli.access import Access, with_access
from reflexarc_cli.store_commands import AS_JSON, FOLDER, KEY_FILE
from reflexarc_core.errors import StorageError


@click.command(short_help="Why a trigger did, or did not, fire.")
@click.argument("words", metavar="[FOLDER] [TRIGGER]", nargs=-1)
@click.option(
    "--server", envvar="REFLEXARC_SERVER", metavar="ADDRESS", help="host:port of the server to ask, in place of FOLDER."
)
@click.option("--trigger", help="The same as TRIGGER.")
@click.option("--subject", help="For this subject, kind:id.")
@click.option("--decision", help="Why did this decision of a device come out as it did?")
@KEY_FILE
@AS_JSON
@with_access
def explain(
    words: tuple[str, ...], server: str | None, trigger: str | None, subject: str | None, decision: str | None,
    key_file: Path | None, as_json: bool, access: Access,
) -> None:  # fmt: skip
    """Explain a decision or a trigger from a device's own store (its client must not be running): FOLDER TRIGGER.

    A trigger of a server: --server ADDRESS --subject SUBJECT TRIGGER. A FOLDER goes before what the environment says
    of a server.
    """
    folder, wanted = _place(words, trigger, decision, server)
    if folder is None:
        if decision:
            raise click.UsageError("--decision is of a device's store: name its FOLDER")
        if not subject or not wanted or server is None:
            raise click.UsageError("of a server: give --subject and TRIGGER")
        backend = access.backend(server)
        found = backend.explain(wanted, subject)
        backend.close()
    else:
        with _client(folder, key_file) as client:
            found = client.explain(wanted, subject=subject, decision_id=decision or "")
    click.echo(json.dumps(found.to_json()) if as_json else found.text)


def _place(words: tuple[str, ...], trigger: str | None, decision: str | None, server: str | None) -> tuple[Path | None, str]:
    """The store's folder, None where a server is asked; and the trigger, empty where a decision is meant."""
    is_told = bool(trigger or decision)
    typed = click.get_current_context().get_parameter_source("server") is ParameterSource.COMMANDLINE
    if len(words) + is_told > 2 or (trigger and decision):
        raise click.UsageError("more than FOLDER and one of TRIGGER or --decision")
    is_folder = len(words) + is_told == 2
    if is_folder and typed:
        raise click.UsageError("a FOLDER or --server, not both")
    if is_folder:
        return Path(words[0]), words[1] if len(words) == 2 else trigger or ""
    if server is None:
        raise click.UsageError("give FOLDER and TRIGGER (or --decision), or --server, --subject and TRIGGER")
    return None, words[0] if words else trigger or ""


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
