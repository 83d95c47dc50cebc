"""The action channel `social`: an approved response goes to its platform, a trigger's action into the queue or out.

Owns that nothing is posted twice. No platform has an idempotency key, so a response is marked as being sent before the call; an
attempt whose end nobody heard is never made again by itself: it is `unclear`, and a person looks whether it stands there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reflexarc_server.channels import Channel, Outgoing, Refused, Unreachable
from reflexarc_server.clock import Clock
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site
from reflexarc_server.social.api import Answer, NotKnown, NotPosted, RefusedForGood, SocialApi, apis_of
from reflexarc_server.social.desk import CHANNEL, Put, short_id
from reflexarc_server.store import social as table
from reflexarc_server.store.social import ResponseRow
from reflexarc_server.store.sqlite import SqliteStore

TEXT_LENGTH_MAX: Final = 5_000


class Posting:
    """The channel. apis: by platform."""

    name: Final = CHANNEL

    def __init__(self, store: SqliteStore, clock: Clock, apis: Mapping[str, SocialApi], put: Put) -> None:
        self._store = store
        self._clock = clock
        self._apis = apis
        self._put = put

    def send(self, outgoing: Outgoing) -> None:
        """See Channel."""
        if outgoing.body.get("kind") == "action":
            self._queue(outgoing)
            return
        response_id = str(outgoing.body.get("response_id", ""))
        rows = table.responses(self._store, (), response_id)
        if not rows or rows[0].state in (table.SENT, table.REJECTED):
            return  # erased, or done
        row = rows[0]
        if row.state == table.SENDING:  # an earlier attempt ended with its process
            self._move(row, (table.SENDING,), table.UNCLEAR, "the server stopped while it was being posted")
        if row.state != table.APPROVED or not self._move(row, (table.APPROVED,), table.SENDING):
            raise Refused("it is not approved, or may be posted already", hint="reflexarc social queue")
        self._post(row)

    def _post(self, row: ResponseRow) -> None:
        api = self._apis.get(row.platform)
        try:
            if api is None:
                raise RefusedForGood(f"social.{row.platform} has no token")
            posted_id = api.reply(Answer(row.post_id, row.text, row.account))
        except NotPosted as error:
            self._move(row, (table.SENDING,), table.APPROVED, str(error))
            raise Unreachable(str(error), retry_after_ms=error.retry_after_ms or None) from None
        except RefusedForGood as error:
            self._move(row, (table.SENDING,), table.FAILED, str(error))
            raise Refused(str(error)) from None
        except NotKnown as error:
            self._move(row, (table.SENDING,), table.UNCLEAR, str(error))
            raise Refused(f"it may be posted: {error}", hint="look there; approve it again if it is not") from None
        self._move(row, (table.SENDING,), table.SENT, posted_id)

    def _move(self, row: ResponseRow, froms: tuple[str, ...], to: str, detail: str = "") -> bool:
        with self._store.transaction() as transaction:
            return table.move_response(transaction.run, row.response_id, froms, to, "", self._clock.now_ms(), detail)

    def _queue(self, outgoing: Outgoing) -> None:
        """A trigger fired an action with this channel: payload text, platform, post_id; `approval: false` lets it out at once."""
        payload = outgoing.body.get("payload")
        given: Mapping[str, Any] = payload if isinstance(payload, Mapping) else {}
        texts = {name: given.get(name) for name in ("platform", "post_id", "text")}
        if not all(isinstance(text, str) and text for text in texts.values()) or len(str(texts["text"])) > TEXT_LENGTH_MAX:
            raise Refused("the action's payload has no platform, post_id or text", hint="see docs/social.md")
        is_approved = given.get("approval") is False
        row = ResponseRow(
            short_id(outgoing.key), f"trigger {outgoing.body.get('trigger_id', '')}", outgoing.subject, str(texts["platform"]),
            str(given.get("account") or ""), str(texts["post_id"]), "", str(texts["text"]),
            table.APPROVED if is_approved else table.PROPOSED, self._clock.now_ms(),
        )  # fmt: skip
        with self._store.transaction() as transaction:
            if table.add_response(transaction.run, row) and is_approved:
                body = {"response_id": row.response_id}
                self._put(transaction.run, CHANNEL, f"response/{row.response_id}", row.post_id, body, row.subject)


def put_into(parts: Parts) -> Put:
    """How social messages get into a server's outbox."""

    def put(run: Any, channel: str, key: str, order: str, body: Mapping[str, Any], subject: str) -> bool:
        return parts.outbox.put(run, Outgoing(channel, key, order, body, subject))

    return put


def channels(parts: Parts, site: Site) -> list[Channel]:
    """The channel, where the site has a `social` section with a platform."""
    if not site.social.platforms:
        return []
    return [Posting(parts.store, parts.clock, apis_of(site.social), put_into(parts))]
