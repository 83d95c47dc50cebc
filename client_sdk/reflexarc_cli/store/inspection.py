"""What is in a device's store: counts, numbers and sizes, for `reflexarc store inspect`.

Owns which facts there are. Must never hold a payload, a subject or a property: only what is counted, numbered or measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from reflexarc_cli.store.frames import read_journal
from reflexarc_cli.store.look import Look, looked, opened
from reflexarc_cli.store.place import (
    JOURNAL,
    bound_by_journal,
    bounded_bytes,
    check_seal,
    files_of,
    identity_beside,
    is_locked,
    is_sealed,
    journals_of_others,
    owner_of,
)
from reflexarc_cli.store.walk import each, kind_name, read_row, reason_name
from reflexarc_core.errors import StorageError
from reflexarc_core.record import LossOutput
from reflexarc_edge.entry import LOSS_KIND
from reflexarc_edge.journal import Frame
from reflexarc_edge.repair import Identity
from reflexarc_edge.schema import StoreDamagedError
from reflexarc_edge.seal import Seal
from reflexarc_edge.upkeep import SET_ASIDE

T = TypeVar("T")

Facts = dict[str, Any]
"""JSON-able; None for what cannot be told."""


class Guarded(Protocol):
    """Reads what may be damaged."""

    def __call__(self, what: str, read: Callable[[], T]) -> T | None:
        """What can be read; else None, and a word about it."""
        ...


@dataclass(slots=True)
class Journals:
    """What the journals held before the database was read: what is in neither was never kept.

    own: frames of the owner's journal. writer: whose numbers those are. others: (name, whether its process lives, frames not
    taken as it says itself).
    """

    own: list[Frame] | None = None
    writer: Identity | None = None
    damage_count: int = 0
    others: list[tuple[str, bool, list[Frame]]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def inspect(folder: Path, seal: Seal | None) -> Facts:
    """The facts of a store. Raises StorageError when it cannot be read, Misused when the key does not fit."""
    owner = owner_of(folder)
    identity = identity_beside(folder)
    journals = read_journals(folder, is_live=owner.is_alive)
    files = files_of(folder)
    facts: Facts = {
        "folder": str(folder),
        "owner": {"pid": owner.pid or None, "alive": owner.is_alive},
        "installation": identity.installation if identity else None,
        "incarnation": identity.incarnation if identity else None,
        "unreadable": list(journals.unreadable),
    }
    if identity is None:
        facts["unreadable"].append("the identity beside the store")
    try:
        told = looked(folder, lambda look: _of_database(look, seal, journals, folder))
        facts["unreadable"] += told.pop("unreadable")
        facts |= told
    except StoreDamagedError as error:
        facts["unreadable"].append(error.message)
    facts["set_aside"] = {name: size for name, size in files.items() if name.startswith(f"{SET_ASIDE}/")}
    facts["files"] = files
    facts["bytes"] = bounded_bytes(files)
    facts["bytes_max"] = bound_by_journal(files)
    return facts


def read_journals(folder: Path, *, is_live: bool) -> Journals:
    """Everything in the journals of a store, its owner's and those of others."""
    found = Journals()
    if (folder / JOURNAL).exists():
        try:
            written = read_journal(folder / JOURNAL, is_live=is_live)
            found.own, found.damage_count, found.writer = written.frames, len(written.damage), written.writer
        except StorageError as error:
            found.unreadable.append(error.message)
    for path in journals_of_others(folder):
        try:
            is_alive = _has_live_process(path)
            written = read_journal(path, is_live=is_live or is_alive)
        except StorageError as error:
            if path.exists():  # else its owner took all of it just now
                found.unreadable.append(error.message)
            continue
        found.others.append((path.stem, is_alive, written.frames))
    return found


def _has_live_process(journal: Path) -> bool:
    try:
        return is_locked(journal.with_suffix(".lock"))
    except OSError:
        return False


def _of_database(look: Look, seal: Seal | None, journals: Journals, folder: Path) -> Facts:
    facts: Facts = {"version": look.version, "unreadable": []}

    def guarded(what: str, read: Callable[[], T]) -> T | None:
        """What can be read; else None, and a word about it."""
        try:
            return read()
        except StoreDamagedError:
            facts["unreadable"].append(what)
            return None

    kept = guarded("the small values", look.packed_meta) or {}
    key = kept.get("key")
    facts["encrypted"] = is_sealed(key)
    check_seal(folder, key, seal, must_open=False)
    facts["key_given"] = seal is not None

    def value(name: str, default: Any) -> Any:
        if facts["encrypted"] and seal is None:
            return None
        if name not in kept:
            return default
        try:
            return opened(seal, f"meta {name}", kept[name])
        except StorageError:
            facts["unreadable"].append(f"the value {name}")
            return default

    acked = _whole(value("acked_seq", 0))
    snapshot = value("snapshot", {})
    snapshot_seq = _whole(snapshot.get("seq", 0)) if isinstance(snapshot, dict) else None
    facts["records"] = guarded("the log", lambda: _records(look, journals, acked, snapshot_seq, guarded))
    facts["losses"] = guarded("the losses", lambda: _losses(look))
    facts["dead_letters"] = guarded("the dead letters", lambda: _dead_letters(look))
    facts["actions_waiting"] = guarded("the waiting actions", lambda: look.count("pending"))
    facts["captures_of_others"] = guarded("the captures taken", lambda: _captures(look, journals))
    facts["erased_subjects"] = guarded("the erased subjects", lambda: look.count("erased"))
    facts["snapshot"] = {"seq": snapshot_seq, "subjects": guarded("the subjects", lambda: look.count("subjects"))}
    facts["catalogs"] = guarded("the catalogs", lambda: _catalogs(look))
    facts["bundle"] = value("bundle", "")
    return facts


def _records(look: Look, journals: Journals, acked: int | None, snapshot_seq: int | None, guarded: Guarded) -> Facts:
    by_kind = guarded("the records", lambda: _by_kind(look))
    first, last = look.query("SELECT (SELECT min(seq) FROM log), (SELECT max(seq) FROM log)")[0]
    stored = look.last_seq()
    waiting = [frame for frame in journals.own or () if frame.last_seq > stored]
    newest = max(stored, *(frame.last_seq for frame in waiting)) if waiting else stored
    return {
        "held": None if by_kind is None else sum(by_kind.values()),
        "first": first,
        "last": last,
        "newest": newest,
        "by_kind": by_kind,
        "acknowledged": acked,
        "not_acknowledged": None if acked is None else newest - acked,
        "behind_snapshot": None if snapshot_seq is None else newest - snapshot_seq,
        "in_journal_only": sum(frame.record_count for frame in waiting),
        "damaged_places_in_journal": journals.damage_count,
    }


def _by_kind(look: Look) -> dict[str, int]:
    found: Counter[str] = Counter()
    for kind, count in look.query("SELECT kind, count(*) FROM log GROUP BY kind"):
        found[kind_name(kind)] += count
    return dict(sorted(found.items()))


def _losses(look: Look) -> Facts:
    found: Counter[str] = Counter()
    for row in each(lambda after: look.log_rows(after, where=f"kind = {LOSS_KIND}")):
        try:
            record = read_row(row, None)
        except StorageError:
            found["unknown"] += 1
            continue
        if isinstance(record, LossOutput):
            found[reason_name(record.reason)] += record.count
    return dict(sorted(found.items()))


def _dead_letters(look: Look) -> Facts:
    found: Counter[str] = Counter()
    if "dead" in look.tables:
        for reason, count in look.query("SELECT reason, count(*) FROM dead GROUP BY reason"):
            found[reason_name(reason)] += count
    return dict(sorted(found.items()))


def _captures(look: Look, journals: Journals) -> Facts:
    return {
        "journals": len(journals.others),
        "alive": sum(is_alive for _, is_alive, _ in journals.others),
        "waiting": captures_waiting(look, journals),
    }


def captures_waiting(look: Look, journals: Journals) -> int:
    """How many captures of other processes their owner has not taken yet. Raises StoreDamagedError."""
    taken = {str(row["journal"]): _whole(row["seq"]) or 0 for row in look.rows("taken")}
    return sum(
        frame.record_count for name, _, frames in journals.others for frame in frames if frame.first_seq > taken.get(name, 0)
    )


def _catalogs(look: Look) -> dict[str, int]:
    return {_digest(row["digest"]): len(row["built"]) for row in look.rows("catalogs") if type(row["built"]) is bytes}


def _whole(value: object) -> int | None:
    return value if type(value) is int else None


def _digest(text: object) -> str:
    shown = str(text)
    return shown if len(shown) == 64 and set(shown) <= set("0123456789abcdef") else "unknown"
