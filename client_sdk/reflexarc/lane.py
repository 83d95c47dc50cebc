"""Lanes: the way of one `track()`, from what the caller gave to a receipt.

Owns what is checked before an event is kept, and the two ways from there: into this process's engine, or into this process's
journal of captures when another one owns the store. Must never keep state of a subject.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Final, Protocol

from reflexarc.counters import Counters
from reflexarc.device import Device
from reflexarc.durable import DiskSync
from reflexarc.elsewhere import Elsewhere, live_catalog
from reflexarc.ids import EventIds
from reflexarc.receipt import Receipt, kept
from reflexarc.shapes import Shapes
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from reflexarc_core.errors import InvalidEventError, StorageError
from reflexarc_core.event import STRING_BYTES_MAX, Event, Value, is_storable, subject_parts
from reflexarc_edge.capture import Capture, encode_capture
from reflexarc_edge.clock import Clock
from reflexarc_edge.runtime import RESERVED

ID_BYTES_MAX: Final = 512
DURABILITIES: Final = ("process", "power", "memory")


class Lane(Protocol):
    """One way of an event."""

    def quick(self, event_type: str, given: Mapping[str, object], subject: str) -> Receipt | None:
        """Keep an event that came as most do; None for one that has to go the whole way. Raises StorageError."""
        ...

    def track(
        self,
        event_type: str,
        given: Mapping[str, object],
        subject: str,
        event_time: int | None,
        event_id: str | None,
        position: int,
        durability: str,
        priority: int,
    ) -> Receipt:
        """Keep one event. Raises InvalidEventError or StorageError, with nothing kept."""
        ...


class Here:
    """Into this process's engine, on the caller's thread."""

    def __init__(self, device: Device, disk: DiskSync, counters: Counters) -> None:
        self._device = device
        self._runtime = device.runtime
        self._lock = device.runtime.lock
        self._held = device.log.held
        self._put = device.log.spool.put_capture
        self._scope = device.log.scope
        self._now = device.engine_clock.now
        self._moment = device.moment
        self._enricher = device.enricher
        self._power = disk.future
        self._counters = counters
        self._ids = EventIds()
        self._idle: Set[str] = frozenset()
        self._shapes = self._find_shapes()

    def quick(self, event_type: str, given: Mapping[str, object], subject: str) -> Receipt | None:
        shapes = self._shapes
        if shapes.plan is not self._runtime.engine.plan:
            shapes = self._find_shapes()
        values = given.values()
        fits = shapes.known.get((event_type, *given, *map(type, values))) or shapes.learn(event_type, given)
        if fits is None or not fits(*values):
            return None
        if event_type not in self._idle:
            return self._decide(event_type, {**given}, subject)  # type: ignore[dict-item]  # fits: they are Values
        now, trusted = self._now()
        try:
            body = encode_capture((event_type, subject, "", now, 0, self._device.online, trusted, 1, -1, given))
        except (TypeError, UnicodeEncodeError):
            return None  # no dict, or a text that is none
        if len(body) > STRING_BYTES_MAX:
            return None  # only then can one of its texts be too long
        with self._lock:
            if self._held:
                return None
            seq = self._put(body)
        return kept((now, self._scope, seq), self._power)

    def _decide(self, event_type: str, properties: dict[str, Value], subject: str) -> Receipt:
        moment = self._moment()
        now = moment.now
        identity = self._ids.next(now)
        context = self._enricher.context(subject, event_type, now, properties, moment.online)
        decisions = self._runtime.capture(Event(identity, event_type, subject, now, properties, context), moment)
        if not decisions:
            return kept(identity, self._power)
        return Receipt(True, identity, "", tuple(decisions), "here", self._power)

    def track(
        self,
        event_type: str,
        given: Mapping[str, object],
        subject: str,
        event_time: int | None,
        event_id: str | None,
        position: int,
        durability: str,
        priority: int,
    ) -> Receipt:
        device, runtime = self._device, self._runtime
        check_call(subject, event_time, event_id, position, durability, priority)
        properties = conform(runtime.engine.plan.catalog, event_type, given, self._counters)
        if priority == 0 and device.log.spool.upkeep.is_full:
            raise StorageError("the store is nearly full and this event has the lowest priority", hint="free it or enlarge it")
        moment = device.moment()
        decisions: list[Decision] = []
        if event_time is None and durability != "memory" and not runtime.waits_for(event_type):
            capture = Capture(
                event_type, subject, event_id or "", moment.now, 0, moment.online, moment.trusted, priority, position, properties
            )  # fmt: skip
            seq = runtime.keep_capture(encode_capture(capture))
            identity: str | tuple[int, str, int] = event_id or (moment.now, self._scope, seq)
        else:
            # Engine time: a wall clock that jumped must not put events into another year.
            when = moment.now if event_time is None else event_time
            identity = event_id or self._ids.next(when)
            context = self._enricher.context(subject, event_type, when, properties, moment.online)
            event = Event(identity, event_type, subject, when, properties, context, position)
            decisions = runtime.capture(event, moment, priority=priority, held=durability == "memory")
        return Receipt(True, identity, "", tuple(decisions), "here", self._durable(durability))

    def _durable(self, durability: str) -> Any:
        if durability == "process":
            return self._power
        return self._power() if durability == "power" else None

    def _find_shapes(self) -> Shapes:
        """Another catalog is live: learn anew what most events look like."""
        plan = self._runtime.engine.plan
        types = plan.catalog.event_types
        # What is sealed goes the whole way: the log closes it.
        self._idle = frozenset() if self._device.log.is_sealed else {n for n in types if not self._runtime.waits_for(n)}
        usual = {name: declared for name, declared in types.items() if name not in RESERVED}
        self._shapes = Shapes(plan, usual, self._idle)
        return self._shapes


class There:
    """Into this process's journal of captures; the owner of the store does the rest."""

    def __init__(
        self, folder: Path, elsewhere: Elsewhere, disk: DiskSync, clock: Clock, catalog: Catalog, counters: Counters
    ) -> None:
        self._folder = folder
        self._elsewhere = elsewhere
        self._disk = disk
        self._clock = clock
        self._catalog = catalog
        self._counters = counters

    def quick(self, event_type: str, given: Mapping[str, object], subject: str) -> Receipt | None:
        return None

    def track(
        self,
        event_type: str,
        given: Mapping[str, object],
        subject: str,
        event_time: int | None,
        event_id: str | None,
        position: int,
        durability: str,
        priority: int,
    ) -> Receipt:
        check_call(subject, event_time, event_id, position, durability, priority)
        if event_type not in self._catalog.event_types:
            self._catalog = live_catalog(self._folder) or self._catalog  # the owner may have taken a newer one
        properties = conform(self._catalog, event_type, given, self._counters)
        when = self._clock.wall_ms() if event_time is None else event_time
        elapsed = self._clock.monotonic_ms() if event_time is None else -1
        seq = self._elsewhere.capture(
            Capture(event_type, subject, event_id or "", when, elapsed, False, False, priority, position, properties)
        )
        self._counters.add("accepted")
        power: Any = None if durability == "memory" else self._disk.future
        return Receipt(
            True, event_id or (when, self._elsewhere.scope, seq), "", (), "elsewhere",
            power() if durability == "power" else power,
        )  # fmt: skip


def conform(catalog: Catalog, event_type: str, given: Mapping[str, object], counters: Counters) -> dict[str, Value]:
    """The properties as their type declares them; undeclared ones are counted. Raises InvalidEventError."""
    declared = catalog.event_types.get(event_type)
    if declared is None:
        raise InvalidEventError(f"no event type {event_type!r:.60}", hint="declare it in the catalog")
    properties, unknown_count = declared.conform(given)
    if unknown_count:
        counters.add("properties_undeclared", unknown_count)
    return properties


def check_call(subject: str, event_time: int | None, event_id: str | None, position: int, durability: str, priority: int) -> None:
    """Raises InvalidEventError for what no event may have."""
    for what, text in (("subject", subject), ("event_id", event_id)):
        if text is not None and not (isinstance(text, str) and is_storable(text, ID_BYTES_MAX)):
            raise InvalidEventError(f"{what} is no text of at most {ID_BYTES_MAX} bytes")
    subject_parts(subject)
    if event_time is not None and (type(event_time) is not int or not 0 <= event_time < 2**53):
        raise InvalidEventError(f"event_time is {type(event_time).__name__}", hint="milliseconds since 1970 as an int")
    if type(position) is not int or not -1 <= position < 2**53:
        raise InvalidEventError(f"position is {type(position).__name__}", hint="a row number")
    if durability not in DURABILITIES:
        raise InvalidEventError(f"durability is {durability!r:.20}", hint=f"one of {', '.join(DURABILITIES)}")
    if priority not in (0, 1, 2):
        raise InvalidEventError(f"priority is {priority!r:.20}", hint="0, 1 or 2")
