"""`reflexarc outbox`: what is on its way from a server to other systems, and what could not be sent.

Owns the words. What a message says is never shown.
"""

from __future__ import annotations

import click

from reflexarc_cli.access import Access, with_access
from reflexarc_cli.identity_commands import SERVER, show_table
from reflexarc_cli.store_commands import AS_JSON

CHANNEL = click.option("--channel", default="", help="Of this channel only.")


@click.group(short_help="Messages to other systems: count, list, send again.")
def outbox() -> None:
    """See what goes out to other systems, and send again what could not."""


@outbox.command("status", short_help="Count messages by channel.")
@SERVER
@AS_JSON
@with_access
def status(server: str, as_json: bool, access: Access) -> None:
    """Say for each channel how many messages wait, were sent in 30 days and are dead, and since when the oldest waits."""
    backend = access.backend(server)
    found = backend.outbox()
    backend.close()
    show_table(found, ("channel", "open", "sent", "dead", "oldest_time"), as_json)


@outbox.command("list", short_help="List dead letters.")
@CHANNEL
@click.option("--after", type=click.IntRange(0), default=0, help="Behind this number.")
@SERVER
@AS_JSON
@with_access
def dead_letters(channel: str, after: int, server: str, as_json: bool, access: Access) -> None:
    """List messages that are not tried any more, oldest first, with the reason."""
    backend = access.backend(server)
    found = backend.dead_letters(channel, after)
    backend.close()
    show_table(found, ("number", "channel", "key", "put_time", "end_time", "tries", "reason"), as_json)


@outbox.command("replay", short_help="Send dead letters again.")
@click.argument("numbers", type=int, nargs=-1)
@CHANNEL
@click.option("--all", "every", is_flag=True, help="All there are.")
@SERVER
@with_access
def replay(numbers: tuple[int, ...], channel: str, every: bool, server: str, access: Access) -> None:
    """Let dead letters be tried again under their old keys: those with these NUMBERS, those of a channel, or all of them."""
    if not (numbers or channel or every):
        raise click.UsageError("say which: NUMBERS, --channel NAME or --all")
    backend = access.backend(server)
    count = backend.replay(channel, numbers)
    backend.close()
    click.echo(f"{count} wait again")


__all__ = ["outbox"]
