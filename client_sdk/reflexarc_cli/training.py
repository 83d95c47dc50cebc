"""From a server's log to a published bundle: rows, models, artifacts, one folder.

Owns the order of a training run, its report, and which model of it goes into the bundle. Reads the server's store, never
writes it; when a run is due is `retraining`'s.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reflexarc_cli.progress import Progress
from reflexarc_cli.retraining import Run, Schedule, chosen
from reflexarc_cli.training_hours import hours_file
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError, ReflexArcError
from reflexarc_core.interaction import INTEREST_STRENGTH
from reflexarc_core.model import ModelDefinition
from reflexarc_models.artifact import Artifact
from reflexarc_models.publish import publish_tables
from reflexarc_models.train.promotion import Live, judge, renewed
from reflexarc_models.train.ranking.claim import own_rows
from reflexarc_models.train.ranking.interest import ALGORITHM, train_interest
from reflexarc_models.train.rows.dataset import Rows
from reflexarc_models.train.rows.history import History, build_dataset, history, times_acted_on
from reflexarc_models.train.train import NoData, TrainedModel, TrainSpec, train_model
from reflexarc_server.clock import SystemClock
from reflexarc_server.distribution import Distribution, write_bundle
from reflexarc_server.log_reader import LogReader


def train(
    data: Path,
    catalog: Catalog,
    until: int | None,
    seed: int,
    progress: Progress,
    only: Collection[str] | None = None,
    *,
    gated: bool = True,
) -> dict[str, Any]:
    """Train models on the log and write a bundle of what may go live into the server's folder.

    until: events after this time (ms) are not looked at, None for all. only: these models, None for every one; the others stay
    as they are live. gated: a model that is worse than the live one is refused, and the live one's tables are renewed instead.
    The report: the bundle's digest, and per model its evidence and verdict, or why there is none. A run that was cut short goes
    on where it was, when nothing it is about has changed. Raises ReflexArcError when the log holds no event at all, or while
    another run is under way.
    """
    schedule = Schedule(data)
    wanted = list(catalog.models) if only is None else chosen(catalog, only)
    now = until if until is not None else SystemClock().now_ms()
    with schedule.alone():
        with progress.stage("Reading the log", 1) as step:
            reader = LogReader(data)
            log = history(catalog, ((at, e) for at, e in reader.events() if until is None or e.event_time <= until))
            acted = reader.fired_times()
            live = _live(data, reader)
            step(1)
        if not log.subjects:
            raise ReflexArcError(f"the log in {data} holds no event", hint="import or sync some first")
        report: dict[str, Any] = {"models": {}, "events": len(log.times), "subjects": len(log.subjects)}
        report["features_without_events"] = [
            name for name, feature in catalog.features.items() if not set(feature.event_types) & set(log.type_names)
        ]
        unfinished = schedule.unfinished(Run(catalog.digest, until or 0, seed), now)
        chosen_forms: dict[str, Mapping[str, Artifact]] = {}
        for model_id, model in catalog.models.items():
            held = live.get(model_id)
            if model_id in wanted:
                with progress.stage(f"Training {model_id}", 1) as step:
                    said, forms = unfinished.take(model_id) or _trained(
                        catalog, model, log, acted, seed, held, now, gated, hours_file(catalog, model_id, seed, reader, until)
                    )
                    unfinished.keep(model_id, said, forms)
                    step(1)
                report["models"][model_id] = said
            else:
                forms = _as_live(catalog, model, held)
            if forms:
                chosen_forms[model_id] = forms
        report["resumed"] = sorted(unfinished.resumed)
        report["bundle"] = _bundle(data, catalog, chosen_forms)
        schedule.note(now, {name: said.get("verdict", said) for name, said in report["models"].items()}, report["bundle"])
        unfinished.clear()
    return report


def _trained(
    catalog: Catalog,
    model: ModelDefinition,
    log: History,
    acted: Mapping[str, Mapping[str, list[int]]],
    seed: int,
    held: Live | None,
    now: int,
    gated: bool,
    beside: Mapping[str, bytes],
) -> tuple[dict[str, Any], dict[str, Artifact]]:
    """(what is reported, the artifact of each form that goes into the bundle: none where there is no model at all)."""
    version = held.server.version + 1 if held is not None else 1
    trained = _train_one(catalog, model, log, acted, seed, version, held, beside)
    if isinstance(trained, NoData):
        return {"no_data": trained.reason}, _as_live(catalog, model, held)
    verdict = judge(trained, held, now, _own(catalog, model, log, acted, held, trained.test))
    said = _evidence(trained)
    said["verdict"] = {
        "promoted": verdict.promoted or not gated,
        "reasons": list(verdict.reasons),
        "compared": dict(verdict.figures),
        "version": version,
    }
    if held is None or verdict.promoted or not gated:
        return said, {"device": trained.device, "server": trained.server}
    newer = _own(catalog, model, log, acted, held, trained.calibration) or trained.calibration
    fresh = Live(renewed(held.device, newer), renewed(held.server, newer))
    said["verdict"] |= {"version": held.server.version, "renewed": fresh.server.digest != held.server.digest}
    return said, _as_live(catalog, model, fresh)


def _own(
    catalog: Catalog,
    model: ModelDefinition,
    log: History,
    acted: Mapping[str, Mapping[str, list[int]]],
    held: Live | None,
    rows: Rows,
) -> Rows | None:
    """These moments by the live model's own items, where it ranks some."""
    if held is None or not model.items:
        return None
    return own_rows(catalog, model, log, held.device, rows, times_acted_on(catalog, model, acted))


def _live(data: Path, reader: LogReader) -> dict[str, Live]:
    """What is live on the server now, by model."""
    digest = reader.live_bundle()
    try:
        forms = Distribution(data).load(digest).artifacts if digest else {"device": {}, "server": {}}
    except DefinitionError:
        return {}  # its folder is gone: there is nothing to compare with, and nothing to keep
    return {name: Live(forms["device"][name], forms["server"][name]) for name in forms["server"] if name in forms["device"]}


def _as_live(catalog: Catalog, model: ModelDefinition, held: Live | None) -> dict[str, Artifact]:
    """Both forms as they are live, with tables for the catalog's lines; none where the catalog lacks one of their inputs."""
    known = {*catalog.features, INTEREST_STRENGTH}
    if held is None or not known.issuperset((*held.device.inputs, *held.server.inputs)):
        return {}
    lines = catalog.lines(model.model_id)
    return {
        form: publish_tables(artifact, lines, model.confidence_min)
        for form, artifact in (("device", held.device), ("server", held.server))
    }


def _bundle(data: Path, catalog: Catalog, forms: Mapping[str, Mapping[str, Artifact]]) -> str:
    staging = Path(tempfile.mkdtemp(prefix="training-", dir=data))
    try:
        written: dict[str, dict[str, Path]] = {}
        for model_id, artifacts in forms.items():
            written[model_id] = {form: staging / model_id / form for form in artifacts}
            for form, artifact in artifacts.items():
                artifact.write(written[model_id][form])
        return write_bundle(data, catalog, written)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _train_one(
    catalog: Catalog,
    model: ModelDefinition,
    log: History,
    acted: Mapping[str, Mapping[str, list[int]]],
    seed: int,
    version: int,
    held: Live | None,
    beside: Mapping[str, bytes],
) -> TrainedModel | NoData:
    if model.label is None:
        return NoData(model.model_id, "its definition says of no label what is to be foreseen")
    times = times_acted_on(catalog, model, acted)
    if model.algorithm == ALGORITHM:
        if not model.items:
            return NoData(model.model_id, "its definition names no items")
        return train_interest(catalog, model, log, times, seed=seed, version=version, beside=beside)
    # What only the live model reads is folded as well: it is judged on the same rows.
    others = [name for name in (held.server.inputs if held is not None else ()) if name in catalog.features]
    dataset = build_dataset(catalog, replace(model, features=tuple(dict.fromkeys((*model.features, *others)))), log, times)
    dataset = replace(dataset, inputs_left_out=tuple(name for name in dataset.inputs_left_out if name in model.features))
    inputs = tuple(name for name in dataset.inputs if name in model.features)
    if not inputs:
        return NoData(model.model_id, f"none of the events behind {', '.join(model.features)} occur in the log")
    spec = TrainSpec(
        model_id=model.model_id,
        algorithm=model.algorithm,
        lines=catalog.lines(model.model_id),
        confidence_min=model.confidence_min,
        horizon_ms=model.label.horizon_ms,
        update_interval_ms=model.update_ms,
        seed=seed,
        version=version,
        inputs=inputs,
        device_form=model.device_form,
        beside=beside,
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
        **({"items": device.evidence["items"]} if "items" in device.evidence else {}),
    }
