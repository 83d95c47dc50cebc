"""`reflexarc timeline`: one person, in the order in which it happened. Owns the words.

What people typed or were sent is shown only where `--json` asks for it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final

import click

from reflexarc_cli.access import Access, with_access
from reflexarc_cli.identity_commands import SERVER
from reflexarc_cli.store_commands import AS_JSON

PLACES: Final = ("url", "page_url", "product_id", "content_id", "form_id", "order_id", "purpose", "known_id", "status")
NUMBERS: Final = ("mood", "queue", "priority", "kind", "matched_by", "client", "device", "campaign", "amount", "currency")
"""What is shown of an event behind its place."""


@click.command(short_help="Everything of one person, in order, from a server.")
@click.option("--subject", required=True, metavar="KIND:ID", help="Who: known:42, or a browser that is linked to them.")
@click.option("--last", type=click.IntRange(1, 1_000), default=200, show_default=True, help="So many entries, the newest.")
@SERVER
@AS_JSON
@with_access
def timeline(subject: str, last: int, server: str, as_json: bool, access: Access) -> None:
    """What happened, what was decided and what went out, of a person and of every browser and device linked to them.

    Times are UTC. An open or a click that is held for a machine's says so.
    """
    backend = access.backend(server)
    found = backend.timeline(subject, entry_max=last)
    backend.close()
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    if found["older"]:
        click.echo(f"{found['older']} older ones are left out: --last", err=True)
    lines = [(_at(entry["time"]), entry["kind"], _what(entry), entry["subject"], _about(entry)) for entry in found["entries"]]
    widths = [max((len(line[place]) for line in lines), default=0) for place in range(4)]
    for line in lines:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[4]]).rstrip())


def _at(time_ms: int) -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(time_ms // 1_000))}.{time_ms % 1_000:03d}"


def _what(entry: Mapping[str, Any]) -> str:
    return _plain(entry.get("event_type") or entry.get("trigger_id") or entry.get("channel"))


def _about(entry: Mapping[str, Any]) -> str:
    if entry["kind"] == "event":
        said = entry["properties"]
        place = next((str(said[name]) for name in PLACES if said.get(name)), "")
        more = [f"{name} {said[name]}" for name in NUMBERS if said.get(name) not in (None, "")]
        return _plain(", ".join(filter(None, (place, *more, "a machine" if entry["machine"] else ""))))
    if entry["kind"] == "decision":
        parts = (entry["reason"], entry["detail"], entry["action"] and f"action {entry['action']}", entry["mode"])
    else:
        parts = (entry["state"], f"{entry['tries']} attempts failed" if entry["tries"] else "", entry["reason"], "")
    return _plain(", ".join(filter(None, parts)))


def _plain(text: Any) -> str:
    """One line without what a terminal would obey: a page's address is whatever a browser sent."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text))


__all__ = ["timeline"]
