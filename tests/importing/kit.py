"""What the import's tests share: the shipped event types, and files made of a few lines."""

import gzip
from collections.abc import Mapping as MappingOf
from functools import cache
from pathlib import Path

from reflexarc.definitions import load_catalog
from reflexarc_cli.importing.mapping import Mapping
from reflexarc_cli.importing.mapping_reader import read_mapping
from reflexarc_core.event import EventType

VISITS = """
columns: [who, when, page]
subject: who
time: when
event_type: page_view
properties:
  page_view: {page_url: page}
"""


@cache
def event_types() -> MappingOf[str, EventType]:
    """The event types of the shipped catalog."""
    return load_catalog(None).event_types


def mapping(text: str = VISITS, **changed: str) -> Mapping:
    """A mapping from YAML text; `changed` fields are written below it."""
    lines = "".join(f"{name}: {value}\n" for name, value in changed.items())
    return read_mapping(text + lines, "test.yaml", "test")


def write(path: Path, content: str | bytes) -> Path:
    """Write a file, gzipped when its name says so."""
    held = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(held) if path.suffix == ".gz" else held)
    return path
