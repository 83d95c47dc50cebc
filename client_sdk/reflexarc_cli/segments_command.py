"""`reflexarc segments`: who is in which segment, counted by a server. Owns the words."""

from __future__ import annotations

import json
import time
from typing import Final

import click

from reflexarc_cli.access import Access, with_access
from reflexarc_cli.identity_commands import HOUR_MS, SERVER, show_table
from reflexarc_cli.store_commands import AS_JSON

COLUMNS: Final = ("segment", "subjects", "entered", "left", "followed")


@click.command(short_help="How many are in each segment, from a server.")
@click.argument("names", metavar="[SEGMENT]...", nargs=-1)
@SERVER
@click.option(
    "--hours", type=click.IntRange(1, 744), default=168, show_default=True, help="Count who came and went in so many hours."
)
@AS_JSON
@with_access
def segments(names: tuple[str, ...], server: str, hours: int, as_json: bool, access: Access) -> None:
    """How many subjects are in each SEGMENT of the live catalog now, and how many came and went in the last hours.

    Coming and going is counted for segments that a trigger of the server waits for, or that are tracked, in whole hours.
    """
    backend = access.backend(server)
    found = backend.segments(names, since_time=round(time.time() * 1_000) - hours * HOUR_MS)
    backend.close()
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = [{"segment": name, **one} for name, one in found["segments"].items()]
    show_table([{name: "-" if value is None else value for name, value in row.items()} for row in rows], COLUMNS, as_json=False)
