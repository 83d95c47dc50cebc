"""Leases: caps over all of a person's devices that hold while none of them can ask (rule 27).

A device is given uses in advance. What was used in the window, what is given out and not yet reported, and what ended
unreported are together never more than the cap, whoever is offline. A use nobody heard of counts from the end of its lease.
Owns how much is given to whom. Must never be asked whether an action may go out: the device's engine knows.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

from reflexarc_core.catalog import Catalog
from reflexarc_core.policy import CAP_COUNT_MAX, Cap
from reflexarc_proto.v1 import record_pb2
from reflexarc_server.judging import Judged
from reflexarc_server.links import Links
from reflexarc_server.live import Switch
from reflexarc_server.store import leases as table
from reflexarc_server.store.port import Transaction
from reflexarc_server.store.sqlite import SqliteStore

LIFE_MS: Final = 86_400_000
"""A device that does not come back within this has lost what it did not report."""
RENEW_MS: Final = LIFE_MS // 2


class Leases:
    """One server's."""

    def __init__(self, store: SqliteStore, links: Links, switch: Switch) -> None:
        self._store = store
        self._links = links
        self._switch = switch

    def give(self, installation: str, subjects: Sequence[str], now: int) -> list[tuple[str, str, str, int, int]]:
        """What this device may use for these subjects: (subject, cap, lease, tokens, when it ends in ms) of each living lease."""
        caps = _leased(self._switch.live.catalog)
        asked = [subject for subject in subjects if not subject.startswith("session:")] if caps and installation else []
        given: list[tuple[str, str, str, int, int]] = []
        if not asked:
            return given
        with self._store.transaction() as transaction:
            for subject in asked:
                names = self._links.members(self._links.canonical(subject))
                for name, cap in caps:
                    row = granted(transaction.run, installation, subject, names, name, cap, now)
                    if row is not None:
                        given.append((subject, name, row.lease_id, row.tokens, row.expire_time))
        return given

    def admit(self, transaction: Transaction, installation: str, judged: Sequence[Judged], now: int) -> Sequence[Judged]:
        """Note the uses that a device's decisions report; every record is taken."""
        caps = {f"cap:{name}": name for name, _ in _leased(self._switch.live.catalog)}
        for one in judged if caps else ():
            row = one.row
            if row is None or row.decision is None or row.decision.placement != "edge":
                continue
            made = record_pb2.LogRecord.FromString(row.body).decision
            for policy in made.policy_ids if made.lease_id else ():
                if policy in caps:
                    # Its own clock was believed when it used the lease; a time to come would free the use too late.
                    used = (made.decision_id, made.lease_id, caps[policy], row.decision.subject, min(made.decision_time, now))
                    table.use(transaction.run, *used)
        return judged


def _leased(catalog: Catalog) -> list[tuple[str, Cap]]:
    return sorted((name, cap) for name, cap in catalog.caps.items() if cap.scope == "global")


def granted(
    run: Any, installation: str, subject: str, names: Sequence[str], name: str, cap: Cap, now: int
) -> table.LeaseRow | None:
    """The device's living lease, longer or larger where it can be, or a new one where something is left; None else.

    names: every name of the person.
    """
    since = now - cap.window_ms
    held = table.of(run, names, name, since)
    free = cap.count - table.used_since(run, names, name, since) - sum(lease.unreported for lease in held)
    living = [lease for lease in held if lease.installation == installation and lease.expire_time > now]
    mine = next((lease for lease in living if lease.unreported or lease.tokens + cap.count <= CAP_COUNT_MAX), None)
    if mine is None:
        if free <= 0:
            return None
        mine = table.LeaseRow(secrets.token_hex(8), installation, 0, 0, 0)
    tokens, expire_time = mine.tokens, mine.expire_time
    if not mine.unreported and free > 0:
        # Half of what is left, so that the next device finds something too.
        tokens += (free + 1) // 2
    if expire_time - now < RENEW_MS:
        expire_time = now + LIFE_MS
    if (tokens, expire_time) != (mine.tokens, mine.expire_time):
        table.give(run, mine.lease_id, name, subject, installation, tokens, expire_time)
    return mine._replace(tokens=tokens, expire_time=expire_time)
