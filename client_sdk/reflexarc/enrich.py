"""Enrichment: what the device knows of the moment an event happened.

Owns sessions and touches of the subjects on this device. Must never drop or change what the caller gave.
"""

from __future__ import annotations

import functools
import locale as locale_module
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from reflexarc.config import Config
from reflexarc_core.bucket import stable_id
from reflexarc_core.event import Value

SUBJECTS_MAX: Final = 10_000
OFFSET_HOLDS_MS: Final = 60_000


@dataclass(slots=True)
class _Visit:
    """A subject's session: the context of its newest event, and how many there were."""

    context: dict[str, Value]
    last_time: int
    step: int = 0


@functools.lru_cache(maxsize=256)
def _host_of(referrer: str) -> str:
    try:
        return urlsplit(referrer).hostname or ""
    except ValueError:
        return ""  # no URL: enrichment never costs an event


class Enricher:
    """Adds context to events, per subject."""

    def __init__(self, config: Config, installation: str, sdk_version: str) -> None:
        self._gap_ms = config.session_gap_ms
        self._installation = installation
        self._lock = threading.Lock()
        self._visits: OrderedDict[str, _Visit] = OrderedDict()
        self._fixed: dict[str, Value] = {"sdk_version": sdk_version, "device_class": config.device_class}
        if config.app_version:
            self._fixed["app_version"] = config.app_version
        tag = config.locale or (locale_module.getlocale()[0] or "").replace("_", "-")
        if tag and tag != "C":
            self._fixed["locale"] = tag
        self._offset = config.offset_minutes
        self._asked_time = -OFFSET_HOLDS_MS
        self._machine_offset = 0

    def context(
        self, subject: str, event_type: str, event_time: int, properties: Mapping[str, Value], online: bool
    ) -> dict[str, Value]:
        """The event's context: session and step, screen, locale, offset, versions, device class, online, touches."""
        with self._lock:
            visit = self._visits.get(subject)
            if visit is None or event_time - visit.last_time > self._gap_ms:
                visit = self._begin(subject, event_time, visit)
            if event_time > visit.last_time:
                visit.last_time = event_time
            visit.step += 1
            context = visit.context = visit.context.copy()  # mostly what the event before said
            context["session_step"] = visit.step
            context["offset_minutes"] = self.offset_minutes(event_time)
            context["online"] = online
            if event_type == "page_view":
                _see_page(context, properties)
            return context

    def offset_minutes(self, now: int) -> int:
        """Local time minus UTC, minutes, as it is now (ms); the machine is asked once a minute."""
        if self._offset is not None:
            return self._offset
        if not 0 <= now - self._asked_time < OFFSET_HOLDS_MS:
            self._asked_time = now
            self._machine_offset = time.localtime().tm_gmtoff // 60
        return self._machine_offset

    def end(self, subject: str) -> None:
        """The subject left: its next event begins a new session with nothing remembered."""
        with self._lock:
            self._visits.pop(subject, None)

    def _begin(self, subject: str, event_time: int, last: _Visit | None) -> _Visit:
        context = {**self._fixed, "session_id": stable_id(self._installation, subject, str(event_time))[:16]}
        if last is not None:
            context |= {name: last.context[name] for name in ("first_touch", "last_touch") if name in last.context}
        visit = _Visit(context, event_time)
        self._visits[subject] = visit
        self._visits.move_to_end(subject)
        if len(self._visits) > SUBJECTS_MAX:
            self._visits.popitem(last=False)
        return visit


def _see_page(context: dict[str, Value], properties: Mapping[str, Value]) -> None:
    screen = str(properties.get("page_url", ""))
    if screen:
        context["screen"] = screen
    else:
        context.pop("screen", None)
    touch = str(properties.get("utm_source") or "") or _host_of(str(properties.get("referrer") or ""))
    if touch:
        context.setdefault("first_touch", touch)
        context["last_touch"] = touch
