"""Share links: who passed what on, who came by it, and what that was worth to everybody in the chain.

A link is public, so its token names nobody: it is the share's id, signed, and what it stands for is in the store. A visit, and a
goal reached by whoever came, become events of the one who shared and, at half the weight a step, of those before in the chain; so
amplification is an ordinary feature. Owns the token, what counts once, and the score. Must never redirect to what was not minted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit, urlunsplit

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event, is_storable
from reflexarc_proto.wire.event import check_subject
from reflexarc_server.clock import Clock
from reflexarc_server.links import Links
from reflexarc_server.site.sharing import Sharing
from reflexarc_server.social.follower import Follower
from reflexarc_server.store import shares as table
from reflexarc_server.store.shares import CONVERSION, LANDING, VISIT, ShareRow
from reflexarc_server.store.sqlite import SqliteStore

CURSOR: Final = "social_shares"
PARAMETER: Final = "rxs"
"""Query parameter that a redirect adds: the share's id, by which the page's own events tell who came."""
ID_BYTES: Final = 12
MAC_BYTES: Final = 12
URL_LENGTH_MAX: Final = 2_048
CONTENT_LENGTH_MAX: Final = 200
SHARES_MAX: Final = 10_000
HOUR_MS: Final = 3_600_000
DISTANCE_FACTOR: Final = 0.5
_CONTEXT: Final = b"reflexarc share 1"
_SHARE_ID: Final = re.compile(r"[0-9a-f]{24}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{32}")
_MACHINES: Final = re.compile(
    r"bot|crawl|spider|externalhit|facebookcatalog|preview|slurp|whatsapp|embedly|curl/|wget/|python-|headless", re.IGNORECASE
)
"""Programs that look at a link because it was posted."""


class Share(NamedTuple):
    """A minted link. is_new: it was not there before."""

    share_id: str
    token: str
    url: str
    is_new: bool


class Shares:
    """One server's. `work` is called by one thread; the others from any."""

    def __init__(self, store: SqliteStore, clock: Clock, links: Links, sharing: Sharing) -> None:
        self._store = store
        self._clock = clock
        self._links = links
        self._sharing = sharing
        self._keys = [hmac.digest(key.bytes, _CONTEXT, "sha256") for key in sharing.signing_keys]
        self._follower: Follower | None = None

    def follow(self, accept: Any) -> Follower:
        """What follows the log: landings and goals. accept: stores events."""
        types = ("page_view", *self._sharing.goals)
        self._follower = Follower(self._store, CURSOR, types, self._take, accept)
        return self._follower

    # -- minting --------------------------------------------------------------------------------------------------------

    def mint(self, subject: str, content_id: str, url: str, parent: str = "") -> tuple[Share, Event]:
        """A link for somebody to pass on, and the event of its being made; the same again gives the same link.

        parent: token or id of the share by which it came to them. Raises InvalidEventError for what cannot be shared.
        """
        check_subject(subject)
        if not 0 < len(content_id) <= CONTENT_LENGTH_MAX or not is_storable(content_id) or not content_id.isprintable():
            raise InvalidEventError("a content id that is none", hint=f"1 to {CONTENT_LENGTH_MAX} printable characters")
        self._check_target(url)
        parent_id = parent if _SHARE_ID.fullmatch(parent) else self._id_of(parent) if parent else ""
        now = self._clock.now_ms()
        with self._store.transaction() as transaction:
            before = table.one(transaction.run, parent_id) if parent_id else None
            if parent_id and before is None:
                raise InvalidEventError("the share it came by is not there", hint="leave parent out")
            row = table.same(transaction.run, subject, content_id, url, parent_id)
            is_new = row is None
            if row is None:
                depth = before.depth + 1 if before is not None else 0
                row = ShareRow(secrets.token_hex(ID_BYTES), parent_id, subject, content_id, url, depth, now)
                table.add(transaction.run, row)
        token = self.token(row.share_id)
        properties = {"platform": "link", "content_id": content_id, "url": url, "share_id": row.share_id, "parent_id": parent_id}
        event = Event(f"share/{row.share_id}", "social_share", subject, row.made_time, {n: v for n, v in properties.items() if v})
        return Share(row.share_id, token, f"{self._sharing.base}/s/{token}", is_new), event

    def token(self, share_id: str) -> str:
        """The signed form of an id."""
        body = bytes.fromhex(share_id)
        return base64.urlsafe_b64encode(body + self._mac(self._keys[0], body)).decode()

    def _check_target(self, url: str) -> None:
        """Only an address on one of the site's origins is ever redirected to; looked at as browsers read it."""
        try:
            parts = urlsplit(url)
            origin = f"{parts.scheme}://{parts.netloc}".lower()
        except ValueError:
            origin = ""
        is_plain = 0 < len(url) <= URL_LENGTH_MAX and url.isascii() and url.isprintable() and not set(url) & set(' \\"<>')
        if not is_plain or origin not in self._sharing.targets:
            raise InvalidEventError("the address is on none of the site's targets", hint="see sharing.targets in the site file")

    def _id_of(self, token: str) -> str:
        """Raises InvalidEventError for a token that is none of ours."""
        if _TOKEN.fullmatch(token):
            whole = base64.urlsafe_b64decode(token)
            body, mac = whole[:ID_BYTES], whole[ID_BYTES:]
            if sum(hmac.compare_digest(mac, self._mac(key, body)) for key in self._keys):
                return body.hex()
        raise InvalidEventError("that is no share link of ours", hint="take the link as it was given")

    def _mac(self, key: bytes, body: bytes) -> bytes:
        return hmac.digest(key, body, "sha256")[:MAC_BYTES]

    # -- visits ---------------------------------------------------------------------------------------------------------

    def visit(self, token: str, address: str, agent: str, *, is_counted: bool) -> tuple[str, list[Event]]:
        """(where to, events to store) of somebody who followed a link. Raises InvalidEventError for none of ours.

        Somebody is an address and a browser within one hour, known by a keyed digest only. What programs look at does not count.
        """
        share_id = self._id_of(token)
        row = table.look_up(self._store, share_id)
        if row is None:
            raise InvalidEventError("that share is not there any more", hint="ask for a new link")
        self._check_target(row.url)
        events: list[Event] = []
        if is_counted and agent and not _MACHINES.search(agent):
            now = self._clock.now_ms()
            who = hmac.digest(self._keys[-1], f"{address}\n{agent}\n{now // HOUR_MS}".encode("utf-8", "replace"), "sha256")
            visitor = who.hex()[:24]
            with self._store.transaction() as transaction:
                table.add_visit(transaction.run, share_id, visitor, VISIT, now)
            # Made again for a visit that is counted already: their ids are the same, and a kill may have lost them.
            events = self._told("share_visit", share_id, visitor, "", now, {})
        return with_share(row.url, share_id), events

    def _take(self, run: Any, event: Event, receive_time: int) -> Sequence[Event]:
        if event.event_type == "page_view":
            share_id = share_in(str(event.properties.get("page_url", "")))
            if share_id and table.one(run, share_id) is not None:
                table.add_visit(run, share_id, event.subject, LANDING, event.event_time)
        if event.event_type not in self._sharing.goals:
            return ()
        person = self._links.canonical(event.subject)
        since = event.event_time - self._sharing.within_ms
        names = tuple(dict.fromkeys((event.subject, *self._links.members(person))))[:500]
        share_id = table.last_landing(run, names, since, event.event_time)
        if not share_id:
            return ()
        mark = hashlib.sha256(event.event_id.encode()).hexdigest()[:24]
        table.add_visit(run, share_id, mark, CONVERSION, event.event_time)
        amount = event.properties.get("amount")
        more: dict[str, Any] = {"goal": event.event_type}
        if isinstance(amount, float):
            more["amount"] = amount
        return self._told("share_conversion", share_id, mark, person, event.event_time, more)

    def _told(self, event_type: str, share_id: str, mark: str, person: str, now: int, more: dict[str, Any]) -> list[Event]:
        """The happening as an event of everybody in the chain, each once, at the nearest place; not of who did it."""
        told: list[Event] = []
        seen = {person, ""}
        unit = self._sharing.conversion_weight if event_type == "share_conversion" else 1.0
        for distance, row in enumerate(table.chain(self._store, share_id, self._sharing.depth_max)):
            sharer = self._links.canonical(row.subject) if row.subject else ""
            if sharer in seen:
                continue
            seen.add(sharer)
            properties = {
                "share_id": row.share_id, "content_id": row.content_id, "distance": distance, "visitor": mark,
                "weight": unit * DISTANCE_FACTOR**distance, **more,
            }  # fmt: skip
            told.append(Event(f"{event_type}/{share_id}/{mark}/{distance}", event_type, row.subject, now, properties))
        return told

    # -- reports --------------------------------------------------------------------------------------------------------

    def tree(self, content_id: str) -> list[dict[str, Any]]:
        """Every share of a content with what came of it, parents before children.

        score: the sum over visits (1) and conversions (conversion_weight) of a share and of those made from it, halved a step
        and every half-life since. At most SHARES_MAX shares.
        """
        now = self._clock.now_ms()
        rows = {row.share_id: row for row in table.of_content(self._store, content_id, SHARES_MAX)}
        made = {
            share_id: {"visits": 0, "conversions": 0, "visits_below": 0, "conversions_below": 0, "score": 0.0}
            for share_id in rows
        }
        for share_id, kind, time in table.visits_of(self._store, content_id):
            worth = (self._sharing.conversion_weight if kind == CONVERSION else 1.0) * 0.5 ** (
                max(0, now - time) / self._sharing.halving_ms
            )
            above, distance = share_id, 0
            while above in made and distance <= self._sharing.depth_max:
                counted = made[above]
                counted[f"{kind}s" if distance == 0 else f"{kind}s_below"] += 1
                counted["score"] += worth * DISTANCE_FACTOR**distance
                above, distance = rows[above].parent_id, distance + 1
        children: dict[str, list[str]] = {}
        for row in rows.values():
            children.setdefault(row.parent_id if row.parent_id in rows else "", []).append(row.share_id)
        listed: list[dict[str, Any]] = []
        waiting = [(share_id, 0) for share_id in reversed(children.get("", []))]
        while waiting:
            share_id, indent = waiting.pop()
            row = rows[share_id]
            counts = made[share_id]
            listed.append({
                "share_id": share_id, "parent_id": row.parent_id, "subject": row.subject, "content_id": row.content_id,
                "indent": indent, "made_time": row.made_time, **counts, "score": round(counts["score"], 3),
            })  # fmt: skip
            waiting += [(child, indent + 1) for child in reversed(children.get(share_id, []))]
        return listed


def with_share(url: str, share_id: str) -> str:
    """An address with the share's id behind its query; nothing else of it changes."""
    parts = urlsplit(url)
    query = f"{parts.query}&{PARAMETER}={share_id}" if parts.query else f"{PARAMETER}={share_id}"
    return urlunsplit(parts._replace(query=query))


def share_in(url: str) -> str:
    """The share's id in a page's address, empty for none."""
    if PARAMETER not in url or len(url) > 8_192:
        return ""
    try:
        held = parse_qs(urlsplit(url).query, max_num_fields=200).get(PARAMETER, [""])[-1]
    except ValueError:
        return ""
    return held if _SHARE_ID.fullmatch(held) else ""
