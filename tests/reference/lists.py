"""The two lists of the reference: what came, and what was made of it.

Owns their form. Everything the reference knows is in them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from reflexarc_core.catalog import Catalog
from reflexarc_core.event import Event
from reflexarc_core.model import Scored
from reflexarc_core.record import Input

MINUTE = 60_000
DAY = 1_440 * MINUTE


@dataclass(frozen=True)
class Taken:
    """One input of the history, the engine time it made, and the catalog that is live behind it."""

    number: int
    now: int
    given: Input
    catalog: Catalog


@dataclass(frozen=True)
class Concluded:
    """One record of one decision. due: engine time at which a held one is looked at again, 0 = it is not held; expires: how long
    it may be. uses: whether it uses cooldown, caps and slot; counted: the caps it counts in, and how many uses each remembered
    then; lease_id: what a use of a global cap was taken from; enters: whether its trigger minds entries. kept: the assignment and
    the variant that stay for the subject. begins: whether a content sequence begins when it acts; a step of one does not.
    asked: the model a server was asked for, empty where none was; sure, event, scored: what it was asked with."""

    number: int
    trigger_id: str
    subject: str
    instance: str
    cause: str
    reason: str
    time: int
    record: int = 0
    assignment: str = ""
    variant: str = ""
    mode: str = ""
    action: str = ""
    acts: bool = False
    uses: bool = False
    slot: str = ""
    due: int = 0
    expires: int = 0
    enters: bool = False
    kept: tuple[str, str] = ("", "")
    decision_id: str = ""
    counted: dict[str, int] = field(default_factory=dict)
    lease_id: str = ""
    begins: bool = True
    asked: str = ""
    sure: bool = False
    event: Event | None = None
    scored: Scored | None = None
