"""Hours of the week for a model: when people do what it foresees, learned from the server's log.

Owns the second look at the log, for the local time of each event. Must never refuse a model because there is too little.
"""

from __future__ import annotations

import numpy as np

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError
from reflexarc_core.plain import canonical, to_plain
from reflexarc_models.artifact import HOURS_FILE
from reflexarc_models.train.purchase_window import fit, occasions
from reflexarc_server.log_reader import LogReader


def hours_file(catalog: Catalog, model_id: str, seed: int, reader: LogReader, until: int | None) -> dict[str, bytes]:
    """HOURS_FILE, to go into both forms of the model, where a trigger waits for these hours and enough people did it.

    until: events after this time (ms) are not looked at, None for all.
    """
    label = catalog.models[model_id].label
    if label is None or not any(t.policy.best_hours and catalog.weeks_of(t) == model_id for t in catalog.triggers.values()):
        return {}
    names: dict[str, int] = {}
    rows: list[tuple[int, int, int]] = []
    for _, event in reader.events():
        if event.event_type in label.events and (until is None or event.event_time <= until):
            offset = event.context.get("offset_minutes")
            whose = names.setdefault(event.subject, len(names))
            rows.append((whose, event.event_time, offset if isinstance(offset, int) else 0))
    subjects, times, offsets = np.array(rows, np.int64).reshape(-1, 3).T
    try:
        fitted = fit(occasions(subjects, times, offsets, np.array(list(names), dtype=object)), seed)
    except DefinitionError:
        return {}  # too few did: nothing waits, and each decision says so
    return {HOURS_FILE: canonical(to_plain(fitted.intensity))}
