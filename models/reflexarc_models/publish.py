"""Confidence tables for the lines of a catalog: made when lines change, looked up everywhere else.

Owns the warnings that go with a table, and whether a model that was trained for one catalog still means the same in another.
Needs the standard library only, so whoever holds an artifact can publish it for another catalog without training again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError
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


def published_for(
    catalog: Catalog, before: Catalog, artifacts: Mapping[str, Mapping[str, Artifact]]
) -> tuple[dict[str, dict[str, Artifact]], list[str]]:
    """The artifacts of one catalog for another, model id -> form -> artifact, and notes: what will not do what it seems to.

    before: the catalog they are live with. artifacts: form -> model id -> artifact. Raises DefinitionError naming the definition
    that means something else than the model was trained on: its numbers would be believed and be wrong.
    """
    published: dict[str, dict[str, Artifact]] = {}
    notes: list[str] = []
    for form, held in artifacts.items():
        for model_id, artifact in held.items():
            model = catalog.models.get(model_id)
            if model is None:
                notes.append(f"models.{model_id} is gone: its artifact is left out")
                continue
            notes += _fit(catalog, before, artifact)
            made = publish_tables(artifact, catalog.lines(model_id), model.confidence_min)
            notes += [f"models.{model_id} ({form}): {told}" for told in made.warnings if told.startswith("line ")]
            published.setdefault(model_id, {})[form] = made
    for model_id, model in catalog.models.items():
        names = {model.output, model.factors} - {""}
        waiting = [name for name, one in catalog.triggers.items() if names.intersection(one.condition.reads)]
        if waiting and model_id not in published:
            notes.append(f"models.{model_id} has no artifact yet: {', '.join(sorted(waiting))} cannot fire before it is trained")
    return published, list(dict.fromkeys(notes))


def _fit(catalog: Catalog, before: Catalog, artifact: Artifact) -> list[str]:
    """What is worth knowing of a model in another catalog. Raises DefinitionError when it does not fit."""
    model_id = artifact.model_id
    model, old = catalog.models[model_id], before.models.get(model_id)
    hint = "train for this catalog: reflexarc train --catalog FILE --activate ADDRESS"
    for name in artifact.inputs:
        if name not in model.features:
            raise DefinitionError(f"models.{model_id}.features: {name} is not there, and its artifact reads it", hint=hint)
        held = before.features.get(name)
        if held is None or held.digest != catalog.features[name].digest:
            raise DefinitionError(f"features.{name} is not what models.{model_id} was trained on", hint=hint)
    if old is None:
        raise DefinitionError(f"models.{model_id} is not what its artifact was trained for", hint=hint)
    for field in ("label", "algorithm", "output_type"):
        if getattr(model, field) != getattr(old, field):
            raise DefinitionError(f"models.{model_id}.{field} is not what its artifact was trained for", hint=hint)
    notes = [
        f"models.{model_id}.features: {name} is not read before the next training"
        for name in model.features
        if name not in old.features
    ]
    if (model.score_on, model.every_ms) != (old.score_on, old.every_ms):
        notes.append(f"models.{model_id} scores at other moments now: its confidence was measured at the earlier ones")
    return notes
