"""`reflexarc doctor`: the words a person types. What is checked is in `reflexarc_cli.doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from reflexarc_cli.access import Access, with_access
from reflexarc_cli.store_commands import AS_JSON


@click.command(short_help="Whether this machine, and a store on it, are fit.")
@click.argument("folder", type=click.Path(readable=False, path_type=Path), required=False)
@click.option("--server", metavar="ADDRESS", help="host:port of a server that should answer.")
@AS_JSON
@with_access
def doctor(folder: Path | None, server: str | None, as_json: bool, access: Access) -> None:
    """Check this machine and, given a FOLDER, the place and the store in it. Changes nothing.

    Each line begins with ok, note (worth knowing) or wrong, and says what to do. Exit status: 0 unless something is wrong.
    """
    from reflexarc_cli.doctor import WRONG, examine

    lines = []
    for line in examine(folder, server, access.trust):
        lines.append(line)
        if not as_json:
            click.echo(str(line))
    is_fit = all(line.level != WRONG for line in lines)
    if as_json:
        click.echo(json.dumps({"fit": is_fit, "lines": [asdict(line) for line in lines]}))
    if not is_fit:
        raise click.exceptions.Exit(1)
