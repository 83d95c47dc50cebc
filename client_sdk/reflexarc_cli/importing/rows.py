"""Rows of a file, streaming: CSV, TSV and JSON lines, plain or gzipped.

Owns the framing of rows and what cannot be one. A row is a record, not a line: a quoted line break inside a field
belongs to it. Must never know what a row means.
"""

import codecs
import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from reflexarc_core.errors import DefinitionError, StorageError

LINE_CHARS_MAX: Final = 1_048_576
DIGEST_CHUNK_BYTES: Final = 1_048_576
RAW_CHARS_MAX: Final = 2_000
SUFFIXES: Final = {
    ".csv": ("csv", ","), ".tsv": ("tsv", "\t"), ".tab": ("tsv", "\t"), ".jsonl": ("jsonl", ""), ".ndjson": ("jsonl", ""),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One record. number: counts from 1, the header not counted. cells: column -> text (any JSON value for JSONL)."""

    number: int
    cells: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A record that could not be read as one. raw: its text as far as it is known, unreadable bytes escaped."""

    number: int
    code: str
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class RowFormat:
    """How a file is framed: `csv`, `tsv` or `jsonl`, the delimiter of the first two, and the encoding."""

    format: str
    delimiter: str
    encoding: str = "utf-8"


def format_of(path: Path) -> RowFormat:
    """The format a file's name promises. Raises DefinitionError when it promises none."""
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in SUFFIXES:
        raise DefinitionError(f"{path} is of no known format", hint=f"one of {', '.join(SUFFIXES)}, each also with .gz")
    return RowFormat(*SUFFIXES[suffix])


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of the file's bytes as they stand on disk. Raises StorageError."""
    digest = hashlib.sha256()
    with _mapped(path), path.open("rb") as file:
        while chunk := file.read(DIGEST_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def line_count(path: Path) -> int:
    """Lines in the file, for a progress bar. Raises StorageError only when it cannot be opened at all."""
    count = 0
    with _mapped(path), gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
        try:
            while chunk := file.read(DIGEST_CHUNK_BYTES):
                count += chunk.count(b"\n")
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return count  # reading will say what is wrong, after what could be read
    return count


def read_header(path: Path, row_format: RowFormat) -> tuple[str, ...]:
    """Column names: the first record, for JSONL the names of the first object. Raises StorageError, DefinitionError."""
    with _mapped(path), _open(path, row_format.encoding) as stream:
        if row_format.format == "jsonl":
            try:
                first = json.loads(next(_lines(stream), "{}"))
            except ValueError:
                first = None
            return tuple(first) if isinstance(first, dict) else ()
        return _header(path, csv.reader(_lines(stream), delimiter=row_format.delimiter))


def read_frames(path: Path, row_format: RowFormat) -> Iterator[Row | BadRow]:
    """Every record of the file, one after the other, in bounded memory.

    Raises StorageError when the file cannot be read, or no further (a truncated gzip): after what could be read.
    """
    with _mapped(path), _open(path, row_format.encoding) as stream:
        if row_format.format == "jsonl":
            yield from _json_rows(stream)
        else:
            yield from _table_rows(path, stream, row_format)


class _Unquoted(csv.excel):
    """Lines of cells in which a quote is a character like any other."""

    quoting = csv.QUOTE_NONE


def read_records(path: Path, row_format: RowFormat, *, quoted: bool = True) -> Iterator[list[str] | BadRow]:
    """Every record of a CSV or TSV file as it stands, the first one too: for files without a header.

    quoted: False where a quote is a character like any other and every line is a record. Raises StorageError as `read_frames`.
    """
    with _mapped(path), _open(path, row_format.encoding) as stream:
        framing = csv.excel if quoted else _Unquoted
        reader = csv.reader(_lines(stream), framing, delimiter=row_format.delimiter)
        number = 0
        while True:
            number += 1
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadRow(number, "framing", f"this is no {row_format.format} record: {error}", "")
                continue
            if any(not value.isascii() and _undecodable(value) for value in values):
                shown_text = shown(row_format.delimiter.join(values))
                yield BadRow(number, "encoding", f"bytes that are not {row_format.encoding}", shown_text)
            elif values:
                yield values


def _table_rows(path: Path, stream: IO[str], row_format: RowFormat) -> Iterator[Row | BadRow]:
    reader = csv.reader(_lines(stream), delimiter=row_format.delimiter)
    header = _header(path, reader)
    number = 0
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            yield BadRow(number, "framing", f"this is no {row_format.format} record: {error}", "")
            continue
        if not values:
            continue  # an empty line between records
        number += 1
        if len(values) != len(header):
            reason = f"{len(values)} columns, the header has {len(header)}"
            yield BadRow(number, "framing", reason, shown(row_format.delimiter.join(values)))
        elif any(not value.isascii() and _undecodable(value) for value in values):
            reason = f"bytes that are not {row_format.encoding}"
            yield BadRow(number, "encoding", reason, shown(row_format.delimiter.join(values)))
        else:
            yield Row(number, dict(zip(header, values, strict=True)))


def _json_rows(stream: IO[str]) -> Iterator[Row | BadRow]:
    number = 0
    for line in _lines(stream):
        if not line.strip():
            continue
        number += 1
        if _undecodable(line):
            yield BadRow(number, "encoding", "bytes that are not utf-8", shown(line))
            continue
        try:
            held = json.loads(line)
        except (ValueError, RecursionError):
            yield BadRow(number, "framing", "this is no JSON value", shown(line))
            continue
        if isinstance(held, dict):
            yield Row(number, held)
        else:
            yield BadRow(number, "framing", "this is no JSON object", shown(line))


def _header(path: Path, reader: Iterator[list[str]]) -> tuple[str, ...]:
    try:
        header = tuple(name.strip() for name in next(reader, []))
    except csv.Error as error:
        raise DefinitionError(f"{path} has no header: {error}", hint="is this a table of text?") from None
    if not header:
        raise DefinitionError(f"{path} is empty", hint="the first line must name the columns")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DefinitionError(f"{path}: the header names {', '.join(twice)} twice", hint="give every column its own name")
    return header


def _lines(stream: IO[str]) -> Iterator[str]:
    """Lines with a bound: of one that is longer, the first LINE_CHARS_MAX characters, the rest is left out."""
    while line := stream.readline(LINE_CHARS_MAX):
        yield line
        while len(line) == LINE_CHARS_MAX and not line.endswith("\n"):
            line = stream.readline(LINE_CHARS_MAX)
            if not line:
                return


@contextmanager
def _open(path: Path, encoding: str) -> Iterator[IO[str]]:
    # surrogateescape keeps bytes that are no text, so that they cost their own row and nothing else.
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as raw:
        if (wide := wide_encoding(raw.peek(4)[:4])) is not None:
            convert = f"iconv -f {wide} -t UTF-8"
            shell = f"gzip -dc {path} | {convert}" if path.suffix == ".gz" else f"{convert} {path}"
            raise StorageError(f"{path} is {wide} text, not UTF-8", hint=f"{shell} > utf8-{path.name.removesuffix('.gz')}")
        name = "utf-8-sig" if encoding == "utf-8" else encoding
        with io.TextIOWrapper(cast("IO[bytes]", raw), name, "surrogateescape", newline="") as text:
            yield text


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except EOFError:
        raise StorageError(f"{path} ends in the middle", hint="the gzip is truncated: fetch the file again") from None
    except (gzip.BadGzipFile, zlib.error):
        raise StorageError(f"{path} is damaged", hint="it is no intact gzip: fetch the file again") from None
    except IsADirectoryError:
        raise StorageError(f"{path} is a folder", hint="name the file in it") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}") from None


def wide_encoding(start: bytes) -> str | None:
    """The encoding of text whose characters have two or four bytes each, by how it begins; None for any other.

    start: the first four bytes. Without a mark, the zero bytes of ASCII letters tell.
    """
    for mark, name in ((codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF32_BE, "UTF-32")):
        if start.startswith(mark):
            return name
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "UTF-16"
    zeros = [byte == 0 for byte in start]
    if zeros == [False, True, False, True]:
        return "UTF-16LE"
    return "UTF-16BE" if zeros == [True, False, True, False] else None


def _undecodable(text: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in text)


def shown(text: str) -> str:
    """Text for a person: unreadable bytes escaped, cut at RAW_CHARS_MAX."""
    text = text.rstrip("\r\n")[:RAW_CHARS_MAX]
    return text.encode("utf-8", "backslashreplace").decode() if not text.isascii() else text
