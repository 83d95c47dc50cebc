"""The demo's page of results, for a terminal of 80 columns or more."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, Final

from reflexarc_cli.demo.results import Gathered

WIDTH_MIN: Final = 80
WIDTH_MAX: Final = 110
PEOPLE_MIN: Final = 30
"""Fewer people than this on a side: the interval is wide, and one person moves it."""

MEANINGS: Final = {
    "FIRED": "the action was handed over",
    "HOLDOUT": "held out on purpose, to measure the effect",
    "QUIET_HOURS": "waits for the hours in which this person buys",
    "REENTRY": "a sequence of this person is still under way",
    "LOW_CONFIDENCE": "over the line, but not sure enough: go on watching",
    "ESCALATED": "the server's answer is still awaited",
    "COOLDOWN": "acted on this person not long ago",
    "STALE": "a value was too old to act on",
    "WARMING": "a changed feature does not cover its window yet",
    "CONSENT": "the person has not agreed to this purpose",
    "PAUSED": "the trigger was paused",
    "EXPIRED": "not handed over in time",
}


def render(found: Gathered, width: int = 100) -> str:
    """The whole page. width: columns to fill at most, held between WIDTH_MIN and WIDTH_MAX."""
    width = min(max(width, WIDTH_MIN), WIDTH_MAX)
    return "\n".join(piece for line in _lines(found) for piece in _wrapped(line, width)) + "\n"


def _wrapped(line: str, width: int) -> list[str]:
    """A line that is too long goes on below, under its last column."""
    if len(line) <= width:
        return [line]
    indent = len(line) - len(line.lstrip())
    gap = line.rfind("   ", indent, width // 2)
    below = line.find(line[gap:].lstrip(), gap) if gap > indent else indent + 2
    return textwrap.wrap(line, width, subsequent_indent=" " * below, break_long_words=False, break_on_hyphens=False)


def _lines(found: Gathered) -> Iterator[str]:
    title = f"reflexarc demo: {found.source}"
    yield title
    yield "=" * len(title)
    if found.simulated and found.placebo:
        yield "SIMULATED: the people in this file are invented."
    elif found.simulated:
        yield "SIMULATED: every person and every reaction below is invented by a seeded generator."
    if found.placebo:
        yield "A recorded log, replayed. Nobody saw the actions, so the lift below is a placebo: expect nothing."
    yield ""
    yield "Flow"
    yield from _pairs(
        [
            ("events captured on devices", f"{found.events_captured:,} on {found.devices} devices, {found.subjects:,} subjects"),
            ("events applied on the server", f"{found.events_applied:,}, lost {found.lost}, duplicates {found.duplicates}"),
            ("trained at the cut", f"{found.cut}, bundle {found.bundle[:12]}"),
            ("replayed", f"{found.days} days, the server stopped on {_days(*found.outage_days)}"),
            ("decided with the server away", f"{found.offline_decisions:,} decisions, {found.offline_scored:,} scores"),
            ("asked the server's heavier model", f"{found.escalations:,} decisions"),
            ("recommended", _recommended(found)),
            ("kill -9", _kills(found)),
        ]
    )
    yield ""
    yield "Models"
    for model_id, model in found.models.items():
        yield from _model(model_id, model)
    if found.features_without_events:
        yield f"  {'no data':<18}{', '.join(found.features_without_events)} (their events never occur in this log)"
    yield ""
    yield "Decisions by their last reason"
    if not found.decisions:
        yield "  none: no score was over its line"
    for reason, count in sorted(found.decisions.items(), key=lambda item: -item[1]):
        yield f"  {reason:<16}{count:>9,}   {MEANINGS.get(reason, '')}"
    yield ""
    yield "Results against holdout" + (" (placebo)" if found.placebo else " (simulated effect)")
    yield "  people acted on and held out, and the share of each that reached the goal"
    yield f"  {'trigger':<24}{'acted':>7}{'goal':>7}{'held':>6}{'goal':>7}{'lift':>8}   95 % interval"
    for trigger_id, row in found.triggers.items():
        yield from _result(trigger_id, row, trigger_id in found.triggers_without_model)
    yield ""
    yield "What must hold"
    for invariant in found.invariants:
        yield f"  {'ok  ' if invariant.holds else 'FAIL'} {invariant.name}: {invariant.detail}"
    if found.device_errors:
        yield ""
        yield "What devices reported"
        for error in found.device_errors[:5]:
            yield f"  {' '.join(error.split())}"
    yield ""
    yield f"{found.seconds:.0f} s, {found.pss_mb_peak:.0f} MB peak memory of all processes"


def _model(model_id: str, model: dict[str, Any]) -> Iterator[str]:
    if "auc" not in model:
        yield f"  {model_id:<18}no data: {model.get('no_data', '')}"
        return
    yield (f"  {model_id:<18}AUC {_number(model['auc'])} (recency alone {_number(model['auc_recency'])}), {model['rows']:,} rows")
    if model["inputs_left_out"]:
        yield f"  {'':<18}inputs left out: {', '.join(model['inputs_left_out'])}"
    yield (
        f"  {'':<18}on the device: {model['device_bytes']:,} bytes int8, AUC {_number(model.get('device_auc'))},"
        f" {_number(model.get('device_p50_us'), 1)} us a score"
    )
    if "items" in model:
        items = model["items"]
        yield f"  {'':<18}ranks {items['items']:,} items by {items['dimension']} numbers each, {items['bytes']:,} bytes of these"
    for warning in model["warnings"]["device"]:
        yield f"  {'':<18}note: {warning}"


def _days(first: int, last: int) -> str:
    return f"day {first}" if first == last else f"days {first} to {last}"


def _recommended(found: Gathered) -> str:
    held = found.recommended
    if not held["shown"]:
        return "nothing: no claim was over its line with confidence"
    return f"{len(held['items']):,} different items, {held['shown']:,} times, {held['steps']:,} by a further step of a sequence"


def _kills(found: Gathered) -> str:
    if not found.kills:
        return "none asked for (--kill N)"
    return f"{found.kills} times, {found.kills_while_working} of them in the middle of work"


def _number(value: float | None, digits: int = 3) -> str:
    return "none" if value is None else f"{value:.{digits}f}"


def _result(trigger_id: str, row: dict[str, Any], without_model: bool) -> Iterator[str]:
    def rate(goals: int, people: int) -> str:
        return f"{goals / people:.1%}" if people else "-"

    if not row["reasons"]:
        why = "its model has no data" if without_model else "no score was over its line"
        yield f"  {trigger_id:<24}it never decided: {why}"
        return
    treated, held_out = row["treated"], row["held_out"]
    counts = (
        f"  {trigger_id:<24}{treated:>7,}{rate(row['treated_goals'], treated):>7}"
        f"{held_out:>6,}{rate(row['held_out_goals'], held_out):>7}"
    )
    if row["lift"] is None:
        yield f"{counts}{'-':>8}   -100% to +100%"
        yield f"  {'':<24}nobody on one side: the data says nothing"
        return
    yield f"{counts}{row['lift']:>+8.1%}   {row['lift_low']:+.1%} to {row['lift_high']:+.1%}"
    if min(treated, held_out) < PEOPLE_MIN:
        yield f"  {'':<24}few people on one side: one of them moves this a lot"


def _pairs(pairs: list[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in pairs) + 3
    for name, value in pairs:
        yield f"  {name:<{width}}{value}"
