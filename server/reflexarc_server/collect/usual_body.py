"""The usual body of a page: its tables for the compiled scan, and what comes back of it.

Owns the catalog's event types and the site's keys as the scan looks them up (`scanning`), and when that is loaded: until then,
and where it cannot be compiled, no body is usual. Not safe for several threads at once: one reader an event loop.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final, NamedTuple

from reflexarc_core.catalog import Catalog
from reflexarc_core.event import CONTEXT_TYPES, PropertyType
from reflexarc_proto.wire.quick import subject_head
from reflexarc_proto.wire.usual_event import Plan, Slot, plans_of, slots_of
from reflexarc_server.collect.browser import Body
from reflexarc_server.collect.identities import Source, event_id, installation_of
from reflexarc_server.collect.reading import BODY_BYTES_MAX
from reflexarc_server.ingest import EVENT_KIND
from reflexarc_server.records import WEB_INCARNATION
from reflexarc_server.store.port import NewRecord

EVENTS_MAX: Final = 500
WORTH_LOADING: Final = 200
"""So many bodies make it worth to load the scan, which takes a second of a processor."""
_FIELDS: Final = (
    "key", "sent", "anonymous_id", "known_id", "known_proof", "batch", "handed", "id", "type", "time", "properties", "context",
)  # fmt: skip
_log = logging.getLogger(__name__)


class UsualBody(NamedTuple):
    """A body of which everything is as declared. head: without the batch. ids: of its events, as they were sent. rows: theirs."""

    head: Body
    subject: str
    ids: list[str]
    rows: list[NewRecord]


class UsualBodies:
    """A site's. keys: write key -> its source's name."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = dict(keys)
        self._tables: _Tables | None = None
        self._asked_count = 0

    def read(self, body: bytes, received: int, catalog: Catalog) -> UsualBody | None:
        """The body's events as this catalog declares them; None when it is not usual. received: ms."""
        scanning = _loaded
        if scanning is None:
            self._asked_count += 1
            if self._asked_count == WORTH_LOADING:
                threading.Thread(target=load, name="reflexarc-scan", daemon=True).start()
            return None
        tables = self._tables
        if tables is None or tables.catalog is not catalog:
            tables = self._tables = _Tables(scanning, catalog, self._keys)
        return tables.read(body, received)


_loaded: ModuleType | None = None
_loading: Final = threading.Lock()


def load() -> None:
    """Compile the scan now, or read what an earlier process compiled. Where that fails it says so in the log, and stays away."""
    global _loaded  # noqa: PLW0603  # compiled code is the process's
    with _loading:
        if _loaded is not None:
            return
        try:
            from reflexarc_server.collect import scanning

            _Tables(scanning, Catalog(), {"k": "k"}).read(b'{"key":"k","anonymous_id":"a","batch":[]}', 1)
        except Exception:  # numba's own errors are many, and none of them may cost an event
            _log.warning("the compiled scan of web events could not be loaded: they are read one by one", exc_info=True)
        else:
            _loaded = scanning


class _Tables:
    """What the scan looks up, as arrays, and its room."""

    def __init__(self, scanning: ModuleType, catalog: Catalog, keys: Mapping[str, str]) -> None:
        import numpy as np

        self.catalog: Final = catalog
        self._scan: Callable[..., int] = scanning.read
        texts = bytearray()

        def held(text: bytes) -> tuple[int, int]:
            texts.extend(text)
            return len(texts) - len(text), len(texts)

        kinds = {str: scanning.TEXT, float: scanning.DOUBLE, bool: scanning.BOOL, int: scanning.INT}
        slots: list[tuple[int, ...]] = []
        values: list[tuple[int, int]] = []

        def slots_added(given: Mapping[str, Slot], required: Sequence[str]) -> tuple[int, int]:
            for name, (kind, head, closed) in given.items():
                values.extend(held(value.encode()) for value in closed)
                is_closed = (len(values) - len(closed), len(values))
                slots.append((*held(name.encode()), *held(head), kinds[kind], name in required, *is_closed))
            return len(slots) - len(given), len(slots)

        context = Plan(b"", slots_of({name: PropertyType(kind) for name, kind in CONTEXT_TYPES.items()}), ())
        plans = {name: plan for name, plan in plans_of(catalog.event_types).items() if _is_usual(plan, scanning.NAME_BYTES_MAX)}
        self._types: Final = ["", *plans]
        fields = [held(name.encode()) for name in _FIELDS]
        fields += [held(subject_head(kind)) for kind in ("anonymous", "known")]
        prefixes = {key: event_id(Source(name), "") for key, name in keys.items()}
        self._keys: Final = [(key, prefix) for key, prefix in prefixes.items() if len(prefix.encode()) <= scanning.NAME_BYTES_MAX]
        key_rows = [(*held(key.encode()), *held(prefix.encode())) for key, prefix in self._keys]
        types = [
            (*held(name.encode()), *held(plan.type_part), *slots_added(plan.slots, plan.required), len(plan.required))
            for name, plan in {"": context, **plans}.items()
        ]
        double = np.zeros(1, np.dtype("<f8"))
        self._head: Final = np.zeros(scanning.HEAD_COLUMNS, np.int64)
        self._found: Final = np.zeros((EVENTS_MAX, scanning.EVENT_COLUMNS), np.int64)
        self._out: Final = np.empty(2 * BODY_BYTES_MAX, np.uint8)
        self._of_bytes: Final = np.frombuffer
        widths = ((fields, 2), (key_rows, 4), (types, 7), (slots, 8), (values, 2))
        tables = [np.array(rows, np.int64).reshape(-1, width) for rows, width in widths]
        room = (np.zeros(len(slots), np.int64), double, double.view(np.uint8))
        self._given: Final[tuple[Any, ...]] = (
            np.frombuffer(bytes(texts), np.uint8), *tables, *room, self._head, self._found, self._out,
        )  # fmt: skip

    def read(self, body: bytes, received: int) -> UsualBody | None:
        if not body:
            return None
        count = self._scan(self._of_bytes(body, "u1"), received, *self._given)
        if count < 0:
            return None
        key_row, anonymous_at, anonymous_end, known_at, known_end, proof_at, proof_end = self._head.tolist()
        key, prefix = self._keys[key_row]
        head = Body(
            key=key, anonymous_id=body[anonymous_at:anonymous_end].decode(), known_id=body[known_at:known_end].decode(),
            known_proof=body[proof_at:proof_end].decode(),
        )  # fmt: skip
        installation = installation_of(head.anonymous_id)
        subject = f"known:{head.known_id}" if head.known_id else f"anonymous:{head.anonymous_id}"
        types, out = self._types, self._out
        ids, rows = [], []
        for id_at, id_end, type_row, event_time, begin, end in self._found[:count].tolist():
            its_id = body[id_at:id_end].decode()
            ids.append(its_id)
            rows.append(
                NewRecord(
                    installation, WEB_INCARNATION, 0, EVENT_KIND, subject, types[type_row], event_time, prefix + its_id, received,
                    out[begin:end].tobytes(),
                )
            )  # fmt: skip
        return UsualBody(head, subject, ids, rows)


def _is_usual(plan: Plan, bytes_max: int) -> bool:
    """Whether the scan can write a type: all that it asks for, and no name that is too long for its room."""
    heads = (plan.type_part, *(head for _, head, _ in plan.slots.values()))
    return plan.slots.keys() >= set(plan.required) and all(len(head) <= bytes_max for head in heads)
