"""`reflexarc social`: cases to acknowledge, responses to approve, the tree of shares, and what a payload would become.

Owns the words. What is listed are texts of strangers: they are shown with control characters escaped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import click

from reflexarc_cli.access import Access, with_access
from reflexarc_cli.http_access import HTTP, ask
from reflexarc_cli.identity_commands import show_table
from reflexarc_cli.misuse import Misused
from reflexarc_cli.store_commands import AS_JSON

PLATFORMS: Final = ("twitter", "facebook", "linkedin")
TEXT_LENGTH: Final = 60
ALL: Final = click.option("--all", "all_states", is_flag=True, help="Those that are done too.")


@click.group()
def social() -> None:
    """See and decide what mentions and shares bring up."""


@social.command("cases", short_help="Mentions that somebody has to look at.")
@HTTP
@ALL
@AS_JSON
@with_access
def cases(address: str, all_states: bool, as_json: bool, access: Access) -> None:
    """List the cases nobody has acknowledged, newest first."""
    found = ask(access, address, "GET", "/v1/social/cases", {"all": "1"} if all_states else None)["cases"]
    _show(found, ("case_id", "state", "level", "notified", "severity", "platform", "text", "url"), as_json)


@social.command("acknowledge", short_help="Say that somebody looks at a case.")
@click.argument("case_id")
@HTTP
@with_access
def acknowledge(case_id: str, address: str, access: Access) -> None:
    """Stop CASE_ID from going to the next level."""
    ask(access, address, "POST", f"/v1/social/cases/{_named(case_id)}/acknowledge")
    click.echo(f"case {case_id} is acknowledged", err=True)


@social.command("queue", short_help="Responses that wait for a word.")
@HTTP
@ALL
@AS_JSON
@with_access
def queue(address: str, all_states: bool, as_json: bool, access: Access) -> None:
    """List the responses that wait, oldest first: proposed ones, and those of which nobody knows whether they were posted."""
    found = ask(access, address, "GET", "/v1/social/responses", {"all": "1"} if all_states else None)["responses"]
    _show(found, ("response_id", "state", "rule", "platform", "original", "text", "detail"), as_json)


@social.command("approve", short_help="Let a response go out.")
@click.argument("response_id")
@HTTP
@with_access
def approve(response_id: str, address: str, access: Access) -> None:
    """Post RESPONSE_ID. Of an unclear one, look first whether it stands there already."""
    ask(access, address, "POST", f"/v1/social/responses/{_named(response_id)}/approve")
    click.echo(f"response {response_id} goes out", err=True)


@social.command("reject", short_help="Never let a response go out.")
@click.argument("response_id")
@HTTP
@with_access
def reject(response_id: str, address: str, access: Access) -> None:
    """Never post RESPONSE_ID."""
    ask(access, address, "POST", f"/v1/social/responses/{_named(response_id)}/reject")
    click.echo(f"response {response_id} is rejected", err=True)


@social.command("shares", short_help="Who passed a content on to whom, and what came of it.")
@click.option("--content", default="", metavar="C", help="Of this content only.")
@HTTP
@AS_JSON
@with_access
def shares(content: str, address: str, as_json: bool, access: Access) -> None:
    """Show the tree of shares with visits, conversions and the amplification score of each."""
    found = ask(access, address, "GET", "/v1/social/shares", {"content": content} if content else None)["shares"]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for one in found:
        who = _plain(one["subject"] or "(erased)")
        below = (
            f", below it {one['visits_below']} and {one['conversions_below']}"
            if one["visits_below"] + one["conversions_below"]
            else ""
        )
        click.echo(
            f"{'  ' * min(one['indent'], 32)}{who}  {_plain(one['content_id'])}  visits {one['visits']}, conversions"
            f" {one['conversions']}{below}  score {one['score']:g}"
        )


@social.command("read", short_help="What a platform's payload would become.")
@click.argument("platform", type=click.Choice(PLATFORMS))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--own", "accounts", multiple=True, metavar="ACCOUNT", help="An account of ours; as the payload says without it.")
@click.option("--nobody-own", is_flag=True, help="No account is ours.")
def read(platform: str, files: tuple[Path, ...], accounts: tuple[str, ...], nobody_own: bool) -> None:
    """Say what each thing in a payload's FILES becomes: one JSON object a line. Nothing is sent or stored.

    Exit status: 1 when a file holds no JSON object; the others are told all the same.
    """
    from reflexarc_core.errors import InvalidEventError
    from reflexarc_server.social.post import Post, event_of
    from reflexarc_server.social.receiver import READERS, parsed

    own = () if nobody_own else accounts or None
    unread: list[str] = []
    for file in files:
        try:
            heard = READERS[platform].read(parsed(file.read_bytes()), own)
        except InvalidEventError:
            click.echo(json.dumps({"file": file.name, "verdict": "no JSON object"}))
            unread.append(str(file))
            continue
        for each in heard:
            told: dict[str, Any] = {"file": file.name}
            if isinstance(each, Post):
                event = event_of(each, 0, None)
                told |= {"verdict": event.event_type, "event_id": event.event_id, "subject": event.subject}
                told["properties"] = dict(event.properties)
            else:
                told |= {"verdict": "none", "reason": each.reason.value, "detail": each.detail}
            click.echo(json.dumps(told, ensure_ascii=True))
    if unread:
        raise InvalidEventError(f"no JSON object in {', '.join(unread)}", hint="save the body of a delivery as it came")


def _named(text: str) -> str:
    if not text.isalnum() or not text.isascii() or len(text) > 64:
        raise Misused(f"{text!r} is no id", hint="take it from the list")
    return text


def _plain(text: object) -> str:
    return "".join(c if c.isprintable() else " " for c in str(text))


def _show(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    shown = [{name: _cell(row.get(name, "")) for name in columns} for row in rows]
    show_table(shown, columns, as_json=False)


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.2f}"
    text = _plain(value) if isinstance(value, str) else value
    return f"{text[: TEXT_LENGTH - 1]}…" if isinstance(text, str) and len(text) > TEXT_LENGTH else text


__all__ = ["social"]
