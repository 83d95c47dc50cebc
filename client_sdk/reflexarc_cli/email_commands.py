"""`reflexarc email`: mail made ready to be sent, and what came of it. Owns the words."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from reflexarc_cli.access import Access, with_access
from reflexarc_cli.http_access import HTTP, post
from reflexarc_cli.identity_commands import SERVER, show_table
from reflexarc_cli.misuse import Misused
from reflexarc_cli.store_commands import AS_JSON
from reflexarc_core.errors import ReflexArcError, UnauthenticatedError

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
SECRET_VARIABLE: Final = "REFLEXARC_INBOUND_SECRET"
TEMPORARY_FAILURE: Final = 75
"""EX_TEMPFAIL, by which mail servers know it."""


@click.group()
def email() -> None:
    """Prepare mail, and follow what came of it."""


@email.command(short_help="Add a signed pixel and signed links to a mail.")
@click.option("--site", "site_file", required=True, type=click.Path(path_type=Path), help="The site file: its email section.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="The HTML, UTF-8.")
@click.option("--text", "text_file", type=click.Path(path_type=Path), help="The plain text, UTF-8.")
@click.option("--subject", required=True, metavar="KIND:ID", help="Whom it goes to: known:42.")
@click.option("--message", "message_id", required=True, metavar="ID", help="The mail's own id: letters, digits, dots, dashes.")
@click.option("--campaign", default="", help="What reports group by.")
@click.option("--utm", "utm", multiple=True, metavar="NAME=VALUE", help="Merge into links that have no such parameter.")
@click.option("--no-pixel", is_flag=True, help="Links only.")
@click.option("--offset-minutes", type=click.IntRange(-1_080, 1_080), default=0, help="The reader's local time minus UTC.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for mail.html, mail.txt and mail.json.")
def prepare(
    site_file: Path, html_file: Path | None, text_file: Path | None, subject: str, message_id: str, campaign: str,
    utm: tuple[str, ...], no_pixel: bool, offset_minutes: int, out: Path,
) -> None:  # fmt: skip
    """Write the mail with a pixel and redirect links, and beside it what was rewritten and what was left alone."""
    from reflexarc_server.email.prepare import Message, Preparer
    from reflexarc_server.site import read_site

    if html_file is None and text_file is None:
        raise Misused("there is no mail", hint="give --html, --text or both")
    section = read_site(site_file).email
    if not section.is_on:
        raise Misused("the site file has no email section", hint="see docs/email.md")
    now = round(time.time() * 1_000)
    expires = now + section.links_expire_ms if section.links_expire_ms else 0
    about = Message(message_id, subject, campaign, now, dict(map(_pair, utm)), expires, section.purpose, offset_minutes)
    prepared = Preparer(section.signer(), section.base_url).prepare(_read(html_file), _read(text_file), about, pixel=not no_pixel)
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "message_id": message_id,
        "links": [{"position": one.position, "url": one.url} for one in prepared.links],
        "left": [{"url": one.url, "reason": one.reason} for one in prepared.left],
        "unsubscribe_url": prepared.unsubscribe_url,
    }
    for name, text in (("mail.html", prepared.html), ("mail.txt", prepared.text)):
        if text:
            (out / name).write_bytes(text.encode())
    (out / "mail.json").write_text(json.dumps(found, ensure_ascii=False, indent=2))
    click.echo(f"{len(prepared.links)} links rewritten, {len(prepared.left)} left alone; {out}", err=True)


@email.command(short_help="The way from a mail to what came of it, from a server.")
@SERVER
@click.option("--subject", default="", metavar="KIND:ID", help="Whose mails.")
@click.option("--message", "message_id", default="", metavar="ID", help="Which mail.")
@click.option("--goal", "goals", multiple=True, metavar="TYPE", help="A goal's event type; purchase and form_submit without.")
@with_access
def path(server: str, subject: str, message_id: str, goals: tuple[str, ...], access: Access) -> None:
    """Sent, opened, clicked, pages, goal: each step with its time (ms), as JSON."""
    if not subject and not message_id:
        raise Misused("nobody's mail", hint="give --subject or --message")
    backend = access.backend(server)
    found = backend.email_paths(subject, message_id, goals)
    backend.close()
    click.echo(json.dumps(found, ensure_ascii=False, indent=2))


@email.command(short_help="How the mailboxes do that a server looks through.")
@SERVER
@AS_JSON
@with_access
def mailboxes(server: str, as_json: bool, access: Access) -> None:
    """Mails taken in and set aside since the server started, the last look (ms), and why a mailbox cannot be looked through.

    Ends with 1 when one of them cannot be.
    """
    backend = access.backend(server)
    found = backend.mailboxes()
    backend.close()
    columns = ("name", "taken_count", "duplicate_count", "set_aside_count", "round_time", "failure_count", "reason")
    show_table(found, columns, as_json)
    if not as_json:
        for mailbox in found:
            for mail in mailbox["set_aside"]:
                click.echo(f"{mailbox['name']}: {mail['key']} is set aside: {mail['reason']}")
    if any(mailbox["failure_count"] for mailbox in found):
        raise click.exceptions.Exit(1)


@email.command(short_help="What came of mails, by campaign, from a server.")
@SERVER
@click.option("--campaign", default="", help="Of this campaign only.")
@click.option("--goal", "goals", multiple=True, metavar="TYPE", help="A goal's event type; purchase and form_submit without.")
@AS_JSON
@with_access
def campaigns(server: str, campaign: str, goals: tuple[str, ...], as_json: bool, access: Access) -> None:
    """How many mails were sent, opened and followed by people, and led to a goal; each mail counts once.

    `machine` are mails that machines alone opened or followed.
    """
    backend = access.backend(server)
    found = backend.email_campaigns(campaign, goals)
    backend.close()
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    rows = [{name.removesuffix("_count"): value for name, value in one.items()} for one in found]
    columns = ("mail", "sent", "bounced", "opened", "clicked", "converted", "replied", "unsubscribed", "complained", "machine")
    show_table(rows, ("campaign", *columns), as_json=False)


@email.command(short_help="When and on what a person opens mail, from a server.")
@SERVER
@click.option("--subject", required=True, metavar="KIND:ID", help="Whose opens.")
@click.option("--campaign", default="", help="Of mails of this campaign only.")
@AS_JSON
@with_access
def opens(server: str, subject: str, campaign: str, as_json: bool, access: Access) -> None:
    """How often, first and last, in which hours of the week, on which programs and devices.

    Hours are local, by the offset that the person's newest event says. What is held for a machine's is counted apart.
    """
    backend = access.backend(server)
    found = backend.email_opens(subject, campaign)
    backend.close()
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(
        f"{found['open_count']} opens of {found['opened_mail_count']} mails ({found['sent_mail_count']} sent), "
        f"{found['proxy_open_count']} of them through a proxy; held for machines': {found['machine_open_count']}"
    )
    if found["open_count"]:
        click.echo(f"first {_day(found['first_time'])}, last {_day(found['last_time'])} UTC")
        offset = found["offset_minutes"]
        hours = ", ".join(f"{DAYS[hour // 24]} {hour % 24:02d}: {count}" for hour, count in found["hours"].items())
        click.echo(f"hours of the week, UTC{offset // 60:+03d}:{offset % 60:02d}: {hours}")
    for name in ("clients", "devices", "systems", "proxies"):
        if found[name]:
            click.echo(f"{name}: " + ", ".join(f"{one} {count}" for one, count in found[name].items()))


def _day(time_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(time_ms / 1_000))


@email.command(short_help="What would become of inbound mails, and why. Stores nothing.")
@click.option("--site", "site_file", required=True, type=click.Path(path_type=Path), help="The site file: its replies section.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def route(site_file: Path, files: tuple[Path, ...]) -> None:
    """One JSON line a mail: what it is, by which sign, what is new in it, its mood, and the rule that sends it to its queue.

    Without a server's log: a token is verified, an address is not looked up, and no bounce is believed.
    """
    from reflexarc_server.inbound.matching import NoLog
    from reflexarc_server.inbound.taking import Taker
    from reflexarc_server.site import read_site

    site = read_site(site_file)
    signer = site.email.signer() if site.email.is_on else None
    taker = Taker(signer, NoLog(), site.replies, site.sentiment, site.email.purpose, site.identity.secret)
    now = round(time.time() * 1_000)
    for path in files:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise Misused(f"{path} cannot be read: {error.strerror}", hint="name files that hold one message each") from None
        click.echo(json.dumps({"file": str(path), **taker.plan(content, now).to_json()}, ensure_ascii=False))


@email.command(short_help="Hand an inbound mail to a server, as a mail server's pipe does.")
@HTTP
@click.option(
    "--secret-file", type=click.Path(path_type=Path), help=f"Holds one of replies: secrets; else {SECRET_VARIABLE} does."
)
@click.argument("file", type=click.File("rb"), default="-")
@with_access
@click.pass_context
def deliver(context: click.Context, address: str, secret_file: Path | None, file: BinaryIO, access: Access) -> None:
    """Sign the message in FILE, standard input without, and send it to /inbound/email; what became of it, as JSON.

    Exit status 75, by which a mail server keeps the mail and tries again, for whatever another attempt may get through.
    """
    from reflexarc_server.inbound.message import MAIL_BYTES_MAX
    from reflexarc_server.inbound.signature import HEADER, signed

    content = file.read(MAIL_BYTES_MAX + 1)
    if len(content) > MAIL_BYTES_MAX:
        raise Misused("the message is too long", hint=f"at most {MAIL_BYTES_MAX:,} bytes")
    try:
        headers = {HEADER: signed(_secret(secret_file), int(time.time()), content), "Content-Type": "message/rfc822"}
        told = post(access, address, "/inbound/email", content, headers)
    except ReflexArcError as error:
        click.echo(f"reflexarc: {error}", err=True)
        context.exit(TEMPORARY_FAILURE)
    click.echo(json.dumps(told, ensure_ascii=False))


def _secret(path: Path | None) -> str:
    try:
        secret = os.environ.get(SECRET_VARIABLE, "") if path is None else path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        secret = ""
    if not secret:
        raise UnauthenticatedError("there is no secret to sign with", hint=f"give --secret-file, or set {SECRET_VARIABLE}")
    return secret


def _read(path: Path | None) -> str:
    """The bytes as text, with every line end as it is."""
    try:
        return "" if path is None else path.read_bytes().decode()
    except UnicodeDecodeError:
        raise Misused(f"{path} is no UTF-8", hint="save it as UTF-8") from None


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise Misused(f"--utm {text} is no NAME=VALUE", hint="write utm_source=mail")
    return name, value
