"""Decisions: what the engine concluded of one trigger for one subject at one moment, and why.

Owns the record and the closed list of reasons. A decision may have a second record (after an escalation, at
delivery); both carry the same id, and the one with the highest `record` counts.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final

from reflexarc_core.value import frozen


class Reason(enum.StrEnum):
    """Why a trigger did or did not act. The list is closed and part of the wire contract."""

    FIRED = "FIRED"
    HOLDOUT = "HOLDOUT"
    CONDITION = "CONDITION"
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    ESCALATED = "ESCALATED"
    STALE = "STALE"
    WARMING = "WARMING"
    CONSENT = "CONSENT"
    COOLDOWN = "COOLDOWN"
    CAP = "CAP"
    NO_LEASE = "NO_LEASE"
    PRIORITY = "PRIORITY"
    QUIET_HOURS = "QUIET_HOURS"
    REENTRY = "REENTRY"
    EXIT = "EXIT"
    PAUSED = "PAUSED"
    EXPIRED = "EXPIRED"
    CLOCK_UNTRUSTED = "CLOCK_UNTRUSTED"
    ERASED = "ERASED"

    def to_json(self) -> str:
        """Its word."""
        return self.value

    @staticmethod
    def from_json(read: Any) -> Reason:
        """Raises ValueError for a word that is none."""
        return Reason(read)


MODES: Final = ("", "dry_run", "test")
"""Of a decision: it counts, or its trigger only tries, or its subject does."""


@frozen
class ScoreEvidence:
    """The score a decision rests on: whose, how high, how sure, against which line.

    where: `device` or `server`. confidence: None when the artifact has no table for the line.
    """

    model_id: str
    artifact_digest: str
    code: int
    score: float
    line: float
    confidence: float | None
    confidence_min: float
    where: str


@frozen
class Decision:
    """One record of one decision.

    decision_id: hash of trigger, subject, instance and cause. record: 0 for the first, 1 for what followed.
    cause_id: the event's id, or the timer's. detail: the clause, policy or feature the reason is about.
    decision_time: engine time, ms. online: whether the host could reach its server. assignment: `treated`,
    `holdout` or empty where no split was reached. expire_time: when the action is no longer handed over, 0 = never
    set. payload: rendered action, only on FIRED. variant: of the trigger's, where it has any. policy_ids: the caps whose
    allowance it used (`trigger:ID`, `cap:NAME`); lease_id: the lease one of them was taken from. mode: `dry_run` or `test` for
    what counts in no result.
    """

    decision_id: str
    record: int
    trigger_id: str
    subject: str
    cause_id: str
    reason: Reason
    decision_time: int
    catalog_digest: str
    placement: str
    online: bool
    instance: str = ""
    detail: str = ""
    evidence: tuple[ScoreEvidence, ...] = ()
    action: str = ""
    payload: Mapping[str, Any] | None = None
    assignment: str = ""
    expire_time: int = 0
    variant: str = ""
    policy_ids: tuple[str, ...] = ()
    lease_id: str = ""
    mode: str = ""
