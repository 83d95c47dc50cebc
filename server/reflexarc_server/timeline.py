"""One person's timeline: what is stored of them and of all that is linked to them, in the order in which it happened.

Owns what belongs to it (events, the last record of each decision, messages of the outbox that an event or a decision led to) and
its order. Reads the store, writes nothing; must never show what a message to another system says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from reflexarc_core.decision import Decision
from reflexarc_core.event import Event
from reflexarc_core.record import DecisionOutput, EventInput
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_from_proto
from reflexarc_server.email.path import machines_of
from reflexarc_server.links import Links
from reflexarc_server.store.outbox import OutboxTable, Way
from reflexarc_server.store.port import Store

ENTRIES: Final = 200
ENTRIES_MAX: Final = 1_000
_LEAD: Final = "lead_id"


@dataclass(frozen=True, slots=True)
class Entry:
    """One of event, decision and message is there. subject: whose it is. time: ms. key: of a message.

    machine: whether an open or a click is held for a machine's, known all that came around it.
    """

    time: int
    subject: str
    event: Event | None = None
    decision: Decision | None = None
    message: Way | None = None
    key: str = ""
    machine: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """entries: in order. older_count: how many older ones are left out."""

    entries: Sequence[Entry]
    older_count: int


class Timelines:
    """One server's."""

    def __init__(self, store: Store, links: Links, outbox: OutboxTable, channels: Callable[[], Iterable[str]]) -> None:
        self._store = store
        self._links = links
        self._outbox = outbox
        self._channels = channels

    def of(self, subject: str, until_time: int = 0, count_max: int = ENTRIES) -> Timeline:
        """The newest entries of a person, at most count_max, before until_time (ms, 0 for now). Raises StorageError.

        An event comes before what it led to: within a millisecond, events, decisions, messages.
        """
        members = self._links.members(self._links.canonical(subject))
        events = self._events(members)
        machines = machines_of(events)
        decisions = [decision for member in members for decision in self._decisions(member)]
        whose = {event.event_id: event.subject for event in events}
        whose |= {f"lead/{event.properties[_LEAD]}": event.subject for event in events if _LEAD in event.properties}
        whose |= {decision.decision_id: decision.subject for decision in decisions}
        found = [Entry(each.event_time, each.subject, each, machine=machines.get(each.event_id, False)) for each in events]
        found += [Entry(each.decision_time, each.subject, decision=each) for each in decisions]
        ways = self._outbox.ways(sorted(self._channels()), list(whose))
        messages = [(each.row, key, each) for key, each_of in ways.items() for each in each_of]
        found += [Entry(each.put_time, whose[key], message=each, key=key) for _, key, each in sorted(messages)]
        within = [entry for entry in found if not until_time or entry.time < until_time]
        within.sort(key=lambda entry: entry.time)  # stable: what stands first above comes first
        shown = within[-count_max:]
        return Timeline(shown, len(within) - len(shown))

    def _events(self, members: Sequence[str]) -> list[Event]:
        bodies = self._store.events_of(members, self._store.last_seq())
        records = [record_from_proto(record_pb2.LogRecord.FromString(body))[1] for _, body in bodies]
        return [record.event for record in records if isinstance(record, EventInput)]

    def _decisions(self, member: str) -> list[Decision]:
        """The last record of each, oldest first."""
        last: dict[str, Decision] = {}
        for _, body in self._store.decisions(0, ENTRIES_MAX, subject=member):  # the newest record first
            _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
            if isinstance(record, DecisionOutput):
                last.setdefault(record.decision.decision_id, record.decision)
        return list(reversed(last.values()))


__all__ = ["ENTRIES", "ENTRIES_MAX", "Entry", "Timeline", "Timelines"]
