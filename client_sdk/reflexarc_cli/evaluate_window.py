"""`reflexarc evaluate optimal_purchase_window`: how well the hours in which somebody buys are foreseen."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from reflexarc_cli.evaluate_command import FILE, peak_mb
from reflexarc_cli.misuse import Misused
from reflexarc_cli.progress import Progress


@click.command("optimal_purchase_window", short_help="The hours of the week in which a subject buys.")
@click.option("--events", type=FILE, metavar="FILE", help="Events: CSV, TSV or JSON lines, read by a mapping.")
@click.option("--map", "mapping", metavar="MAP", help="Mapping: a YAML file, or the name of a shipped one.")
@click.option("--cut", metavar="TIME", help="Hours are learned up to this time and foreseen behind it.")
@click.option("--goal", metavar="EVENT,...", help="Event types that count; what purchase intent is about by default.")
@click.option("--simulated", type=click.IntRange(1, 100), metavar="N", help="In place of a file: made-up people, of N seeds.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Who is tuned on; the first of N.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def optimal_purchase_window(
    events: Path | None, mapping: str | None, cut: str | None, goal: str | None, simulated: int | None, seed: int, as_json: bool
) -> None:
    """In which six hours of their week will they buy? Measured on later occasions, beside a histogram and everybody's curve."""
    from reflexarc_cli.evaluating.window_page import window_page
    from reflexarc_models.train.purchase_window import INTERVAL

    started = time.perf_counter()
    if simulated is not None:
        if events is not None or cut is not None:
            raise Misused("made-up people need no file", hint="either --simulated, or --events and --cut")
        figures = _simulated(seed, simulated)
    elif events is None or cut is None:
        raise Misused("what is to be evaluated?", hint="--events FILE --cut TIME, or --simulated N")
    else:
        names = tuple(name for name in (goal or "").split(",") if name)
        figures = _real(events, mapping, cut, names, seed)
    figures |= {"interval": INTERVAL, "seconds": round(time.perf_counter() - started, 2), "peak_mb": peak_mb()}
    click.echo(json.dumps(figures) if as_json else window_page(figures), nl=as_json)


def _real(events: Path, mapping: str | None, cut: str, goal: tuple[str, ...], seed: int) -> dict[str, Any]:
    from reflexarc_cli.evaluating.eventful import cut_time_of
    from reflexarc_cli.evaluating.occasions import read_occasions
    from reflexarc_cli.importing.reader import choose
    from reflexarc_cli.importing.rows import line_count
    from reflexarc_models.train.purchase_window import evaluate

    file, chosen = choose(events, mapping)
    cut_time = cut_time_of(cut, chosen)
    progress = Progress()
    with progress.stage(f"Reading {file.name} by mapping {chosen.name}", max(1, line_count(file))) as step:
        read = read_occasions(file, chosen, goal, step)
    with progress.stage("Learning the hours of the week", 1) as step:
        fitted, found = evaluate(read.occasions, cut_time, seed)
        step(1)
    data = {"file": str(file), "mapping": chosen.name, "cut": cut, "goal": list(read.goal), "events": read.events}
    return {
        "model": "optimal_purchase_window", "data": data, "runs": [found], "everybody": list(fitted.intensity.everybody),
        "warnings": list(read.notes),
    }  # fmt: skip


def _simulated(seed: int, count: int) -> dict[str, Any]:
    from reflexarc_models.train.purchase_window import evaluate_simulated

    runs = []
    with Progress().stage("Making people up and foreseeing them", count) as step:
        for number in range(seed, seed + count):
            runs.append({"seed": number, **evaluate_simulated(number)})
            step(1)
    least = min(run["hit_rate_vs_raw"] for run in runs)
    return {
        "model": "optimal_purchase_window",
        "data": {"simulated": count},
        "runs": runs,
        "hit_rate_vs_raw_least": least,
        "warnings": [],
    }
