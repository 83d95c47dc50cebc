"""Uses of a global cap that were given in advance: docs/control.md, "Caps over all of a person's devices".

Asks the two lists, and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from reflexarc_core.record import LeaseInput
from tests.reference.lists import Concluded, Taken


def lease_of(history: Iterable[Taken], made: Iterable[Concluded], subject: str, cap: str, now: int) -> str:
    """The id of the lease that the next use is taken from, the one that ends first; empty when there is none."""
    said: dict[str, LeaseInput] = {}
    for seen in history:
        given = seen.given
        if isinstance(given, LeaseInput) and (given.subject, given.cap) == (subject, cap):
            said[given.lease_id] = given
    used = [one.lease_id for one in made if one.uses and one.lease_id]
    still = [one for one in said.values() if one.expire_time > now and used.count(one.lease_id) < one.tokens]
    return min(still, key=lambda one: (one.expire_time, one.lease_id)).lease_id if still else ""
