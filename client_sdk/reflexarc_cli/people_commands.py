"""`reflexarc visits` and `reflexarc leads`: how somebody came to the site, and where what they sent is.

Owns the words. What is listed comes from strangers: control characters are not shown. What was typed is never asked for.
"""

from __future__ import annotations

import json
from typing import Any, Final

import click

from reflexarc_cli.access import Access, with_access
from reflexarc_cli.http_access import HTTP, ask
from reflexarc_cli.identity_commands import show_table
from reflexarc_cli.store_commands import AS_JSON

STATES: Final = ("complete", "partial", "spam")
WORDS: Final = {"open": "outbox", "sent": "delivered", "dead": "dead letter"}
_VISIT: Final = ("begin_time", "end_time", "pages", "active_s", "medium", "source", "landing_page", "last_page")


@click.command(short_help="How a subject came to the site, and when.")
@click.option("--subject", required=True, metavar="KIND:ID", help="Whose visits, and of everybody linked to it.")
@HTTP
@AS_JSON
@with_access
def visits(subject: str, address: str, as_json: bool, access: Access) -> None:
    """List the visits of a subject with what brought each; first and last touch before them. Times are UTC."""
    found = ask(access, address, "GET", "/v1/visits", {"subject": subject})
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    click.echo(f"who          {_plain(', '.join(found['members']))}")
    for name in ("first_touch", "last_touch"):
        if name in found:
            click.echo(f"{name.replace('_', ' '):<11}  {_touch(found[name])}")
    rows = [{"pages": visit["pages_seen"], **visit} for visit in found["visits"]]
    show_table([{name: _cell(row.get(name, "")) for name in _VISIT} for row in rows], _VISIT, as_json=False)


@click.group(short_help="What people sent by forms, and where it is.")
def leads() -> None:
    """See what people sent by forms, and where each lead is. What they typed is not shown."""


@leads.command("list", short_help="List leads, newest first.")
@click.option("--form", "form_id", default="", help="Of this form only.")
@click.option("--state", type=click.Choice(STATES), help="In this state only.")
@click.option("--count", type=click.IntRange(1, 1_000), default=100, show_default=True, help="So many at most.")
@HTTP
@AS_JSON
@with_access
def list_leads(form_id: str, state: str | None, count: int, address: str, as_json: bool, access: Access) -> None:
    """List what was sent, newest first, and where each complete lead is.

    On each channel: outbox (it waits, with the tries so far), delivered, or dead letter with its number for
    `reflexarc outbox replay` and the reason. Nothing for one that goes nowhere, or was delivered more than 30 days ago.
    """
    query = {"form": form_id, "state": state or "", "count": str(count)}
    found = ask(access, address, "GET", "/v1/leads", query)["leads"]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    rows = [{**row, "where": "; ".join(map(_way, row["ways"])) or "-", "sent_time": row["change_time"]} for row in found]
    columns = ("sent_time", "form_id", "state", "subject", "lead_id", "where")
    show_table([{name: _cell(row[name]) for name in columns} for row in rows], columns, as_json=False)


def _way(way: dict[str, Any]) -> str:
    said = f"{way['channel']}: {WORDS[way['state']]}"
    if way["state"] == "dead":
        return f"{said} {way['row']}, {way['reason']}"
    return f"{said}, {way['tries']} tries: {way['reason']}" if way["state"] == "open" and way["tries"] else said


def _touch(touch: dict[str, Any]) -> str:
    """`organic google, spring, https://…`: what is known of it, in one line."""
    names = ("medium", "source", "utm_campaign", "landing_page", "referrer")
    return _plain("  ".join(str(touch[name]) for name in names if touch.get(name)))


def _cell(value: object) -> Any:
    return _plain(value) if isinstance(value, str) else value


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


__all__ = ["leads", "visits"]
