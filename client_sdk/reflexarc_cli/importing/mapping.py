"""What a mapping is: how the rows of one kind of file become events.

Owns the mapping value and the two ways to find one: by name or file, and by the header of the file to import.
Must never read rows.
"""

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Final

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError, StorageError
from reflexarc_core.event import EventType, Scalar

FORMATS: Final = ("csv", "tsv", "jsonl")
ENCODINGS: Final = ("utf-8", "iso-8859-1", "cp1252")
REJECT: Final = "reject"
SKIP: Final = "skip"
HEADER_NAME_SHOWN_MAX: Final = 40


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the mapping's own file something stands, so that a mistake found later can still name it."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Cell:
    """Where one property's value comes from: a column, or a constant.

    values: what each text of the column stands for; a text that is not listed is passed on as it is.
    An empty cell means that the property is absent.
    """

    column: str = ""
    constant: Scalar | None = None
    values: MappingOf[str, Scalar] = field(default_factory=dict)
    place: Place = Place("", 0)


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of row becomes: an event type, and properties this kind of row sets in its own way.

    event_type: empty for rows that are skipped on purpose, which have a count of their own.
    """

    event_type: str
    properties: MappingOf[str, Cell] = field(default_factory=dict)
    place: Place = Place("", 0)


@dataclass(frozen=True, slots=True)
class LabelHorizon:
    """A model's label on this data: its horizon H and, for churn, the time A a subject counts as active (ms)."""

    horizon_ms: int
    active_within_ms: int = 0


@dataclass(frozen=True, slots=True)
class Mapping:
    """How one kind of file is read.

    file: the file's name inside a data set's folder. columns: every column it reads, all of them in the header.
    in_time_order: rows stand in ascending time. zone: IANA zone of times that carry none. time_format: `iso`,
    `epoch_s`, `epoch_ms` or a strptime pattern. event_id_columns: empty when the rows have no id of their own, their id
    is then a hash of the file's digest and the row number. event_type: the one type of all rows, empty when
    event_type_column decides; kinds: by the text of that column (none at all: the text is the type's name).
    unlisted: what becomes of a text that is not listed. properties: by event type. properties_column: a JSON
    object that holds the properties. context: enrichment by name. event_types: custom types this data brings.
    cut_time: where history ends and replay begins, ms UTC, None when there is no use for one. labels: model id ->
    horizons, None where this data holds no such label. simulated: nobody real behind it.
    """

    name: str
    columns: tuple[str, ...]
    subject_column: str
    time_column: str
    description: str = ""
    file: str = ""
    format: str = "csv"
    delimiter: str = ","
    encoding: str = "utf-8"
    in_time_order: bool = False
    zone: str = "UTC"
    time_format: str = "iso"
    subject_kind: str = "known"
    event_id_columns: tuple[str, ...] = ()
    event_id_prefix: str = ""
    event_type: Kind | None = None
    event_type_column: str = ""
    kinds: MappingOf[str, Kind] = field(default_factory=dict)
    unlisted: str = REJECT
    properties: MappingOf[str, MappingOf[str, Cell]] = field(default_factory=dict)
    properties_column: str = ""
    context: MappingOf[str, Cell] = field(default_factory=dict)
    event_types: MappingOf[str, EventType] = field(default_factory=dict)
    cut_time: int | None = None
    labels: MappingOf[str, LabelHorizon | None] = field(default_factory=dict)
    simulated: bool = False
    place: Place = Place("", 0)


def shipped_names() -> tuple[str, ...]:
    """Names of the shipped mappings, in order of the alphabet."""
    folder = resources.files("reflexarc_cli").joinpath("mappings")
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def shipped_mappings() -> dict[str, Mapping]:
    """Every shipped mapping by name."""
    return {name: _shipped(name) for name in shipped_names()}


def load_mapping(path_or_name: str | Path) -> Mapping:
    """A mapping from a YAML file, or a shipped one by its name.

    Raises SourceError (a DefinitionError) with every mistake in it, DefinitionError when there is no such mapping,
    StorageError when the file cannot be read.
    """
    from reflexarc_cli.importing.mapping_reader import read_mapping

    text = str(path_or_name)
    if text in shipped_names():
        return _shipped(text)
    path = Path(path_or_name)
    if not path.suffix and not path.exists():
        raise DefinitionError(f"no mapping {text!r}", hint=f"a YAML file, or one of {', '.join(shipped_names())}")
    try:
        return read_mapping(path.read_text(encoding="utf-8"), str(path), path.stem)
    except UnicodeDecodeError:
        raise DefinitionError(f"{path} is not UTF-8 text", hint="save the mapping as UTF-8") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None


def find_mapping(header: Sequence[str], candidates: MappingOf[str, Mapping] | None = None) -> Mapping:
    """The one shipped mapping all of whose columns are in the header.

    Raises DefinitionError, one line, when none or more than one fits.
    """
    known = shipped_mappings() if candidates is None else candidates
    there = set(header)
    found = [mapping for mapping in known.values() if there.issuperset(mapping.columns)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(mapping.name for mapping in found)
    if found:
        raise DefinitionError(f"more than one mapping fits this header: {names}", hint="choose one with --map NAME")
    if not all(name.isprintable() for name in header):
        raise DefinitionError("the first line is no header: it holds bytes that are no text", hint="is this a table of text?")
    shown = ", ".join(name[:HEADER_NAME_SHOWN_MAX] for name in header[:8]) + (" ..." if len(header) > 8 else "")
    raise DefinitionError(
        f"no shipped mapping reads a header of {shown}",
        hint=f"give one with --map: a YAML file, or one of {', '.join(known)}",
    )


def adapted_catalog(catalog: Catalog, mapping: Mapping) -> Catalog:
    """The catalog with the custom event types of this data and the label horizons it states.

    A model whose label this data does not hold keeps its definition: training finds no positive label and says so.
    Raises DefinitionError when a custom type is declared in another way by the catalog.
    """
    models = dict(catalog.models)
    for model_id, horizon in mapping.labels.items():
        model = models.get(model_id)
        if model is None:
            raise DefinitionError(f"mapping {mapping.name} has labels for {model_id!r}", hint="the catalog has no such model")
        if horizon is not None and model.label is not None:
            label = replace(model.label, horizon_ms=horizon.horizon_ms, active_within_ms=horizon.active_within_ms)
            models[model_id] = replace(model, label=label)
    return replace(catalog, event_types=all_event_types(catalog.event_types, mapping), models=models)


def all_event_types(event_types: MappingOf[str, EventType], mapping: Mapping) -> dict[str, EventType]:
    """The catalog's event types and those the mapping declares. Raises DefinitionError where the two contradict."""
    for name, declared in mapping.event_types.items():
        known = event_types.get(name)
        if known is not None and known.properties != declared.properties:
            raise DefinitionError(
                f"mapping {mapping.name} declares {name} in another way than the catalog", hint="drop it from the mapping"
            )
    return {**event_types, **{n: t for n, t in mapping.event_types.items() if n not in event_types}}


def _shipped(name: str) -> Mapping:
    from reflexarc_cli.importing.mapping_reader import read_mapping

    source = resources.files("reflexarc_cli").joinpath("mappings", f"{name}.yaml")
    return read_mapping(source.read_text(encoding="utf-8"), f"{name}.yaml", name)
