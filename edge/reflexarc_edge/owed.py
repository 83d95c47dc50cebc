"""Owed actions: fired decisions between their record and their hand-over, or the record that ends them.

Owns at-most-once: an action is marked handed before anybody is called, and what may have changed since is checked then. The
server's decisions join the device's own here. Must never call a handler: it is told who delivers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from reflexarc_core.decision import Decision, Reason
from reflexarc_core.engine import Engine
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.record import DecisionOutput, HandedOutput, Moment
from reflexarc_edge.delivery import ended, holds_back
from reflexarc_edge.log import Log

UNTAKEN_MAX: Final = 1_000
UNTAKEN_AT_ONCE: Final = 100
LEFT_MAX: Final = 1_000
"""Subjects remembered as having left, newest; an action sent for one of them is not delivered."""


class Owed:
    """The actions one store owes. lock: the engine's. counts: decision records by reason."""

    def __init__(self, log: Log, lock: threading.RLock, engine: Callable[[], Engine], counts: dict[str, int]) -> None:
        self._log = log
        self._lock = lock
        self._engine = engine
        self._counts = counts
        self._left: dict[str, None] = {}
        self.undelivered: Final[set[str]] = set()
        """Ids of what somebody is about to be handed."""

    def handed(self, decision: Decision, moment: Moment) -> bool:
        """The action is about to be handed over: True once, and durable when this returns; False when it must not be.

        What may have changed since it was decided is checked again: pause, consent, expiry, the end of its session.
        """
        with self._lock:
            if decision.decision_id not in self.undelivered:
                return False
            reason = holds_back(self._engine(), decision, moment)
            if reason is not None:
                self.give_up([decision], reason, "at delivery", moment)
                return False
            self._log.append([HandedOutput(decision.decision_id, moment.now)])
            self.undelivered.discard(decision.decision_id)
            return True

    def take(self, decision: Decision, moment: Moment) -> bool:
        """Take a decision of the server's into the log: whether it is to be delivered now. Once, however often it is sent.

        It ends at once when its time is over, its subject left, or the live catalog does not know its trigger. Raises
        InvalidEventError when it is none that a server may send, StorageError.
        """
        if decision.placement != "server" or decision.reason is not Reason.FIRED or decision.record or not decision.expire_time:
            raise InvalidEventError("the server sent a decision that is none of its triggers', or has no expiry")
        with self._lock:
            if self._log.decision_records(decision.decision_id):
                return False
            self._log.append([DecisionOutput(decision)])
            detail = ""
            if decision.subject in self._left:
                detail = "the session ended"
            elif decision.expire_time <= moment.now:
                detail = "it came too late"
            elif decision.trigger_id not in self._engine().plan.catalog.triggers:
                detail = "the live catalog has no such trigger"
            if detail:
                self.give_up([decision], Reason.EXPIRED, detail, moment)
                return False
            self.undelivered.add(decision.decision_id)
            return True

    def came(self, subject: str) -> None:
        """The subject is here, again perhaps."""
        with self._lock:
            self._left.pop(subject, None)

    def end_subject(self, subject: str, moment: Moment) -> None:
        """The subject left: none of its actions that still wait, or are sent later, will be handed over."""
        with self._lock:
            self._left[subject] = None
            if len(self._left) > LEFT_MAX:
                del self._left[next(iter(self._left))]
            left = [decision for decision in self._log.pending() if decision.subject == subject]
            self.give_up(left, Reason.EXPIRED, "the session ended", moment)

    def expire_untaken(self, moment: Moment) -> int:
        """End the oldest actions that nobody takes, where too many wait: a store must not fill with them. How many."""
        with self._lock:
            untaken = self._log.oldest_owed(UNTAKEN_MAX, UNTAKEN_AT_ONCE)
            self.give_up(untaken, Reason.EXPIRED, "nobody took it", moment)
            return len(untaken)

    def expire_over(self, moment: Moment) -> None:
        """End what waits for a handler beyond its time."""
        if self.undelivered:
            with self._lock:
                over = [decision for decision in self._log.pending() if 0 < decision.expire_time <= moment.now]
                self.give_up(over, Reason.EXPIRED, "nobody took it", moment)

    def expire_late(self, moment: Moment) -> list[Decision]:
        """After a restart: end what was never handed over and is over; what still lives is owed, and given back."""
        with self._lock:
            pending = self._log.pending()
            late = [decision for decision in pending if decision.expire_time <= moment.now]
            self.give_up(late, Reason.EXPIRED, "not handed over before a restart", moment)
            owed = [decision for decision in pending if decision.expire_time > moment.now]
            self.undelivered.update(decision.decision_id for decision in owed)
            return owed

    def give_up(self, decisions: Sequence[Decision], reason: Reason, detail: str, moment: Moment) -> None:
        """The records that end fired decisions nobody was handed; the store owes them no more."""
        if decisions:
            ends = [ended(decision, reason, detail, moment) for decision in decisions]
            self._log.append([DecisionOutput(end) for end in ends])
            self.undelivered.difference_update(end.decision_id for end in ends)
            self._counts[reason] = self._counts.get(reason, 0) + len(ends)
