"""From a mapping's YAML to the value: everything checked, every mistake with its line and what to write.

Owns the author's language of mappings. A mapping loads whole or not at all.
"""

import datetime
from collections.abc import Iterator
from typing import Any

from reflexarc_build.source import Mistakes, Node, Reading, nearest, parse
from reflexarc_cli.importing.mapping import (
    ENCODINGS,
    FORMATS,
    REJECT,
    SKIP,
    Cell,
    Kind,
    LabelHorizon,
    Mapping,
    Place,
)  # fmt: skip
from reflexarc_cli.importing.times import TIME_FORMATS, TimeReader, zone_of
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import CONTEXT_TYPES, SUBJECT_KINDS, EventType, PropertyType, check_event_type

DELIMITERS = {"csv": ",", "tsv": "\t", "jsonl": ""}


def read_mapping(text: str, file: str, name: str) -> Mapping:
    """The mapping of a YAML text. file: shown in mistakes. name: the mapping's name unless it states one.

    Raises SourceError with every mistake found.
    """
    return _MappingReader(parse(text, file), name).mapping()


class _MappingReader:
    def __init__(self, root: Node, name: str) -> None:
        self.mistakes = Mistakes()
        self.root = root
        self.reading = Reading(root, "the mapping", self.mistakes)
        self.name = name

    def mapping(self) -> Mapping:
        reading = self.reading
        file_format = reading.text("format", "csv", one_of=FORMATS)
        delimiter = reading.text("delimiter", DELIMITERS[file_format])
        if file_format != "jsonl" and len(delimiter) != 1:
            self._wrong("delimiter", f"delimiter is {delimiter!r}", "one character")
        zone = self._zone()
        time_column, time_format = self._time()
        subject_column, subject_kind = self._subject()
        id_columns, id_prefix = self._event_id()
        constant, type_column, kinds, unlisted = self._event_type()
        context = self._cells(reading.node_of("context"), "context")
        for unknown in sorted(set(context) - set(CONTEXT_TYPES)):
            self._wrong("context", f"context has no {unknown!r}", nearest(unknown, CONTEXT_TYPES))
        mapping = Mapping(
            name=reading.text("mapping", self.name),
            description=reading.text("description"),
            file=reading.text("file"),
            format=file_format,
            delimiter=delimiter,
            encoding=reading.text("encoding", "utf-8", one_of=ENCODINGS),
            in_time_order=self._flag("in_time_order"),
            zone=zone,
            subject_column=subject_column,
            subject_kind=subject_kind,
            time_column=time_column,
            time_format=time_format,
            event_id_columns=id_columns,
            event_id_prefix=id_prefix,
            event_type=constant,
            event_type_column=type_column,
            kinds=kinds,
            unlisted=unlisted,
            properties={name: self._cells(node, f"properties of {name}") for name, node in self._entries("properties")},
            properties_column=reading.text("properties_column"),
            context=context,
            event_types={name: self._declared(name, node) for name, node in self._entries("event_types")},
            cut_time=self._cut(zone),
            labels={name: self._label(name, node) for name, node in self._entries("labels")},
            simulated=self._flag("simulated"),
            columns=reading.names("columns", required=True),
            place=Place(self.root.file, self.root.line),
        )
        reading.finish()
        if mapping.properties_column and mapping.format != "jsonl":
            self._wrong("properties_column", "properties_column needs JSON objects", "format: jsonl, or properties by column")
        self._check_columns(mapping)
        self.mistakes.raise_if_any()
        return mapping

    # -- the parts --------------------------------------------------------------------------------------------------

    def _subject(self) -> tuple[str, str]:
        node = self.reading.node_of("subject", required=True)
        if node is None:
            return "", "known"
        if isinstance(node.value, str):
            return node.value, "known"
        inner = Reading(node, "subject", self.mistakes)
        found = inner.text("column", required=True), inner.text("kind", "known", one_of=SUBJECT_KINDS)
        inner.finish()
        return found

    def _time(self) -> tuple[str, str]:
        node = self.reading.node_of("time", required=True)
        if node is None:
            return "", "iso"
        if isinstance(node.value, str):
            return node.value, "iso"
        inner = Reading(node, "time", self.mistakes)
        column, time_format = inner.text("column", required=True), inner.text("format", "iso")
        inner.finish()
        if time_format not in TIME_FORMATS and "%" not in time_format:
            self.mistakes.add(
                node, f"time: format is {time_format!r}", f"one of {', '.join(TIME_FORMATS)} or a pattern such as %d.%m.%Y %H:%M"
            )
        return column, time_format

    def _zone(self) -> str:
        zone = self.reading.text("zone", "UTC")
        try:
            zone_of(zone)
        except DefinitionError as error:
            self._wrong("zone", error.message, error.hint)
            return "UTC"
        return zone

    def _event_id(self) -> tuple[tuple[str, ...], str]:
        node = self.reading.node_of("event_id")
        if node is None or node.value == "none":
            return (), ""
        if not isinstance(node.value, dict):
            return self.reading.names("event_id"), ""
        inner = Reading(node, "event_id", self.mistakes)
        found = inner.names("columns", required=True), inner.text("prefix")
        inner.finish()
        return found

    def _event_type(self) -> tuple[Kind | None, str, dict[str, Kind], str]:
        node = self.reading.node_of("event_type", required=True)
        if node is None:
            return None, "", {}, REJECT
        if isinstance(node.value, str):
            return Kind(node.value, {}, _place(node)), "", {}, REJECT
        inner = Reading(node, "event_type", self.mistakes)
        column = inner.text("column", required=True)
        unlisted = inner.text("unlisted", REJECT, one_of=(REJECT, SKIP))
        values = inner.node_of("values")
        kinds = {text: self._kind(text, kind) for text, kind in values.items()} if values else {}
        if values is not None and not kinds:
            self.mistakes.add(values, "event_type: values lists nothing", "write TEXT: EVENT_TYPE lines")
        inner.finish()
        return None, column, kinds, unlisted

    def _kind(self, text: str, node: Node) -> Kind:
        if isinstance(node.value, str):
            return Kind("" if node.value == SKIP else node.value, {}, _place(node))
        inner = Reading(node, f"event_type: {text}", self.mistakes)
        kind = Kind(
            inner.text("type", required=True), self._cells(inner.node_of("properties"), f"properties of {text}"), _place(node)
        )
        inner.finish()
        return kind

    def _cells(self, node: Node | None, what: str) -> dict[str, Cell]:
        if node is None:
            return {}
        if not isinstance(node.value, dict):
            self.mistakes.add(node, f"{what} is not a mapping", "write PROPERTY: COLUMN lines")
            return {}
        return {name: self._cell(name, cell) for name, cell in node.items()}

    def _cell(self, name: str, node: Node) -> Cell:
        if isinstance(node.value, str):
            return Cell(column=node.value, place=_place(node))
        inner = Reading(node, name, self.mistakes)
        column = inner.text("column")
        constant = self._scalar(inner.node_of("value"), name)
        table = inner.node_of("values")
        values = {text: self._scalar(value, f"{name}: {text}") for text, value in table.items()} if table else {}
        if isinstance(node.value, dict):
            inner.finish()
            if bool(column) == (constant is not None):
                self.mistakes.add(node, f"{name} has both or neither of column and value", "write one of the two")
        return Cell(column, constant, {t: v for t, v in values.items() if v is not None}, _place(node))

    def _scalar(self, node: Node | None, what: str) -> Any:
        if node is None:
            return None
        if isinstance(node.value, (str, int, float, bool)):
            return node.value
        self.mistakes.add(node, f"{what}: value is {node.plain()!r}", "text, a number, true or false")
        return None

    def _declared(self, name: str, node: Node) -> EventType:
        reading = Reading(node, f"event type {name}", self.mistakes)
        properties: dict[str, PropertyType] = {}
        declared = reading.node_of("properties")
        for property_name, held in declared.items() if declared else ():
            if not isinstance(held.value, str):
                self.mistakes.add(held, f"{name}.{property_name} is {held.plain()!r}", "a type, with ! when it is required")
                continue
            properties[property_name] = PropertyType(held.value.rstrip("!"), held.value.endswith("!"))
        event_type = EventType(name, properties, reading.text("description"))
        reading.finish()
        reading.guard(lambda: check_event_type(event_type))
        return event_type

    def _label(self, name: str, node: Node) -> LabelHorizon | None:
        if node.value == "none":
            return None
        inner = Reading(node, f"label of {name}", self.mistakes)
        horizon = LabelHorizon(inner.duration_ms("horizon", 1, required=True), inner.duration_ms("active_within"))
        inner.finish()
        return horizon

    def _cut(self, zone: str) -> int | None:
        node = self.reading.node_of("cut")
        if node is None:
            return None
        held = node.value
        text = held.isoformat() if isinstance(held, datetime.date) else str(held)
        try:
            return TimeReader("iso", zone).read(text)
        except ValueError:
            self.mistakes.add(node, f"cut is {text!r}", "a date such as 2011-09-09, local to the zone")
            return None

    # -- the whole --------------------------------------------------------------------------------------------------

    def _check_columns(self, mapping: Mapping) -> None:
        """Every column that is read is in `columns`: the header test then promises that the mapping will work."""
        used: list[tuple[str, str]] = [("subject", mapping.subject_column), ("time", mapping.time_column)]
        used += [("event_id", column) for column in mapping.event_id_columns]
        used += [("event_type", mapping.event_type_column), ("properties_column", mapping.properties_column)]
        for what, column in used:
            if column and column not in mapping.columns:
                self._wrong(what, f"{what} reads {column!r}, which is not in columns", nearest(column, mapping.columns))
        cells = [*mapping.context.items()]
        for by_name in (*mapping.properties.values(), *(kind.properties for kind in mapping.kinds.values())):
            cells += by_name.items()
        for name, cell in cells:
            if cell.column and cell.column not in mapping.columns:
                self.mistakes.add(
                    Node(None, cell.place.file, cell.place.line),
                    f"{name} reads {cell.column!r}, which is not in columns", nearest(cell.column, mapping.columns),
                )  # fmt: skip

    def _entries(self, name: str) -> Iterator[tuple[str, Node]]:
        node = self.reading.node_of(name)
        if node is None:
            return
        if not isinstance(node.value, dict):
            self.mistakes.add(node, f"{name} is not a mapping", "write NAME: {...} lines")
        yield from node.items()

    def _flag(self, name: str) -> bool:
        node = self.reading.node_of(name)
        if node is None or isinstance(node.value, bool):
            return bool(node and node.value)
        self.mistakes.add(node, f"{name} is {node.value!r}", "true or false")
        return False

    def _wrong(self, field: str, message: str, hint: str) -> None:
        self.mistakes.add(self.reading.node_of(field) or self.root, message, hint)


def _place(node: Node) -> Place:
    return Place(node.file, node.line)
