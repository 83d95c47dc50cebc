"""The log: every input of an engine in order, and what it concluded, as values.

Owns the kinds of record and the moment each input carries. State is a fold over the inputs; decisions and
hand-overs are outputs kept beside them so that one log and one upload hold everything. Must never number, store or
send a record: the shells do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from reflexarc_core.decision import Decision
from reflexarc_core.event import Event
from reflexarc_core.model import LiveModel, Scored
from reflexarc_core.value import frozen


@frozen
class Moment:
    """When an input reached the engine, and what the host knew then.

    now: engine time, ms. online: the server could be reached. trusted: the wall clock is believed.
    offset_minutes: local time minus UTC; next_offset_time: when that changes next, 0 = not known.
    """

    now: int
    online: bool = False
    trusted: bool = True
    offset_minutes: int = 0
    next_offset_time: int = 0


@frozen
class EventInput:
    """An event was captured."""

    moment: Moment
    event: Event


@frozen
class ScoresInput:
    """Scores that the host's own models gave, all for one cause (an event's id, or `tick:MODEL:TIME`)."""

    moment: Moment
    cause_id: str
    scores: tuple[tuple[str, Scored], ...]
    """(subject, score) pairs."""


@frozen
class AnswerInput:
    """What became of an escalation: the server's score, or None and why there is none (`deadline`, `offline`, ...)."""

    moment: Moment
    decision_id: str
    scored: Scored | None
    unavailable: str = ""


@frozen
class TickInput:
    """Time passed a deadline of the engine."""

    moment: Moment


@frozen
class CatalogInput:
    """A catalog became live, with the artifacts that score for it: model id -> what is live of it."""

    moment: Moment
    catalog_digest: str
    version: str
    models: Mapping[str, LiveModel]


@frozen
class ValuesInput:
    """Subject-scoped feature values came down from the server, true as of `as_of_time` (ms)."""

    moment: Moment
    subject: str
    as_of_time: int
    values: Mapping[str, float]


@frozen
class LeaseInput:
    """The server let this device use a global cap for a subject: `tokens` times in all under this lease, until `expire_time`
    (ms). The same lease again says what is true of it now."""

    moment: Moment
    subject: str
    cap: str
    lease_id: str
    tokens: int
    expire_time: int


@frozen
class ControlInput:
    """The set of paused triggers changed; `*` pauses everything."""

    moment: Moment
    paused: tuple[str, ...]


@frozen
class DecisionOutput:
    """The engine decided."""

    decision: Decision


@frozen
class HandedOutput:
    """An action is about to be handed over; written before the handler is called, so it is never called twice."""

    decision_id: str
    handed_time: int


RENUMBERED: Final = "renumbered"
"""The reason of numbers that the server was told under an earlier numbering: nothing is lost there."""


@frozen
class LossOutput:
    """Records that no longer exist, and why: a gap in the numbering that explains itself."""

    reason: str
    first_seq: int
    last_seq: int
    count: int


@frozen
class TombstoneOutput:
    """A subject was erased; nothing of it from before is taken any more.

    subject_digest: `erased_digest` of the installation that says so, or is told. erase_time: ms.
    """

    subject_digest: str
    erase_time: int


Input = EventInput | ScoresInput | AnswerInput | TickInput | CatalogInput | ValuesInput | ControlInput | LeaseInput
Record = Input | DecisionOutput | HandedOutput | LossOutput | TombstoneOutput

# Kinds by number: the form they have in a store and on the wire. Numbers are never reused.
KINDS: Final[Mapping[int, type]] = {
    1: EventInput,
    2: ScoresInput,
    3: AnswerInput,
    4: TickInput,
    5: CatalogInput,
    6: ValuesInput,
    7: ControlInput,
    8: LeaseInput,
    16: DecisionOutput,
    17: HandedOutput,
    18: LossOutput,
    19: TombstoneOutput,
}
KIND_OF: Final[Mapping[type, int]] = {cls: number for number, cls in KINDS.items()}


def erased_digest(salt: str, subject: str) -> str:
    """What is kept of an erased subject: SHA-256 (hex) over a salt and its name, which means nothing without the salt.

    salt: the installation's id where a device and its server speak of it.
    """
    return hashlib.sha256(f"{salt} {subject}".encode()).hexdigest()
