"""What comes down: the answer to a pull, whichever way it travels, by call or by file.

Owns the answer's content and the limits of the question. Must never know how it is carried.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Final

from reflexarc_core.errors import InvalidEventError
from reflexarc_proto.v1 import decision_pb2
from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_proto.wire import subject_from_proto, subject_to_proto
from reflexarc_server.clock import Clock
from reflexarc_server.deliveries import Deliveries
from reflexarc_server.erasures import Erasures
from reflexarc_server.leases import Leases
from reflexarc_server.live import Switch

SUBJECTS_MAX: Final = 1_000
ASKED_MAX: Final = 100_000
"""Subjects for which it is remembered who asked last; whoever is forgotten learns of news by polling."""
Hint = Callable[[str], object]
Values = Callable[[Sequence[str]], tuple[int, list[dict[str, float]]]]


class Down:
    """What installations are told. hint: told of one for which something is new."""

    def __init__(
        self,
        values: Values,
        deliveries: Deliveries,
        erasures: Erasures,
        leases: Leases,
        switch: Switch,
        clock: Clock,
        hint: Hint,
    ) -> None:
        self._values = values
        self._deliveries = deliveries
        self._erasures = erasures
        self._leases = leases
        self._switch = switch
        self._clock = clock
        self._hint = hint
        self._lock = threading.Lock()
        self._asked: dict[str, str] = {}

    def pull(self, installation: str, request: messages.PullRequest) -> messages.PullResponse:
        """What an installation is told. Raises InvalidEventError when it asks for too many subjects."""
        if len(request.subjects) > SUBJECTS_MAX:
            raise InvalidEventError(f"{len(request.subjects)} subjects", hint=f"at most {SUBJECTS_MAX} at once")
        subjects = [subject_from_proto(subject) for subject in request.subjects]
        self._note(installation, subjects)
        live, now = self._switch.live, self._clock.now_ms()
        answer = messages.PullResponse(
            paused=self._switch.paused, bundle_digest=live.digest, bundle_version=live.version, server_time=now
        )
        answer.erased.extend(self._erasures.due(installation))
        answer.decisions.extend(self.decisions(installation, subjects, now))
        if subjects:
            as_of_time, values = self._values(subjects)
            for asked, held in zip(request.subjects, values, strict=True):
                answer.values.add(subject=asked, as_of_time=as_of_time, values=held)
            for subject, cap, lease_id, tokens, expire_time in self._leases.give(installation, subjects, now):
                answer.leases.add(
                    subject=subject_to_proto(subject), cap=cap, lease_id=lease_id, tokens=tokens, expire_time=expire_time
                )
        return answer

    def may_wait(self, installation: str, subjects: Sequence[str]) -> bool:
        """Whether decisions may wait for an installation that asks about these subjects, by a look at memory."""
        return self._deliveries.may_wait(installation, subjects)

    def decisions(self, installation: str, subjects: Sequence[str], now: int) -> list[decision_pb2.Decision]:
        """What an installation is to hand over, of what these subjects did or what is addressed to it. now: ms."""
        found = self._deliveries.give(installation, subjects, now)
        return [one for one in found if not self._erasures.covers(subject_from_proto(one.subject), one.decision_time)]

    def changed(self, subjects: Collection[str]) -> None:
        """Their values changed: whoever asked for them last is told that it may ask again."""
        with self._lock:
            told = {self._asked[subject] for subject in subjects if subject in self._asked}
        for installation in told:
            self._hint(installation)

    def _note(self, installation: str, subjects: Sequence[str]) -> None:
        with self._lock:
            for subject in subjects:
                self._asked.pop(subject, None)
                self._asked[subject] = installation
            while len(self._asked) > ASKED_MAX:
                del self._asked[next(iter(self._asked))]
