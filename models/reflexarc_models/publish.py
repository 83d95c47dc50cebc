"""Confidence tables for the lines of a catalog: made when lines change, looked up everywhere else.

Owns the warnings that go with a table. Needs the standard library only, so whoever holds an artifact can
publish it for another catalog without training again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reflexarc_models.artifact import MANIFEST_FILE, Artifact, assemble
from reflexarc_models.tables import SEGMENT_ROWS_MIN, confidence_table, firing_codes, is_monotone, line_key


def line_entries(
    lines: Iterable[float],
    *,
    score_grid: Sequence[int],
    segment_starts: Sequence[int],
    segments: Sequence[tuple[int, int]],
    confidence_min: float,
    moment_codes: Sequence[int],
    moments_per_week: float,
) -> dict[str, Any]:
    """The manifest's `lines`, `line_reports` and `warnings`.

    moment_codes: codes at evenly spaced quantiles of the unlabelled score moments; moments_per_week: how many
    there are, so that a report can say how many fires a week to expect. Raises DefinitionError for a bad
    line.
    """
    tables: dict[str, list[int]] = {}
    reports: dict[str, dict[str, Any]] = {}
    warnings: list[str] = []
    calibrated = sum(n for n, _ in segments)
    if calibrated < SEGMENT_ROWS_MIN:
        warnings.append(f"calibrated on {calibrated} people, fewer than {SEGMENT_ROWS_MIN}: one segment")
    for line in sorted(set(lines)):
        table = confidence_table(segments, line)
        fires = firing_codes(score_grid, segment_starts, table, line, confidence_min)
        share = sum(fires[code] for code in moment_codes) / len(moment_codes) if moment_codes else 0.0
        key = line_key(line)
        tables[key] = list(table)
        reports[key] = {
            "can_fire": any(fires),
            "share_fires": round(share, 4),
            "fires_per_week": round(share * moments_per_week, 1),
            "monotone": is_monotone(table),
        }
        if not reports[key]["monotone"]:
            warnings.append(f"line {key}: confidence is not monotone in the score")
        if not any(fires):
            warnings.append(
                f"line {key} can never fire with confidence over {confidence_min!r}: expected fires a week 0 "
                f"of {moments_per_week:.0f} score moments"
            )
    return {"lines": tables, "line_reports": reports, "warnings": warnings}


def publish_tables(artifact: Artifact, lines: Iterable[float], confidence_min: float | None = None) -> Artifact:
    """The same model with confidence tables for `lines` (and the gate `confidence_min`): a new digest.

    Equal lines and gate give the artifact itself. Raises DefinitionError for a line outside (0, 1).
    """
    gate = artifact.confidence_min if confidence_min is None else confidence_min
    wanted = set(lines)
    if wanted == set(artifact.lines) and gate == artifact.confidence_min:
        return artifact
    old: Mapping[str, Any] = artifact.manifest
    entries = line_entries(
        wanted,
        score_grid=artifact.score_grid,
        segment_starts=artifact.segment_starts,
        segments=artifact.segments,
        confidence_min=gate,
        moment_codes=tuple(old["moment_codes"]),
        moments_per_week=float(old["moments_per_week"]),
    )
    manifest = {
        **{key: value for key, value in old.items() if key != "files"},
        **entries,
        "confidence_min": gate,
    }
    manifest["warnings"] = entries["warnings"] + list(old["training_warnings"])
    payload = {name: content for name, content in artifact.files.items() if name != MANIFEST_FILE}
    return assemble(manifest, payload)
