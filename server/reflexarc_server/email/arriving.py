"""Where a followed mail link ends: our own page, whose address holds the click id.

Owns what of a click id is believed, and that no address keeps one. Must
never let a click id into the log: whoever holds one is taken for its reader while it lasts. Does no I/O.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event, Value, subject_parts
from reflexarc_server.collect.identifying import identify_by
from reflexarc_server.email.happening import SOURCE
from reflexarc_server.email.token import CLICK_ID, ExpiredTokenError, Mark, Signer
from reflexarc_server.site.email import ClickId

BELIEVED: Final = "believed"
OVER: Final = "over"
FORGED: Final = "forged"
_ADDRESS: Final = "page_url"
_log = logging.getLogger(__name__)


class Arrivals:
    """One server's. is_robot: of a User-Agent's text. counts: click ids by what they were held for."""

    def __init__(self, signer: Signer, rule: ClickId, is_robot: Callable[[str], bool]) -> None:
        name = re.escape(rule.parameter)
        self._signer = signer
        self._rule = rule
        self._is_robot = is_robot
        self._found = re.compile(rf"[?&#]{name}=([^&#\s\"\\]*)")
        # Also where one address stands within another, as in /login?next=..., and in JSON.
        self._plain = re.compile(rf"([?&#]){name}=[^&#\s\"\\]*(?:&{name}=[^&#\s\"\\]*)*(&?)")
        self._quoted = re.compile(rf"(%3F|%26|%23){name}%3D[A-Za-z0-9_.~-]*(%26|)", re.IGNORECASE)
        self.counts: Final[Counter[str]] = Counter()

    def taken(self, event: Event, user_agent: str, now: int) -> Sequence[Event]:
        """The event without click ids in what it says, and behind it, where the site wants it, that its browser is the person
        the mail went to. That is said once for a browser and a person; of a robot, or of who is known already, never. now: ms."""
        if not any(self._rule.parameter in str(value) for value in event.properties.values()):
            return (event,)
        held = self._found.search(str(event.properties.get(_ADDRESS, "")))
        mark = self._read(held[1], now) if held is not None else None
        cut = dataclasses.replace(event, properties={name: self._cut(value) for name, value in event.properties.items()})
        if mark is None or not self._rule.identify or not event.subject.startswith("anonymous:") or self._is_robot(user_agent):
            return (cut,)
        kind, known_id = subject_parts(mark.subject)
        if kind != "known":
            return (cut,)
        link = identify_by(SOURCE, subject_parts(event.subject)[1], now, known_id=known_id)
        return (cut,) if link is None else (cut, link)

    def _read(self, token: str, now: int) -> Mark | None:
        try:
            mark = self._signer.read(CLICK_ID, token, now)
        except ExpiredTokenError:
            self.counts[OVER] += 1
            return None
        except InvalidEventError:
            self.counts[FORGED] += 1
            count = self.counts[FORGED]
            if count & (count - 1) == 0:  # 1, 2, 4, 8, ...: who sends many fills no log
                _log.warning("%d click ids were not ours", count)
            return None
        self.counts[BELIEVED] += 1
        return mark if mark.subject else None

    def _cut(self, value: Value) -> Value:
        if isinstance(value, str):
            value = self._plain.sub(lambda found: found[1] if found[2] else "", value)
            return self._quoted.sub(lambda found: found[1] if found[2] else "", value)
        return [str(self._cut(item)) for item in value] if isinstance(value, list) else value


__all__ = ["BELIEVED", "FORGED", "OVER", "Arrivals"]
