"""`reflexarc subject`: what an operator says of a person, on the server.

Owns the words. A person's name is an argument here: who runs the command knows whom it is about.
"""

from __future__ import annotations

import click

from reflexarc_cli.access import Access, with_access
from reflexarc_cli.identity_commands import SERVER, show_table
from reflexarc_cli.store_commands import AS_JSON


@click.group(short_help="Say who is who, and erase people.")
def subject() -> None:
    """Say who is who, and erase people, on the server and on every device."""


@subject.command("forget", short_help="Erase a person everywhere.")
@click.argument("name", metavar="SUBJECT")
@SERVER
@with_access
def forget(name: str, server: str, access: Access) -> None:
    """Erase SUBJECT, written as kind:id: on the server now, on each device that sent something of it with its next exchange.

    What happened until now is refused from now on, whoever sends it. It cannot be undone.
    """
    backend = access.backend(server)
    is_done = backend.forget(name)
    backend.close()
    click.echo(f"{name}: {'nothing is left of it on the server' if is_done else 'erased; the server still rewrites its file'}")


@subject.command("link", short_help="Say that a subject is a known person.")
@click.argument("name", metavar="SUBJECT")
@click.argument("known")
@SERVER
@with_access
def link(name: str, known: str, server: str, access: Access) -> None:
    """Say that SUBJECT, a device, a session or an anonymous one, is the person KNOWN; both are written as kind:id.

    Prints the link's id.
    """
    backend = access.backend(server)
    click.echo(backend.link(name, known))
    backend.close()


@subject.command("undo", short_help="Take a link back.")
@click.argument("link_id")
@SERVER
@with_access
def undo(link_id: str, server: str, access: Access) -> None:
    """Take a link back: states, values and reports are as if it had never been."""
    backend = access.backend(server)
    backend.undo_link(link_id)
    backend.close()
    click.echo(f"link {link_id} is undone", err=True)


@subject.command("links", short_help="List links.")
@click.argument("name", metavar="[SUBJECT]", required=False, default="")
@SERVER
@AS_JSON
@with_access
def links(name: str, server: str, as_json: bool, access: Access) -> None:
    """List every link that was said, undone ones too, or those that name SUBJECT."""
    backend = access.backend(server)
    found = backend.links(name)
    backend.close()
    show_table(found, ("link_id", "subject", "known", "said_by", "said_time", "undone_time", "effective"), as_json)


__all__ = ["subject"]
