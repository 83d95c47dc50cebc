"""The desk: who has to look at a mention, when the next one is told, and what is proposed as an answer.

Follows the log, so that a mention counts the same whichever way it came. Cases, their deadlines and proposed responses are rows
of the store, written with the cursor: a restart goes on where it was. Must never post anything: that is the outbox's, once a
response is approved.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from string import Template
from typing import Any, Final

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event
from reflexarc_server.clock import Clock
from reflexarc_server.links import Links
from reflexarc_server.site.social import Response, Social
from reflexarc_server.social.follower import Follower
from reflexarc_server.social.post import MENTION, SHARE
from reflexarc_server.social.severity import Severity, names_word, severity
from reflexarc_server.store import social as table
from reflexarc_server.store.social import CaseRow, ResponseRow
from reflexarc_server.store.sqlite import SqliteStore

CURSOR: Final = "social_desk"
CHANNEL: Final = "social"
DUE_MAX: Final = 100
NAME_LENGTH_MAX: Final = 50
NEUTRAL_BELOW: Final = 0.2
"""A sentiment this near to 0 is neither positive nor negative."""
_PLAIN_NAME: Final = re.compile(r"[^\W_]+(?:[ '\-][^\W_]+)*")

Put = Callable[[Any, str, str, str, Mapping[str, Any], str], object]
"""(run, channel, key, order, body, subject): into the outbox, in the caller's transaction. A known key is not put twice."""


class Desk:
    """One server's. `work` is called by one thread; the others from any."""

    def __init__(self, store: SqliteStore, clock: Clock, links: Links, social: Social, put: Put) -> None:
        self._store = store
        self._clock = clock
        self._links = links
        self._social = social
        self._put = put
        self._follower = Follower(store, CURSOR, (MENTION, SHARE), self._take)

    def work(self) -> bool:
        """One step of following and of time; False when there is nothing to do."""
        did = self._follower.work()
        now = self._clock.now_ms()
        for row in table.due_cases(self._store, now, DUE_MAX):
            self._pass_on(row, now)
            did = True
        before = now - self._social.repeat_ms
        if table.has_old_noted(self._store, before):
            with self._store.transaction() as transaction:
                table.drop_noted(transaction.run, before)
        return did

    # -- an operator's word -------------------------------------------------------------------------------------------

    def acknowledge(self, case_id: str, by: str) -> None:
        """Somebody looks at it. Raises InvalidEventError for no such case."""
        with self._store.transaction() as transaction:
            done = table.acknowledge(transaction.run, case_id, by, self._clock.now_ms())
        if not done and not any(row.state == table.ACKNOWLEDGED for row in table.cases(self._store, (), case_id)):
            raise InvalidEventError(f"there is no case {case_id} that waits", hint="list them: reflexarc social cases")

    def approve(self, response_id: str, by: str) -> None:
        """Let a response go out. Raises InvalidEventError for one that does not wait for that."""
        row = self._response(response_id)
        with self._store.transaction() as transaction:
            waiting = (table.PROPOSED, table.UNCLEAR, table.FAILED)
            moved = table.move_response(transaction.run, response_id, waiting, table.APPROVED, by, self._clock.now_ms())
            if moved:
                # Whoever approves what may stand there already says that it does not: it is another message then.
                again = "" if row.state == table.PROPOSED else f"/{self._clock.now_ms()}"
                self._send(transaction.run, row, again)
        if not moved:
            raise InvalidEventError(f"response {response_id} is {row.state}", hint="only what waits can be approved")

    def reject(self, response_id: str, by: str) -> None:
        """Never let it go out. Raises InvalidEventError for one that does not wait any more."""
        row = self._response(response_id)
        with self._store.transaction() as transaction:
            waiting = (table.PROPOSED, table.UNCLEAR, table.FAILED)
            moved = table.move_response(transaction.run, response_id, waiting, table.REJECTED, by, self._clock.now_ms())
        if not moved:
            raise InvalidEventError(f"response {response_id} is {row.state}", hint="only what waits can be rejected")

    def _response(self, response_id: str) -> ResponseRow:
        rows = table.responses(self._store, (), response_id)
        if not rows:
            raise InvalidEventError(f"there is no response {response_id}", hint="list them: reflexarc social queue")
        return rows[0]

    # -- what the log tells ---------------------------------------------------------------------------------------------

    def _take(self, run: Any, event: Event, receive_time: int) -> Sequence[Event]:
        subject = event.subject
        case_id = short_id(event.event_id)
        earlier = table.earlier(run, subject, receive_time - self._social.repeat_ms, case_id)
        found = severity(event.properties, self._social, is_vip=self._is_vip(event), earlier=earlier)
        if found.value > 0:
            self._open(run, event, subject, case_id, found, receive_time)
        self._respond(run, event, subject, found.value, receive_time)
        return ()

    def _is_vip(self, event: Event) -> bool:
        author = f"{event.properties.get('platform')}/{event.properties.get('author_id')}"
        return bool({author, self._links.canonical(event.subject), event.subject} & self._social.vip)

    def _open(self, run: Any, event: Event, subject: str, case_id: str, found: Severity, now: int) -> None:
        level = next((n for n in reversed(range(len(self._social.levels))) if found.value >= self._social.levels[n].severity), -1)
        row = CaseRow(
            case_id, subject, str(event.properties["platform"]), str(event.properties.get("url", "")),
            str(event.properties.get("text", "")), found.value, "\n".join(found.reasons),
            table.OPEN if level >= 0 else table.NOTED, max(level, 0), now, self._deadline(level, self._clock.now_ms()),
        )  # fmt: skip
        if table.add_case(run, row) and level >= 0:
            self._notify(run, row)

    def _deadline(self, level: int, now: int) -> int:
        timeout = self._social.levels[level].timeout_ms if level >= 0 else 0
        return now + timeout if timeout else 0

    def _pass_on(self, row: CaseRow, now: int) -> None:
        """Nobody acknowledged in time: the next level, or nobody is left to tell."""
        level = row.level + 1
        with self._store.transaction() as transaction:
            if level >= len(self._social.levels):
                table.move_case(transaction.run, row, table.UNANSWERED, row.level, 0)
                return
            deadline = self._deadline(level, now)
            if table.move_case(transaction.run, row, table.OPEN, level, deadline):
                waited = f"level {row.level + 1} did not acknowledge in time"
                self._notify(transaction.run, row._replace(level=level, reasons=f"{row.reasons}\n{waited}", deadline=deadline))

    def _notify(self, run: Any, row: CaseRow) -> None:
        body = {
            "kind": "social_case", "case_id": row.case_id, "level": row.level + 1, "severity": round(row.severity, 3),
            "reasons": row.reasons.split("\n"), "platform": row.platform, "url": row.url, "text": row.text,
            "acknowledge_until": row.deadline,
        }  # fmt: skip
        self._put(run, self._social.levels[row.level].notify, f"{row.case_id}/{row.level}", row.case_id, body, row.subject)

    # -- responses ------------------------------------------------------------------------------------------------------

    def _respond(self, run: Any, event: Event, subject: str, severe: float, now: int) -> None:
        """The first rule that fits proposes; one post is answered once."""
        for rule in self._social.responses:
            if not _fits(rule, event, severe):
                continue
            if table.answered_since(run, subject, rule.name, now - rule.every_ms):
                return
            properties = event.properties
            state = table.APPROVED if rule.is_approved else table.PROPOSED
            row = ResponseRow(
                short_id(f"{event.event_id} response"), rule.name, subject, str(properties["platform"]),
                str(properties.get("account", "")), str(properties.get("post_id", "")), str(properties.get("text", "")),
                rendered(rule.text, event), state, now,
            )  # fmt: skip
            if table.add_response(run, row) and rule.is_approved:
                self._send(run, row, "")
            return

    def _send(self, run: Any, row: ResponseRow, again: str) -> None:
        self._put(run, CHANNEL, f"response/{row.response_id}{again}", row.post_id, {"response_id": row.response_id}, row.subject)


def _fits(rule: Response, event: Event, severe: float) -> bool:
    properties = event.properties
    text, sentiment = str(properties.get("text", "")), properties.get("sentiment")
    if not properties.get("post_id") or severe > rule.severity_max:
        return False
    if rule.platforms and properties.get("platform") not in rule.platforms:
        return False
    if rule.moods and (not isinstance(sentiment, (int, float)) or mood_word(float(sentiment)) not in rule.moods):
        return False
    return not rule.keywords or names_word(text, rule.keywords)


def mood_word(sentiment: float) -> str:
    """negative, neutral or positive."""
    if abs(sentiment) < NEUTRAL_BELOW:
        return "neutral"
    return "positive" if sentiment > 0 else "negative"


def rendered(text: str, event: Event) -> str:
    """A response's text for an author. A name that could be a link or a handle is left out: it would be posted in our name."""
    author = str(event.properties.get("author", ""))[:NAME_LENGTH_MAX]
    handle = str(event.properties.get("author_handle", ""))
    given = {
        "author": author if _PLAIN_NAME.fullmatch(author) else "",
        "handle": f"@{handle}" if re.fullmatch(r"\w{1,30}", handle) else "",
        "platform": str(event.properties.get("platform", "")),
    }
    made = Template(text).safe_substitute(given)
    return re.sub(r" +([,.!?])", r"\1", re.sub(r" {2,}", " ", made)).strip()


def short_id(text: str) -> str:
    """What an operator types: 16 hex digits of a name."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def case_to_json(row: CaseRow, social: Social) -> dict[str, Any]:
    """A case as the operator's list has it."""
    told = row._asdict()
    level = social.levels[row.level].notify if row.level < len(social.levels) else ""
    return {**told, "reasons": row.reasons.split("\n"), "level": row.level + 1, "notified": level}
