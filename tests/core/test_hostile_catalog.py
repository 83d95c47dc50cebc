"""Built catalogs from outside: whatever the bytes are, a DefinitionError soon, and nothing else."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from reflexarc_core.catalog import CATALOG_BYTES_MAX, Catalog
from reflexarc_core.errors import DefinitionError
from tests.core.world import catalog

SECONDS_MAX = 10.0


def with_tree(tree: Any) -> bytes:
    built = catalog().to_plain()
    built["triggers"]["pricing"]["condition"]["tree"] = tree
    return json.dumps(built).encode()


def deep(depth: int) -> Any:
    tree: Any = ["const", "bool", True]
    for _ in range(depth):
        tree = ["call", "logical_not", tree]
    return tree


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"\xff\xfe{",
    "lists in lists": b"[" * 200_000 + b"]" * 200_000,
    "maps in maps": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "too many bytes": b" " * (CATALOG_BYTES_MAX + 1),
    "a number of a million digits": b'{"version": ' + b"9" * 1_000_000 + b"}",
    "a list": b"[1, 2, 3]",
    "a later format": b'{"format": 99}',
    "a format that is none": b'{"format": "x"}',
    "an unknown section": b'{"plugins": {}}',
    "sections of other shapes": b'{"triggers": [1], "features": "x"}',
    "a trigger of another shape": b'{"triggers": {"t": {"trigger_id": 3}}}',
    "a deep tree": with_tree(deep(500)),
    "a wide tree": with_tree(["or", *[["const", "bool", True]] * 50_000]),
    "an unknown function": with_tree(["call", "system", ["const", "string", "ls"]]),
    "a variable nobody bound": with_tree(["local", "x"]),
    "a name that is code": with_tree(["operand", "event.__class__('')", "bool"]),
    "a constant of another type": with_tree(["const", "bool", "yes"]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_and_nothing_else_happens(name: str) -> None:
    started = time.monotonic()
    with pytest.raises(DefinitionError):
        Catalog.from_bytes(HOSTILE[name])
    assert time.monotonic() - started < SECONDS_MAX
