"""A file and a mapping to rows and to events, streaming.

Owns which file of a folder is meant and the order of steps. Memory does not grow with the file.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from reflexarc_cli.importing import mapping as mappings
from reflexarc_cli.importing.conversion import Outcome, RowConverter
from reflexarc_cli.importing.mapping import all_event_types, find_mapping, load_mapping, shipped_mappings
from reflexarc_cli.importing.rows import BadRow, Row, RowFormat, file_digest, format_of, read_frames, read_header
from reflexarc_core.errors import DefinitionError, StorageError
from reflexarc_core.event import EventType


def choose(path: Path, mapping: str | Path | None) -> tuple[Path, mappings.Mapping]:
    """The file to read and the mapping to read it by.

    path: a file, or a folder that holds the file a mapping names. mapping: a YAML file or a shipped name; None for the
    one shipped mapping that fits the header. Raises DefinitionError or StorageError, each one line.
    """
    if not path.exists():
        raise StorageError(f"{path} does not exist")
    if mapping is not None:
        chosen = load_mapping(mapping)
        file = source_file(path, chosen)
        missing = sorted(set(chosen.columns) - set(read_header(file, row_format(file, chosen))))
        if missing and chosen.format != "jsonl":
            raise DefinitionError(
                f"{file} has no column {', '.join(missing)}", hint=f"mapping {chosen.name} reads it: is it the right --map?"
            )
        return file, chosen
    if not path.is_dir():
        return path, find_mapping(read_header(path, format_of(path)))
    fitting = {}
    for name, candidate in shipped_mappings().items():
        file = path / candidate.file
        if candidate.file and file.is_file() and set(read_header(file, format_of(file))).issuperset(candidate.columns):
            fitting[name] = candidate
    if not fitting:
        raise DefinitionError(f"no shipped mapping reads a file in {path}", hint="name the file, and a mapping with --map")
    if len(fitting) > 1:
        raise DefinitionError(f"more than one mapping fits {path}: {', '.join(fitting)}", hint="choose one with --map NAME")
    found = next(iter(fitting.values()))
    return path / found.file, found


def source_file(path: Path, mapping: mappings.Mapping) -> Path:
    """The file itself, also when its folder is given. Raises DefinitionError, StorageError."""
    if not path.is_dir():
        return path
    if not mapping.file:
        raise DefinitionError(f"{path} is a folder and mapping {mapping.name} names no file", hint="name the file to read")
    if not (path / mapping.file).is_file():
        raise StorageError(f"{path} holds no {mapping.file}", hint=f"mapping {mapping.name} reads that file")
    return path / mapping.file


def row_format(path: Path, mapping: mappings.Mapping) -> RowFormat:
    """The framing the mapping states. A file whose suffix says JSON lines or not must agree with it."""
    stated = RowFormat(mapping.format, mapping.delimiter, mapping.encoding)
    try:
        named = format_of(path)
    except DefinitionError:
        return stated
    if (named.format == "jsonl") != (stated.format == "jsonl"):
        raise DefinitionError(
            f"{path} is {named.format}, mapping {mapping.name} reads {stated.format}", hint="is it the right --map?"
        )
    return stated


def read_rows(path: Path, mapping: mappings.Mapping) -> Iterator[Row | BadRow]:
    """Every record of the file in file order. Raises StorageError, DefinitionError."""
    file = source_file(path, mapping)
    return read_frames(file, row_format(file, mapping))


def read_events(path: Path, mapping: mappings.Mapping, event_types: Mapping[str, EventType]) -> Iterator[Outcome]:
    """Every row as an event, a rejection or a skip, in file order.

    event_types: the catalog's; the mapping's own come on top. Raises SourceError before the first row when the
    mapping does not fit the event types, StorageError when the file cannot be read (any further).
    """
    file = source_file(path, mapping)
    converter = RowConverter(mapping, all_event_types(event_types, mapping), file_digest(file))
    convert = converter.convert
    return (convert(row) for row in read_rows(file, mapping))
