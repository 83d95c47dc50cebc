"""Delivery: whether a fired decision may still reach somebody, and the record that ends one that may not.

Owns the checks at the last moment. Pure: it is handed the engine and writes nothing.
"""

from __future__ import annotations

from dataclasses import replace

from reflexarc_core.conclude import PAUSE_ALL
from reflexarc_core.decision import Decision, Reason
from reflexarc_core.engine import Engine
from reflexarc_core.record import Moment


def holds_back(engine: Engine, decision: Decision, moment: Moment) -> Reason | None:
    """Why a fired decision must not reach anybody now: what may have changed since it was decided."""
    state = engine.state
    if state.paused & {PAUSE_ALL, decision.trigger_id}:
        return Reason.PAUSED
    trigger = engine.plan.catalog.triggers.get(decision.trigger_id)  # the server's triggers too
    purpose = trigger.policy.purpose if trigger is not None else ""
    subject = state.subjects.get(decision.subject)
    if purpose and not (subject is not None and subject.consents.get(purpose, False)):
        return Reason.CONSENT
    if 0 < decision.expire_time <= moment.now:
        return Reason.EXPIRED
    return None


def ended(decision: Decision, reason: Reason, detail: str, moment: Moment) -> Decision:
    """The record that ends a fired decision nobody was handed."""
    return replace(
        decision, record=decision.record + 1, reason=reason, detail=detail, decision_time=moment.now, payload=None,
        expire_time=0,
    )  # fmt: skip
