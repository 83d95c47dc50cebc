"""What `reflexarc sync` says: one line a fact, and what to do next.

Owns the words. Says numbers, names of files and of installations, never what was captured.
"""

from __future__ import annotations

from typing import Any

from reflexarc.answers import Applied
from reflexarc_cli.sync.delivering import Delivered
from reflexarc_cli.sync.exporting import Exported
from reflexarc_cli.sync.receiving import Received
from reflexarc_proto.v1 import sync_file_pb2

_REJECTED_SHOWN_MAX = 5


def exported_page(found: Exported) -> str:
    """What an export wrote."""
    lines = [f"installation {found.installation}, acknowledged up to {found.acked_seq:,}"]
    if found.last_seq < found.first_seq:
        lines.append("nothing to send: the file asks for what the server has for this device")
    else:
        lines.append(f"records {found.first_seq:,} to {found.last_seq:,}")
    if found.kept_count:
        lines.append(f"{_of(found.kept_count, 'file')} of an earlier run kept")
    lines += [f"{path}: {path.stat().st_size:,} bytes, {'signed' if found.is_signed else 'NOT SIGNED'}" for path in found.files]
    if found.captures_waiting:
        lines.append(f"{_of(found.captures_waiting, 'capture')} of other processes wait for the application to take them")
    names = " ".join(path.name for path in found.files) if len(found.files) < 4 else f"{found.files[0].name[:-3]}[0-9]*"
    return "\n".join([*lines, f"at the server: reflexarc sync import {names} --server ADDRESS"])


def delivered_page(found: list[Delivered]) -> str:
    """What a server took."""
    lines = []
    for one in found:
        lines.append(f"installation {one.installation}: {_of(len(one.files), 'file')}")
        for stream in one.streams:
            lines += _stream_lines(stream)
        lines.append(f"{one.answers}: {one.answers.stat().st_size:,} bytes")
        lines.append(f"on the device: reflexarc sync import {one.answers.name} --store FOLDER")
    return "\n".join(lines)


def _stream_lines(stream: sync_file_pb2.StreamAnswer) -> list[str]:
    if stream.answer.rekey:
        return ["  refused: the server holds another history under these numbers (a copied store, or an older one put back)"]
    lines = [
        f"  {_of(stream.stored_count, 'record')} stored, {stream.duplicate_count:,} held before,"
        f" {stream.rejected_count:,} refused for good; everything up to {stream.answer.upto_seq:,} is here"
    ]
    if stream.missing:
        gaps = _ranges([(gap.first_seq, gap.last_seq) for gap in stream.missing])
        lines.append(f"  missing: {gaps}; what lies behind is laid by until they come")
    return lines


def received_page(found: Received) -> str:
    """What answers did to a device."""
    lines = []
    for name, applied in found.applied:
        lines += _applied_lines(name, applied)
    if found.owner_pid and found.is_taken:
        lines.append(f"the application (process {found.owner_pid}) took them")
    elif found.owner_pid:
        lines.append(f"laid into the store's inbox; the application (process {found.owner_pid}) has not taken them yet")
    lines.append(f"acknowledged up to {found.acked_seq:,} of {found.upto_seq:,}")
    return "\n".join(lines)


def _applied_lines(name: str, applied: Applied) -> list[str]:
    if applied.is_old:
        return [f"{name}: older than what the server said since; nothing in it is needed"]
    lines = []
    if applied.went_back:
        lines.append(
            f"{name}: the server holds less than it did (up to {applied.acked_seq:,}, before {applied.acked_before:,}); what is"
            " behind it is sent again with the next export"
        )
    if applied.missing:
        lines.append(f"{name}: the server waits for {_ranges(applied.missing)}; carry those files, or export again")
    if applied.rejected_count:
        shown = ", ".join(f"{seq}: {reason}" for seq, reason in applied.rejected[:_REJECTED_SHOWN_MAX])
        lines.append(f"{name}: {_of(applied.rejected_count, 'record')} refused for good ({shown})")
    if applied.decision_count:
        lines.append(f"{name}: {_of(applied.decision_count, 'decision')} of the server's triggers")
    if applied.bundle:
        lines.append(f"{name}: models of bundle {applied.bundle[:12]} are live")
    lines += [f"{name}: {note}" for note in applied.notes]
    return lines or [f"{name}: applied"]


def delivered_to_json(found: list[Delivered]) -> dict[str, Any]:
    """The same, JSON-able."""
    return {
        "installations": {
            one.installation: {
                "files": [str(path) for path in one.files],
                "answers": str(one.answers),
                "streams": {
                    stream.incarnation: {
                        "upto_seq": stream.answer.upto_seq,
                        "stored": stream.stored_count,
                        "held_before": stream.duplicate_count,
                        "refused": stream.rejected_count,
                        "another_history": stream.answer.rekey,
                        "missing": [[gap.first_seq, gap.last_seq] for gap in stream.missing],
                    }
                    for stream in one.streams
                },
            }
            for one in found
        }
    }


def received_to_json(found: Received) -> dict[str, Any]:
    """The same, JSON-able."""
    return {
        "acknowledged_before": found.acked_before,
        "acknowledged": found.acked_seq,
        "newest": found.upto_seq,
        "given_to_process": found.owner_pid or None,
        "taken": found.is_taken,
        "files": {
            name: {
                "old": applied.is_old,
                "missing": applied.missing,
                "refused": applied.rejected_count,
                "values": applied.values_count,
                "decisions": applied.decision_count,
                "bundle": applied.bundle,
                "notes": applied.notes,
            }
            for name, applied in found.applied
        },
    }


def _ranges(gaps: list[tuple[int, int]]) -> str:
    return ", ".join(f"{first:,} to {last:,}" if last > first else f"{first:,}" for first, last in gaps)


def _of(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"
