"""`student`: what the device's student loses against the server's forest, on three real sets, over seeds.

Every seed deals the rows anew, trains a churn forest and its student, and scores rows that neither saw. Owns the sets and the
lines; the training is the product's own. The sets are read from the folder in `REFLEXARC_DATA`. Runs in one process.
"""

from __future__ import annotations

import datetime
import os
import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.frame import Goal, Report, Row
from benchmarks.machine import machine

GOALS = (
    Goal("auc_loss_mean", at_most=0.001),
    Goal("auc_loss_upper_95", at_most=0.003),
    Goal("jaccard_mean_least", at_least=0.95),
    Goal("jaccard_least"),
    Goal("bytes_most", at_most=10_240),
)
LINES = (0.5, 0.7, 0.8)
FLAGGED_MIN = 100
TABLE = "churn_telco_ibm"
LOGS = {"orders_online_retail": ("2011-09-09", 90), "clickstream_wikimedia_sessions": ("2014-01-18", 5)}  # cut, horizon in days
DAY_MS = 86_400_000


def run(*, quick: bool) -> Report:
    """Measure everything; the report."""
    report = Report("student", machine(), goals=GOALS)
    seeds = range(1) if quick else range(5)
    losses: list[float] = []
    jaccards: dict[tuple[str, float], list[float]] = {}
    sizes: list[int] = []
    for name, evaluated in _sets(report).items():
        found = [evaluated(seed) for seed in seeds]
        losses += [one["auc_loss"] for one in found]
        sizes += [one["bytes"] for one in found]
        rows: dict[str, list[Any]] = {key: [one[key] for one in found] for key in ("auc", "auc_loss", "bytes")}
        figures: dict[str, Any] = {
            "auc": round(statistics.mean(rows["auc"]), 4),
            "auc_loss": round(statistics.mean(rows["auc_loss"]), 5),
            "bytes": max(rows["bytes"]),
            "auc_loss_seeds": rows["auc_loss"],
        }
        report.rows.append(Row("student", name, found[0]["rows"], figures))
        for line in LINES:
            at = [one["lines"][line] for one in found]
            many = [one["jaccard"] for one in at if one["flagged"] >= FLAGGED_MIN]
            if many:
                jaccards[name, line] = many
            figures = {
                "flagged": round(statistics.mean(one["flagged"] for one in at)),
                "jaccard": round(statistics.mean(many), 4) if many else None,
                "jaccard_least": min(many) if many else None,
                "rows_near": round(statistics.mean(one["near"] for one in at)),
                "flips_near": round(statistics.mean(one["flips_near"] for one in at), 1),
                "jaccard_seeds": many,
            }
            report.rows.append(Row("student", f"{name}, line {line:g}", found[0]["rows"], figures))
    if losses:
        mean, error = statistics.mean(losses), _standard_error(losses)
        report.ratios["auc_loss_mean"] = round(mean, 5)
        report.ratios["auc_loss_upper_95"] = round(mean + _t_975(len(losses) - 1) * error, 5)
        report.ratios["bytes_most"] = max(sizes)
    if jaccards:
        report.ratios["jaccard_mean_least"] = round(min(map(statistics.mean, jaccards.values())), 4)
        report.ratios["jaccard_least"] = min(map(min, jaccards.values()))
    report.notes.append(f"jaccard: of the rows over a line by the score, where forest or student flags {FLAGGED_MIN} or more")
    report.notes.append("flips_near: rows within 0.1 of the line by the forest's score that the student puts on the other side")
    report.notes.append("auc_loss: forest minus student, same test rows; the bound is Student's t over all seeds of all sets")
    return report


def _sets(report: Report) -> dict[str, Callable[[int], dict[str, Any]]]:
    """For each set that is here, what evaluates one seed of it."""
    folder = Path(os.environ.get("REFLEXARC_DATA", ""))
    for name in (TABLE, *LOGS):
        if not os.environ.get("REFLEXARC_DATA") or not (folder / name).is_dir():
            report.missing[name] = "not there: set REFLEXARC_DATA to the folder that holds it"
    there = [name for name in (TABLE, *LOGS) if name not in report.missing]
    return {
        name: partial(_evaluated, _table_parts(folder) if name == TABLE else _log_parts(folder / name, *LOGS[name]))
        for name in there
    }


def _table_parts(folder: Path) -> Callable[[int], tuple[Any, int]]:
    """Seed to (the first of five folds dealt by it, horizon 0)."""
    from reflexarc_cli.evaluating.table import read_table
    from reflexarc_models.train.evaluation.folds import by_fold

    table = read_table(folder / TABLE / "Telco-Customer-Churn.csv", "Churn", None, None, ("customerID",), None)
    return lambda seed: (next(iter(by_fold(table.columns, table.labels, table.keys, seed))), 0)


def _log_parts(folder: Path, cut: str, horizon_days: int) -> Callable[[int], tuple[Any, int]]:
    """Seed to (rows of a log before and at a cut, horizon in ms)."""
    from reflexarc.definitions import load_catalog
    from reflexarc_cli.evaluating.events import read_columns
    from reflexarc_cli.importing.mapping import all_event_types
    from reflexarc_cli.importing.reader import choose
    from reflexarc_models.train.evaluation.moments import CHURN, LabelRule, outcome_part

    catalog = load_catalog(None)
    file, mapping = choose(folder, None)
    log, _ = read_columns(file, mapping, all_event_types(catalog.event_types, mapping), lambda _: None)
    label = catalog.models["churn"].label
    assert label is not None
    types = tuple(name for name in label.events if name in log.type_names) or log.type_names
    cut_time = int(datetime.datetime.fromisoformat(cut).replace(tzinfo=datetime.UTC).timestamp() * 1_000)
    rule = LabelRule(CHURN, types, horizon_days * DAY_MS, 0)
    return lambda seed: (outcome_part(log, rule, cut_time, seed), rule.horizon_ms)


def _evaluated(part_of: Callable[[int], tuple[Any, int]], seed: int) -> dict[str, Any]:
    """The figures of one seed."""
    import numpy as np

    from reflexarc_cli.evaluating.tabular import spec_of
    from reflexarc_models.train.evaluation.worth import NEAR, evaluate
    from reflexarc_models.train.evidence.measures import auc_difference, auc_interval

    part, horizon_ms = part_of(seed)
    # All three are live: as if a trigger compared with each of them.
    found = evaluate(replace(spec_of("churn", seed, horizon_ms), lines=LINES), [part], LINES)
    scores = found.scores
    lines = {}
    for line in LINES:
        server, device = scores.server > line, scores.device > line
        near = np.abs(scores.server - line) <= NEAR
        lines[line] = {
            "flagged": max(int(server.sum()), int(device.sum())),
            "jaccard": round(float((server & device).sum() / max(1, (server | device).sum())), 4),
            "near": int(near.sum()),
            "flips_near": int(((server != device) & near).sum()),
        }
    return {
        "rows": len(scores.labels),
        "auc": auc_interval(scores.server, scores.labels).value,
        "auc_loss": round(auc_difference(scores.server, scores.device, scores.labels).value, 5),
        "bytes": found.models[0].device.download_bytes,
        "lines": lines,
    }


def _standard_error(values: list[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def _t_975(freedom: int) -> float:
    """The 97.5 % point of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, max(1, freedom)))
