"""One row to one event, by a mapping that was checked against the event types first.

Owns what a row's verdict is before any server sees it. Must never touch a file.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reflexarc_build.source import Mistake, SourceError, nearest
from reflexarc_cli.importing import mapping as mappings
from reflexarc_cli.importing.mapping import SKIP, Cell, Kind, Place
from reflexarc_cli.importing.rows import BadRow, Row, shown
from reflexarc_cli.importing.times import TimeReader
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import CONTEXT_TYPES, Event, EventType, PropertyType, Value, subject_key

EVENT_ID_CHARS_MAX: Final = 200
TRUE_TEXTS: Final = frozenset(("true", "1", "yes", "y", "t"))
FALSE_TEXTS: Final = frozenset(("false", "0", "no", "n", "f"))


@dataclass(frozen=True, slots=True)
class Accepted:
    """A row that is an event. Its `source_position` is the row number too."""

    row_number: int
    event: Event


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be an event. code: framing, encoding, subject, time, event_id, event_type or property."""

    row_number: int
    code: str
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row the mapping leaves out on purpose. kind: the text that said so."""

    row_number: int
    kind: str


Outcome = Accepted | Rejected | Skipped
_Take = Callable[[Mapping[str, object]], object]


class _RowError(Exception):
    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to do with rows of one kind."""

    event_type: EventType
    takes: tuple[tuple[str, _Take], ...]


class RowConverter:
    """Makes events of rows.

    event_types: every type the mapping may name (see `all_event_types`). file_digest: for ids of rows without one.
    Raises SourceError naming every place of the mapping that does not fit the event types.
    """

    def __init__(self, mapping: mappings.Mapping, event_types: Mapping[str, EventType], file_digest: str) -> None:
        self._mapping = mapping
        self._types = event_types
        self._digest = file_digest.encode()
        self._times = TimeReader(mapping.time_format, mapping.zone)
        self._mistakes: list[Mistake] = []
        self._plans = {text: self._plan(kind) for text, kind in mapping.kinds.items()}
        self._constant = self._plan(mapping.event_type) if mapping.event_type else None
        for name, cells in mapping.properties.items():
            if name not in event_types:
                place = next(iter(cells.values())).place if cells else mapping.place
                self._wrong(place, f"properties of {name}: no such event type", nearest(name, event_types))
        self._context = tuple((name, _take(cell, PropertyType(CONTEXT_TYPES[name]))) for name, cell in mapping.context.items())
        self._by_name: dict[str, _Plan] = {}
        if self._mistakes:
            raise SourceError(self._mistakes)

    def convert(self, row: Row | BadRow) -> Outcome:
        """The row's outcome; never raises on what stands in a row."""
        if isinstance(row, BadRow):
            return Rejected(row.number, row.code, row.reason, row.raw)
        try:
            plan = self._plan_of(row.cells)
            if isinstance(plan, str):
                return Skipped(row.number, plan)
            return Accepted(row.number, self._event(row, plan))
        except _RowError as error:
            return Rejected(row.number, error.code, error.reason, raw_text(row.cells))

    def _plan_of(self, cells: Mapping[str, object]) -> _Plan | str:
        if self._constant is not None:
            return self._constant
        column = self._mapping.event_type_column
        text = _text(cells.get(column))
        if not self._mapping.kinds:
            return self._named(text)
        kind = self._mapping.kinds.get(text)
        if kind is not None:
            plan = self._plans[text]
            return text if plan is None else plan
        if self._mapping.unlisted == SKIP:
            return "unlisted"
        raise _RowError("event_type", f"{column} is {shown(text)!r}, which the mapping does not list")

    def _named(self, name: str) -> _Plan:
        plan = self._by_name.get(name)
        if plan is None:
            if name not in self._types:
                raise _RowError("event_type", f"no event type {shown(name)!r}")
            made = self._plan(Kind(name))
            assert made is not None
            plan = self._by_name[name] = made
        return plan

    def _event(self, row: Row, plan: _Plan) -> Event:
        mapping, cells = self._mapping, row.cells
        subject_id = _text(cells.get(mapping.subject_column)).strip()
        if not subject_id:
            raise _RowError("subject", f"{mapping.subject_column} is empty: whose event is it?")
        held = cells.get(mapping.time_column)
        try:
            event_time = self._times.read(held)
        except (ValueError, OverflowError):
            raise _RowError("time", f"{mapping.time_column} is {_cut(held)}, no time after 1970") from None
        given: dict[str, object] = {}
        if mapping.properties_column:
            whole = cells.get(mapping.properties_column)
            if isinstance(whole, dict):
                given.update(whole)
            elif whole is not None:
                raise _RowError("property", f"{mapping.properties_column} is no JSON object")
        try:
            for name, take in plan.takes:
                given[name] = take(cells)
            properties, _ = plan.event_type.conform(given)
            context = {name: value for name, take in self._context if (value := take(cells)) is not None}
        except InvalidEventError as error:
            raise _RowError("property", str(error)) from None
        event = Event(
            event_id=self._event_id(row),
            event_type=plan.event_type.name,
            subject=subject_key(mapping.subject_kind, subject_id),
            event_time=event_time,
            properties=properties,
            context=context,  # type: ignore[arg-type]  # _take coerced each to its declared type
            source_position=row.number,
        )
        _check_text(event)
        return event

    def _event_id(self, row: Row) -> str:
        columns = self._mapping.event_id_columns
        if not columns:
            return row_event_id(self._digest, row.number)
        parts = [_text(row.cells.get(column)).strip() for column in columns]
        if not all(parts):
            raise _RowError("event_id", f"{columns[parts.index('')]} is empty: the event has no id")
        event_id = self._mapping.event_id_prefix + ":".join(parts)
        if len(event_id) > EVENT_ID_CHARS_MAX:
            raise _RowError("event_id", f"an id of {len(event_id)} characters, at most {EVENT_ID_CHARS_MAX}")
        return event_id

    def _plan(self, kind: Kind) -> _Plan | None:
        if not kind.event_type:
            return None
        event_type = self._types.get(kind.event_type)
        if event_type is None:
            self._wrong(kind.place, f"no event type {kind.event_type!r}", nearest(kind.event_type, self._types))
            return None
        cells = {**self._mapping.properties.get(kind.event_type, {}), **kind.properties}
        takes = []
        for name, cell in cells.items():
            declared = event_type.properties.get(name)
            if declared is None:
                self._wrong(cell.place, f"{event_type.name} has no property {name!r}", nearest(name, event_type.properties))
            elif declared.type.startswith("list(") and self._mapping.format != "jsonl":
                self._wrong(cell.place, f"{event_type.name}.{name} is a list", "lists can be read from jsonl only")
            else:
                takes.append((name, _take(cell, declared)))
        missing = [n for n, p in event_type.properties.items() if p.required and n not in cells]
        if missing and not self._mapping.properties_column:
            self._wrong(kind.place, f"{event_type.name} needs {', '.join(missing)}", "map a column to it or give a value")
        return _Plan(event_type, tuple(takes))

    def _wrong(self, place: Place, message: str, hint: str) -> None:
        mistake = Mistake(place.file, place.line, message, hint)
        if mistake not in self._mistakes:
            self._mistakes.append(mistake)


def row_event_id(file_digest: bytes, row_number: int) -> str:
    """The id of a row that has none of its own: the first 128 bits of SHA-256 over file digest and row number, in hex."""
    return hashlib.sha256(b"%s:%d" % (file_digest, row_number)).hexdigest()[:32]


def raw_text(cells: Mapping[str, object]) -> str:
    """A row for a person to find again: its cells as JSON, cut where it gets long."""
    return shown(json.dumps(cells, ensure_ascii=False, default=str))


def _take(cell: Cell, declared: PropertyType) -> _Take:
    """How to get one property out of a row; the result is None for an absent one."""
    wanted, column, values = declared.type, cell.column, cell.values
    if not column:
        return lambda _: cell.constant

    def take(cells: Mapping[str, object]) -> object:
        held = cells.get(column)
        if values and isinstance(held, str) and held in values:
            return values[held]
        if not isinstance(held, str) or wanted == "string":
            return None if held == "" else held
        return _converted(held.strip(), wanted, column)

    return take


def _converted(text: str, wanted: str, column: str) -> Value | None:
    """Text to a declared type. Raises InvalidEventError."""
    if not text:
        return None
    try:
        if wanted == "double":
            return float(text)
        if wanted in ("int", "timestamp"):
            return int(text)
    except ValueError:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if number.is_integer():
            return int(number)
    if wanted == "bool":
        lowered = text.lower()
        if lowered in TRUE_TEXTS or lowered in FALSE_TEXTS:
            return lowered in TRUE_TEXTS
    raise InvalidEventError(f"{column} is {_cut(text)}", hint=f"a {wanted}")


def _check_text(event: Event) -> None:
    """A lone half of a surrogate pair can stand in JSON, but no store or wire can carry it."""
    for value in (event.event_id, event.subject, *event.properties.values(), *event.context.values()):
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _RowError("encoding", "text that is not Unicode") from None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, (dict, list)) else json.dumps(value)


def _cut(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
