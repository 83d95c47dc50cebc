"""From a server's log to a published bundle: rows, models, artifacts, one folder.

Owns the order of a training run and its report. Reads the server's store, never writes it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reflexarc_cli.progress import Progress
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import ReflexArcError
from reflexarc_core.model import ModelDefinition
from reflexarc_models.train.history import History, build_dataset, history
from reflexarc_models.train.train import NoData, TrainedModel, TrainSpec, train_model
from reflexarc_server.distribution import write_bundle
from reflexarc_server.log_reader import LogReader


def train(data: Path, catalog: Catalog, until: int | None, seed: int, progress: Progress) -> dict[str, Any]:
    """Train every model of the catalog that has labels, and write the bundle into the server's folder.

    until: events after this time (ms) are not looked at, None for all. The report: bundle digest, and per model either
    its evidence or why there is none. Raises ReflexArcError when the log holds no event at all.
    """
    with progress.stage("Reading the log", 1) as step:
        reader = LogReader(data)
        log = history(catalog, ((now, e) for now, e in reader.events() if until is None or e.event_time <= until))
        acted = reader.fired_times()
        step(1)
    if not log.subjects:
        raise ReflexArcError(f"the log in {data} holds no event", hint="import or sync some first")
    report: dict[str, Any] = {"models": {}, "events": len(log.times), "subjects": len(log.subjects)}
    report["features_without_events"] = [
        name for name, feature in catalog.features.items() if not set(feature.event_types) & set(log.type_names)
    ]
    staging = Path(tempfile.mkdtemp(prefix="training-", dir=data))
    try:
        written: dict[str, dict[str, Path]] = {}
        for model_id, model in catalog.models.items():
            with progress.stage(f"Training {model_id}", 1) as step:
                trained = _train_one(catalog, model, log, acted, seed)
                step(1)
            if isinstance(trained, NoData):
                report["models"][model_id] = {"no_data": trained.reason}
                continue
            report["models"][model_id] = _evidence(trained)
            written[model_id] = {"device": staging / model_id / "device", "server": staging / model_id / "server"}
            trained.device.write(written[model_id]["device"])
            trained.server.write(written[model_id]["server"])
        report["bundle"] = write_bundle(data, catalog, written)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return report


def _train_one(
    catalog: Catalog, model: ModelDefinition, log: History, acted: Mapping[str, Mapping[str, list[int]]], seed: int
) -> TrainedModel | NoData:
    if model.label is None or model.algorithm == "collaborative_filtering":
        return NoData(model.model_id, "training this kind of model is not built yet")
    triggers = [t.trigger_id for t in catalog.triggers.values() if any(line.model_id == model.model_id for line in t.lines)]
    times: dict[str, list[int]] = {}
    for trigger_id in triggers:
        for subject, fired in acted.get(trigger_id, {}).items():
            times.setdefault(subject, []).extend(fired)
    dataset = build_dataset(catalog, model, log, times)
    if not dataset.inputs:
        return NoData(model.model_id, f"none of the events behind {', '.join(model.features)} occur in the log")
    spec = TrainSpec(
        model_id=model.model_id,
        algorithm=model.algorithm,
        lines=catalog.lines(model.model_id),
        confidence_min=model.confidence_min,
        horizon_ms=model.label.horizon_ms,
        update_interval_ms=model.update_ms,
        seed=seed,
    )
    return train_model(spec, dataset)


def _evidence(trained: TrainedModel) -> dict[str, Any]:
    device, server = trained.device, trained.server
    return {
        "rows": server.evidence["rows"],
        "positives": server.evidence["positives"],
        "inputs": list(server.inputs),
        "inputs_left_out": list(server.inputs_left_out),
        "auc": server.evidence["auc"],
        "auc_recency": server.evidence["auc_recency"],
        "brier": server.evidence["brier"],
        "device_auc": device.evidence["auc"],
        "device_bytes": device.download_bytes,
        "device_p50_us": device.evidence["latency_us_p50"],
        "against_server": device.evidence["against_server"],
        "split": server.evidence["split"],
        "warnings": {"device": list(device.warnings), "server": list(server.warnings)},
        "seconds": round(trained.train_seconds, 2),
    }
