"""From a file of events to its evaluation: the words of the command line, the stages, the figures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reflexarc.definitions import load_catalog
from reflexarc_build.source import nearest
from reflexarc_cli.evaluating.events import read_columns
from reflexarc_cli.evaluating.tabular import spec_of
from reflexarc_cli.importing.mapping import Mapping, all_event_types
from reflexarc_cli.importing.reader import choose
from reflexarc_cli.importing.rows import line_count
from reflexarc_cli.importing.times import TimeReader
from reflexarc_cli.misuse import Misused
from reflexarc_cli.progress import Progress
from reflexarc_core.errors import DefinitionError
from reflexarc_models.train.evaluation.moments import CHURN, PURCHASE, LabelRule, outcome_part
from reflexarc_models.train.evaluation.worth import Evaluation, evaluate
from reflexarc_models.train.rows.behaviour import EventColumns

DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
SPAN_MAX_MS: Final = 3_660 * 86_400_000


@dataclass(frozen=True, slots=True)
class EventsOrder:
    """What was asked for. goal: event types that speak, empty for the model's own. lines: as for a table."""

    model_id: str
    file: Path
    mapping: str | None
    cut: str
    horizon: str
    goal: tuple[str, ...]
    active_within: str | None
    lines: tuple[float, ...]
    device_form: str
    seed: int


def evaluate_events(order: EventsOrder, progress: Progress) -> tuple[Evaluation, dict[str, Any]]:
    """The evaluation of a log at a cut, and what is to be said about the data. Raises ReflexArcError in one line."""
    horizon_ms = duration_ms(order.horizon, "--horizon")
    active_ms = duration_ms(order.active_within, "--active-within") if order.active_within else 0
    catalog = load_catalog(None)
    file, mapping = choose(order.file, order.mapping)
    cut_time = cut_time_of(order.cut, mapping)
    with progress.stage(f"Reading {file.name} by mapping {mapping.name}", max(1, line_count(file))) as step:
        log, notes = read_columns(file, mapping, all_event_types(catalog.event_types, mapping), step)
    label = catalog.models[order.model_id].label
    assert label is not None
    types, said = _label_types(order, label.events, log)
    rule = LabelRule(CHURN if order.model_id == "churn" else PURCHASE, types, horizon_ms, active_ms)
    with progress.stage("Folding features at each moment", 1) as step:
        part = outcome_part(log, rule, cut_time, order.seed)
        step(1)
    spec = spec_of(order.model_id, order.seed, horizon_ms, order.device_form)
    with progress.stage(f"Training {spec.algorithm.replace('_', ' ')}", 1) as step:
        found = evaluate(spec, [part], order.lines, step)
    found.warnings[:0] = [*notes, *said]
    return found, {
        "file": str(file), "mapping": mapping.name, "cut": order.cut, "horizon": order.horizon, "events": len(log.times),
        "subjects": len(log.subjects), "label_events": list(types),
    }  # fmt: skip


def duration_ms(text: str, option: str) -> int:
    """A duration such as 90d, 12h or 2w in ms. Raises Misused."""
    found = DURATION.fullmatch(text.strip())
    span = round(float(found[1]) * UNITS_MS[found[2]]) if found else 0
    if not 0 < span <= SPAN_MAX_MS:
        raise Misused(f"{option} is {text!r}", hint="a duration over nothing and up to ten years, such as 90d, 12h or 2w")
    return span


def cut_time_of(text: str, mapping: Mapping) -> int:
    """The time a cut means in the mapping's zone, ms UTC. Raises Misused."""
    try:
        return TimeReader("iso", mapping.zone).read(text)
    except ValueError:
        raise Misused(
            f"--cut is {text!r}", hint=f"a date or time such as 2011-09-09 or 2011-09-09T12:00, in {mapping.zone}"
        ) from None


def _label_types(order: EventsOrder, declared: tuple[str, ...], log: EventColumns) -> tuple[tuple[str, ...], list[str]]:
    """The event types that speak, and what is to be said about them."""
    there = set(log.type_names)
    if order.goal:
        unknown = [name for name in order.goal if name not in there]
        if unknown:
            raise Misused(f"no event {unknown[0]!r} occurs in {order.file}", hint=nearest(unknown[0], log.type_names))
        return order.goal, []
    types = tuple(name for name in declared if name in there)
    if types:
        return types, []
    if order.model_id == "churn":
        return log.type_names, ["none of the model's own events occur: any event counts as a sign of life"]
    raise DefinitionError(
        f"no {' or '.join(declared)} occurs in {order.file}, so nobody ever bought",
        hint=f"say what counts with --goal EVENT: {', '.join(log.type_names[:8])}",
    )
