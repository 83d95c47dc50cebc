"""What the store's tools have found, as a person reads it. Reads nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from reflexarc_cli.store.inspection import Facts
from reflexarc_cli.store.verdict import WRONG, Verdict

if TYPE_CHECKING:
    from reflexarc_cli.store.mending import Mended

_NO_KEY: Final = "not readable without --key-file"
_FILES_MAX: Final = 12
_WIDTH: Final = 17


def inspection_page(facts: Facts) -> str:
    """One line a fact, and the files below."""
    lines = [f"{label:<{_WIDTH}}{text}" for label, text in _lines(facts)]
    lines += ["", *_files(facts)]
    return "\n".join(lines)


def verdict_page(verdict: Verdict) -> str:
    """One line for each finding, and one for all."""
    lines = [f"{finding.level}: {finding}" for finding in verdict.findings]
    return "\n".join([*lines, _summary(verdict)])


def mended_page(mended: Mended) -> str:
    """What was wrong, what was done about it, what was lost, and how it stands now."""
    if mended.before.is_sound:
        lines = ["it was sound: there was nothing to mend"]
    else:
        lines = [f"mended: {what}" for what in mended.mended()]
    lines += mended.done
    if mended.recovered_count:
        lines.append(f"{_of(mended.recovered_count, 'record')} that only the journal held came into the store")
    if mended.lost:
        lines.append(f"lost: {_counts(mended.lost)}")
    if mended.set_aside:
        lines.append(f"set aside: {', '.join(mended.set_aside)}")
    return "\n".join([*lines, verdict_page(mended.after)])


def _summary(verdict: Verdict) -> str:
    read = (
        f"{_of(verdict.record_count, 'record')}, {_of(verdict.subject_count, 'subject')}, {_of(verdict.catalog_count, 'catalog')}"
    )
    if verdict.journal_count:
        read += f", {_of(verdict.journal_count, 'record')} in the journal only"
    if verdict.is_sound:
        return f"sound: {read} read"
    count = sum(finding.level == WRONG for finding in verdict.findings)
    return f"not sound: {_of(count, 'thing')} wrong; {read} read"


def _lines(facts: Facts) -> Iterator[tuple[str, str]]:
    if "version" in facts:
        sealed = "encrypted" if facts["encrypted"] else "not encrypted"
        yield "store", f"version {facts['version']}, {sealed}"
    yield "owner", _owner(facts["owner"])
    yield "installation", facts["installation"] or "unknown"
    yield "incarnation", facts["incarnation"] or "unknown"
    records = facts.get("records")
    if records is not None:
        yield from _records(records)
        yield "snapshot", _snapshot(facts["snapshot"], records)
    if facts.get("losses") is not None:
        yield "lost", _counts(facts["losses"])
    if facts.get("dead_letters") is not None:
        yield "dead letters", _counts(facts["dead_letters"])
    if facts.get("actions_waiting") is not None:
        yield "actions", f"{facts['actions_waiting']:,} not handed over"
    captures = facts.get("captures_of_others")
    if captures is not None:
        journals = _of(captures["journals"], "journal")
        yield "other processes", f"{journals}, {captures['alive']} alive; {_of(captures['waiting'], 'capture')} not taken yet"
    if facts.get("erased_subjects") is not None:
        yield "erased", _of(facts["erased_subjects"], "subject")
    if facts.get("catalogs") is not None:
        yield "catalogs", ", ".join(digest[:12] for digest in facts["catalogs"]) or "none"
    if facts.get("bundle"):
        yield "bundle", facts["bundle"][:12]
    yield "set aside", ", ".join(name.partition("/")[2] for name in facts["set_aside"]) or "nothing"
    for what in facts["unreadable"]:
        yield "cannot be read", what


def _owner(owner: Facts) -> str:
    if owner["alive"]:
        return f"process {owner['pid'] or 'unknown'}, alive"
    return f"nobody (process {owner['pid']} was the last)" if owner["pid"] else "nobody"


def _records(records: Facts) -> Iterator[tuple[str, str]]:
    held = "some" if records["held"] is None else f"{records['held']:,}"
    numbers = f", numbers {records['first']:,} to {records['last']:,}" if records["first"] is not None else ""
    yield "records", f"{held} held{numbers}"
    if records["by_kind"]:
        yield "", _counts(records["by_kind"])
    if records["acknowledged"] is None:
        yield "acknowledged", _NO_KEY
    else:
        yield "acknowledged", f"up to {records['acknowledged']:,}; {records['not_acknowledged']:,} behind it"
    waiting = f"{_of(records['in_journal_only'], 'record')} not yet in the store"
    damage = records["damaged_places_in_journal"]
    yield "journal", waiting + (f"; {_of(damage, 'place')} damaged" if damage else "")


def _snapshot(snapshot: Facts, records: Facts) -> str:
    if snapshot["seq"] is None:
        return _NO_KEY
    if not snapshot["seq"]:
        return f"none; {records['behind_snapshot']:,} records to fold"
    subjects = "" if snapshot["subjects"] is None else f", {_of(snapshot['subjects'], 'subject')}"
    return f"at number {snapshot['seq']:,}{subjects}; {_of(records['behind_snapshot'], 'record')} behind it"


def _files(facts: Facts) -> Iterator[str]:
    bound = facts["bytes_max"]
    known = f"of about {bound:,}, as its journal's size says" if bound else "(its bound is not kept in it)"
    yield f"{facts['bytes']:>13,} bytes {known}"
    largest = sorted(facts["files"].items(), key=lambda item: (-item[1], item[0]))
    for name, size in largest[:_FILES_MAX]:
        yield f"{size:>13,} {name}"
    if len(largest) > _FILES_MAX:
        yield f"{sum(size for _, size in largest[_FILES_MAX:]):>13,} in {len(largest) - _FILES_MAX} more files"


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"


def _of(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"
