"""Whether a newly trained model takes the place of the live one, and what becomes of the live one where it does not.

Owns the gates between training and a rollout, and the renewal of a live model's tables from newer labels. Must never
change what a model computes: a renewed model gives the same codes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.model import GRID
from reflexarc_models.artifact import MANIFEST_FILE, PARITY_FILE, Artifact, assemble, canonical_json
from reflexarc_models.publish import line_entries
from reflexarc_models.scorer import ArtifactScorer
from reflexarc_models.train.evidence.calibrate import brier, calibrate, quantile_codes
from reflexarc_models.train.evidence.drift import DRIFT_MAX, drifted
from reflexarc_models.train.evidence.measures import Z_95, auc_difference, auc_gap
from reflexarc_models.train.rows.dataset import Rows
from reflexarc_models.train.train import TrainedModel

AUC_LOSS_MAX: Final = 0.01
"""A challenger may rank this much worse than the live model, or worse within what chance explains."""
BRIER_LOSS_MAX: Final = 0.01
MET_LOSS_MAX: Final = 0.01
"""By how much more than chance explains a challenger's ranked items may be met less often than the live one's."""
BASELINE_LOSS_MAX: Final = 0.02
"""How far under recency alone a model may rank before it is refused: with so little in it, its figures are noise."""


@dataclass(frozen=True, slots=True)
class Live:
    """The model that is live now, in both forms."""

    device: Artifact
    server: Artifact


@dataclass(frozen=True, slots=True)
class Verdict:
    """promoted: the challenger goes live. reasons: what speaks against it, promoted or not. figures: what was compared."""

    promoted: bool
    reasons: tuple[str, ...]
    figures: Mapping[str, Any]


def judge(challenger: TrainedModel, live: Live | None, now_ms: int, own: Rows | None = None) -> Verdict:
    """Compare a challenger with recency alone, with what it was trained on and, on its own test rows, with the live model.

    Where nothing is live, or only a model that is STALE by `now_ms` and so fires nothing, the challenger goes live whatever is
    said of it: its confidence tables keep what is not certain from firing. The test rows are newer than anything the challenger
    was fitted on; the live model, older, has not seen them either unless the log was too short for a split by time, and then
    the comparison favours what is live.

    own: for a model that ranks items, the test's moments by the live model's own items (`ranking.claim.own_rows`). A claim about
    a ranking has the labels of that ranking: then each is judged by its own, how often its items were met, and how far it is off
    beside saying the same of everybody. Without them (the live factors have seen these moments) both are judged by the
    challenger's, as if the live model said of these items what it says of its own.
    """
    reasons: list[str] = []
    evidence = challenger.server.evidence
    figures: dict[str, Any] = {"auc": evidence["auc"], "auc_recency": evidence["auc_recency"]}
    if evidence["auc"] < evidence["auc_recency"] - BASELINE_LOSS_MAX:
        reasons.append(f"it ranks worse than recency alone ({evidence['auc']:.3f} against {evidence['auc_recency']:.3f})")
    figures["drift"] = moved = drifted(evidence["input_shares"], challenger.test)
    reasons += [f"{name} is not what it was in training (PSI {psi:.2f})" for name, psi in moved.items() if psi > DRIFT_MAX]
    if live is None or now_ms > live.server.newest_label_time + _age_max(live.server):
        figures["live"] = "none" if live is None else "stale"
        return Verdict(True, tuple(reasons), figures)
    mine = challenger.test if own is None else _at_moments_of(challenger.test, own)
    rows = own if own is not None else mine
    if own is not None:
        met = figures["items_met"] = {"new": round(float(mine.y.mean()), 5), "live": round(float(own.y.mean()), 5)}
        error = float(np.sqrt(sum(share * (1 - share) for share in met.values()) / len(own.y)))
        if met["new"] + Z_95 * error < met["live"] - MET_LOSS_MAX:
            reasons.append(f"its items are met less often than the live one's ({met['new']:.3f} against {met['live']:.3f})")
    for form, new, old in (("server", challenger.server, live.server), ("device", challenger.device, live.device)):
        theirs, ours = _grids(old, rows), _grids(new, mine)
        if own is None:
            gap = auc_difference(ours.astype(np.float64), theirs.astype(np.float64), mine.y)
            loss = brier(ours, mine.y) - brier(theirs, mine.y)
        else:
            gap = auc_gap(ours.astype(np.float64), mine.y, theirs.astype(np.float64), own.y)
            loss = brier(ours, mine.y) - float(mine.y.var()) - (brier(theirs, own.y) - float(own.y.var()))
        figures[form] = {
            "auc_gain": round(gap.value, 5),
            "auc_gain_interval": [round(gap.low, 5), round(gap.high, 5)],
            "brier_loss": round(loss, 5),
        }
        if gap.value < -AUC_LOSS_MAX and gap.high < 0:
            reasons.append(f"its {form} form ranks worse than the live one (AUC {gap.value:+.3f})")
        if loss > BRIER_LOSS_MAX:
            reasons.append(f"its {form} form is further off than the live one (Brier {loss:+.3f})")
    return Verdict(not reasons, tuple(reasons), figures)


def renewed(artifact: Artifact, rows: Rows) -> Artifact:
    """The same model with scores, segments and confidence tables from newer labels (one row a subject): another digest, the
    same codes, and no longer STALE.

    A model that has too few rows for that, or rows of one label only, is given back as it is.
    """
    positives = int(rows.y.sum())
    if rows.newest_label_time <= artifact.newest_label_time or positives in (0, len(rows.y)):
        return artifact
    old = artifact.manifest
    codes = [scored.code for scored in _scored(artifact, rows)]
    chance = np.clip(np.asarray(artifact.score_grid) / GRID, 1 / GRID, 1 - 1 / GRID)
    tables = calibrate(codes, rows.y, np.log(chance / (1 - chance)))
    training_warnings = [text for text in old["training_warnings"] if "no better than chance" not in text]
    if tables.is_flat:
        training_warnings.append("the scores rank the calibration rows no better than chance: calibrated flat")
    moment_codes = quantile_codes(np.asarray(codes, dtype=np.int64))
    entries = line_entries(
        artifact.lines,
        score_grid=tables.score_grid,
        segment_starts=tables.segment_starts,
        segments=tables.segments,
        confidence_min=artifact.confidence_min,
        moment_codes=moment_codes,
        moments_per_week=float(old["moments_per_week"]),
    )
    manifest = {
        **{key: value for key, value in old.items() if key != "files"},
        "score_grid": list(tables.score_grid),
        "segment_starts": list(tables.segment_starts),
        "segments": [list(pair) for pair in tables.segments],
        **entries,
        "calibration": {**old["calibration"], "newest_label_time": rows.newest_label_time},
        "moment_codes": moment_codes,
        "training_warnings": training_warnings,
        "warnings": entries["warnings"] + training_warnings,
        "evidence": {**old["evidence"], "renewed": {"rows": len(codes), "positives": positives}},
    }
    payload = {name: content for name, content in artifact.files.items() if name != MANIFEST_FILE}
    parity = json.loads(payload[PARITY_FILE])
    parity["scores"] = [tables.score_grid[code] for code in parity["codes"]]
    return assemble(manifest, {**payload, PARITY_FILE: canonical_json(parity)})


def _at_moments_of(rows: Rows, others: Rows) -> Rows:
    """Those of `rows` whose subject and time are among the others'."""
    wanted = set(zip(others.subjects.tolist(), others.score_time.tolist(), strict=True))
    both = zip(rows.subjects.tolist(), rows.score_time.tolist(), strict=True)
    return rows.part(np.array([moment in wanted for moment in both], dtype=np.bool_))


def _age_max(artifact: Artifact) -> int:
    return artifact.horizon_ms + 2 * artifact.update_interval_ms


def _grids(artifact: Artifact, rows: Rows) -> NDArray[np.int64]:
    return np.array([round(scored.score * GRID) for scored in _scored(artifact, rows)], dtype=np.int64)


def _scored(artifact: Artifact, rows: Rows) -> list[Any]:
    scorer = ArtifactScorer({artifact.model_id: artifact})
    return scorer.score_many(artifact.model_id, rows.vectors_for(artifact.inputs)) if len(rows.y) else []
