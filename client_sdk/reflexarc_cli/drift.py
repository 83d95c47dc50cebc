"""Drift of what is scored live: per model and version, inputs and scores against training, and outcomes against scores.

Owns the reading of a server's log for it and the report. Changes nothing, and decides nothing: gates do (`train.promotion`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_cli.progress import Progress
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import ReflexArcError
from reflexarc_core.model import GRID, Scored
from reflexarc_models.artifact import Artifact
from reflexarc_models.train.evidence.calibrate import brier
from reflexarc_models.train.evidence.drift import code_shares, psi
from reflexarc_models.train.rows.history import History, acted_on, history, labels_at, times_acted_on
from reflexarc_server.distribution import Distribution
from reflexarc_server.log_reader import LogReader

KEPT_MAX: Final = 20_000
"""Scores of one version that are looked at, drawn evenly from all of them."""


@dataclass
class Version:
    """The scores that one artifact gave. sample: (engine time ms, subject, score)."""

    model_id: str
    digest: str
    count: int = 0
    first_time: int = 0
    last_time: int = 0
    sample: list[tuple[int, str, Scored]] = field(default_factory=list)

    def add(self, at: int, subject: str, scored: Scored, draw: random.Random) -> None:
        """One score more; every one is equally likely to stay in the sample (reservoir, Vitter 1985)."""
        self.count += 1
        self.first_time = min(self.first_time or at, at)
        self.last_time = max(self.last_time, at)
        if len(self.sample) < KEPT_MAX:
            self.sample.append((at, subject, scored))
        elif (place := draw.randrange(self.count)) < KEPT_MAX:
            self.sample[place] = (at, subject, scored)


def drift(data: Path, catalog: Catalog, since: int, progress: Progress) -> dict[str, Any]:
    """The report over scores given at or after `since` (ms). Raises ReflexArcError when there are none."""
    reader = LogReader(data)
    versions: dict[tuple[str, str], Version] = {}
    draw = random.Random(1)
    with progress.stage("Reading scores", 1) as step:
        for at, subject, scored in reader.scores():
            if at >= since:
                key = (scored.model_id, scored.artifact_digest)
                versions.setdefault(key, Version(*key)).add(at, subject, scored, draw)
        step(1)
    if not versions:
        raise ReflexArcError("the log holds no score of that time", hint="every score is logged once a model is live")
    with progress.stage("Reading events", 1) as step:
        log = history(catalog, reader.events())
        acted = reader.fired_times()
        step(1)
    live = reader.live_bundle()
    distribution = Distribution(data)
    live_digests = {
        artifact.digest for forms in (distribution.load(live).artifacts.values() if live else ()) for artifact in forms.values()
    }
    report: dict[str, Any] = {"models": {}}
    for version in sorted(versions.values(), key=lambda one: (one.model_id, one.first_time, one.digest)):
        forms = distribution.forms_with(version.digest)
        said: dict[str, Any] = {
            "artifact": version.digest,
            "live": version.digest in live_digests,
            "scores": version.count,
            "first_time": version.first_time,
            "last_time": version.last_time,
        }
        if forms is None:
            said["unknown"] = "no bundle in this folder holds it"
        else:
            form = next(name for name, artifact in forms.items() if artifact.digest == version.digest)
            said |= {"form": form, "version": forms[form].version, **_moved(version, forms[form], forms)}
        said["outcomes"] = _outcomes(version, catalog, log, acted)
        report["models"].setdefault(version.model_id, []).append(said)
    return report


def _moved(version: Version, artifact: Artifact, forms: Mapping[str, Artifact]) -> dict[str, Any]:
    """The stability index of each input and of the codes. Training's shares are kept with the server's form only."""
    kept = forms["server"].evidence.get("input_shares", {}) if "server" in forms else {}
    vectors = np.array([scored.vector for _, _, scored in version.sample], dtype=np.float64)
    codes = np.array([scored.code for _, _, scored in version.sample], dtype=np.float64)
    inputs = {
        name: round(psi(kept[name], vectors[:, place]), 4)
        for place, name in enumerate(artifact.inputs)
        if name in kept and vectors.shape[1] == len(artifact.inputs)
    }
    return {"inputs": inputs, "score": round(psi(code_shares(artifact.manifest["moment_codes"]), codes), 4)}


def _outcomes(
    version: Version, catalog: Catalog, log: History, acted: Mapping[str, Mapping[str, list[int]]]
) -> dict[str, Any] | None:
    """Scores whose label is known by now, of people nobody acted on: what was said and what came of it."""
    model = catalog.models.get(version.model_id)
    if model is None or model.label is None:
        return None
    place = {subject: at for at, subject in enumerate(log.subjects)}
    known = sorted((place[subject], at, scored.score) for at, subject, scored in version.sample if subject in place)
    subjects = np.array([subject for subject, _, _ in known], dtype=np.int64)
    times = np.array([at for _, at, _ in known], dtype=np.int64)
    scores = np.array([score for _, _, score in known], dtype=np.float64)
    starts = np.searchsorted(subjects, np.arange(len(log.subjects) + 1)).astype(np.int64)
    labels, _ = labels_at(model, log, starts, times)
    touched = acted_on(
        times_acted_on(catalog, model, acted), np.array(log.subjects, dtype=object)[subjects], times, model.label.horizon_ms
    )
    held: NDArray[np.bool_] = (labels >= 0) & ~touched
    if not held.any():
        return {"rows": 0, "acted_on": int(touched.sum())}
    grids, found = np.round(scores[held] * GRID).astype(np.int64), labels[held].astype(np.int8)
    return {
        "rows": int(held.sum()),
        "acted_on": int((touched & (labels >= 0)).sum()),
        "score_mean": round(float(scores[held].mean()), 4),
        "rate": round(float(found.mean()), 4),
        "brier": round(brier(grids, found), 4),
    }
