"""From a table on disk to its evaluation: the words of the command line, the stages, the figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reflexarc_build.reader import build_text
from reflexarc_cli.evaluating.table import read_table
from reflexarc_cli.importing.rows import line_count
from reflexarc_cli.progress import Progress
from reflexarc_core.model import DEVICE_FORMS
from reflexarc_models.train.evaluation.folds import FOLD_COUNT, by_fold, by_time
from reflexarc_models.train.evaluation.worth import Evaluation, evaluate
from reflexarc_models.train.forms.compose import TrainSpec

SHIPPED_LINES: Final = {"churn": 0.7, "purchase_intent": 0.8}


@dataclass(frozen=True, slots=True)
class TableOrder:
    """What was asked for. lines: where decisions are measured, ascending."""

    model_id: str
    file: Path
    label: str
    positive: str | None
    time: str | None
    drop: tuple[str, ...]
    subject: str | None
    lines: tuple[float, ...]
    device_form: str
    seed: int


def evaluate_table(order: TableOrder, progress: Progress) -> tuple[Evaluation, dict[str, Any]]:
    """The evaluation of a table, and what is to be said about the data. Raises ReflexArcError in one line."""
    with progress.stage(f"Reading {order.file.name}", max(1, line_count(order.file) if order.file.is_file() else 1)) as step:
        table = read_table(order.file, order.label, order.positive, order.time, order.drop, order.subject, step)
    if table.times is None:
        parts = by_fold(table.columns, table.labels, table.keys, order.seed)
    else:
        parts = by_time(table.columns, table.labels, table.keys, table.times, order.time or "", order.seed)
    spec = spec_of(order.model_id, order.seed, device_form=order.device_form)
    with progress.stage(f"Training {spec.algorithm.replace('_', ' ')}", FOLD_COUNT if table.times is None else 1) as step:
        found = evaluate(spec, parts, order.lines, step)
    found.warnings[:0] = table.notes
    return found, {"file": str(order.file), "label": order.label, "positive": table.positive, "dropped": list(order.drop)}


def spec_of(model_id: str, seed: int, horizon_ms: int = 0, device_form: str = DEVICE_FORMS[0]) -> TrainSpec:
    """The shipped model's declaration: its algorithm, its gate, and the line of the automation that ships with it."""
    model = build_text("include: standard").models[model_id]
    return TrainSpec(
        model_id=model_id, algorithm=model.algorithm, lines=(SHIPPED_LINES[model_id],), confidence_min=model.confidence_min,
        horizon_ms=horizon_ms, update_interval_ms=model.update_ms, seed=seed, device_form=device_form,
    )  # fmt: skip
