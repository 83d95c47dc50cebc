"""`reflexarc evaluate`: what a model is worth on your own data, before anything is live."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any, Final

import click

from reflexarc_cli.misuse import Misused
from reflexarc_cli.progress import Progress
from reflexarc_core.model import DEVICE_FORMS

LINES: Final = (0.5, 0.7, 0.8)
COST: Final = 1.0
VALUE: Final = 5.0
FILE = click.Path(path_type=Path)


@click.group(short_help="What a model is worth on a file of yours.")
def evaluate() -> None:
    """Train and measure a model on a file, honestly: on rows it never saw, beside the simplest rivals."""


def _options(command: Any) -> Any:
    for option in reversed(
        (
            click.option("--events", type=FILE, metavar="FILE", help="A log of events: CSV, TSV or JSON lines, also .gz."),
            click.option("--map", "mapping", metavar="M", help="Mapping of the log: a YAML file or a shipped name."),
            click.option("--cut", metavar="TIME", help="Where the known ends: labels are what happens after it."),
            click.option("--horizon", metavar="SPAN", help="How long after, such as 90d."),
            click.option("--goal", metavar="EVENT,...", help="Event types that count; the model's own by default."),
            click.option("--active-within", metavar="SPAN", help="Only subjects active so long before; everybody by default."),
            click.option("--table", type=FILE, metavar="FILE", help="One row a subject, with its label: CSV, TSV or JSON lines."),
            click.option("--label", metavar="COLUMN", help="The table's label."),
            click.option("--positive", metavar="VALUE", help="Which of the label's values counts; guessed where it is obvious."),
            click.option("--time", metavar="COLUMN", help="Train on older rows, test on newer ones; five folds without it."),
            click.option("--drop", metavar="COL,...", help="Columns to leave out (not known when the score is made)."),
            click.option("--subject", metavar="COLUMN", help="Whose row it is: a person's rows stay together."),
            click.option("--line", "lines", type=click.FloatRange(0, 1, min_open=True, max_open=True), multiple=True,
                         help=f"Where decisions are measured; {', '.join(map(str, LINES))} by default."),
            click.option("--device-form", type=click.Choice(DEVICE_FORMS), default=DEVICE_FORMS[0], show_default=True,
                         help="What the device gets: symmetric trees, a quantized network, or the forest itself."),
            click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Folds and training."),
            click.option("--report", type=FILE, metavar="FILE.html", help="Write it all as one HTML page."),
            click.option("--cost", type=click.FloatRange(0), help="The report's cost of acting on one subject; 1 by default."),
            click.option("--value", type=click.FloatRange(0), help="The report's worth of a positive one; 5 by default."),
            click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@evaluate.command(short_help="Churn: Random Forest.")
@_options
def churn(**words: Any) -> None:
    """Will this subject stay away? Random Forest, its form for the device, and what both are worth."""
    _run("churn", **words)


@evaluate.command("purchase_intent", short_help="Purchase intent: Gradient Boosting.")
@_options
def purchase_intent(**words: Any) -> None:
    """Will this subject buy? Gradient Boosting, its form for the device, and what both are worth."""
    _run("purchase_intent", **words)


@evaluate.command("content_interest", short_help="Content interest: Collaborative Filtering.")
@click.option("--events", type=FILE, metavar="FILE", required=True, help="A log of events: CSV, TSV or JSON lines, also .gz.")
@click.option("--map", "mapping", metavar="M", help="Mapping of the log: a YAML file or a shipped name.")
@click.option("--k", type=click.IntRange(1, 1_000), default=20, show_default=True, help="Length of the list that is judged.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Training and intervals.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def content_interest(events: Path, mapping: str | None, k: int, seed: int, as_json: bool) -> None:
    """What will this subject want next? The last new item of everybody, looked for in a ranking that never saw it."""
    from reflexarc_cli.evaluating.interest import evaluate_file, page

    figures = {**evaluate_file(events, mapping, k, seed, Progress()), "peak_mb": peak_mb()}
    click.echo(json.dumps(figures) if as_json else page(figures), nl=as_json)


def _run(
    model_id: str, events: Path | None, mapping: str | None, cut: str | None, horizon: str | None, goal: str | None,
    active_within: str | None, table: Path | None, label: str | None, positive: str | None, time: str | None, drop: str | None,
    subject: str | None, lines: tuple[float, ...], device_form: str, seed: int, report: Path | None, cost: float | None,
    value: float | None, as_json: bool,
) -> None:  # fmt: skip
    from reflexarc_cli.evaluating.eventful import EventsOrder, evaluate_events
    from reflexarc_cli.evaluating.html_report import html_report
    from reflexarc_cli.evaluating.page import page
    from reflexarc_cli.evaluating.tabular import TableOrder, evaluate_table
    from reflexarc_models.train.evaluation.worth import report as figures_of

    progress = Progress()
    chosen = tuple(sorted(set(lines or LINES)))
    of_events = {"--map": mapping, "--cut": cut, "--horizon": horizon, "--goal": goal, "--active-within": active_within}
    of_table = {"--label": label, "--positive": positive, "--time": time, "--drop": drop, "--subject": subject}
    if (events is None) == (table is None):
        raise Misused(
            "what is to be evaluated?", hint="--events FILE --map MAP --cut TIME --horizon 90d, or --table FILE --label COLUMN"
        )
    if report is None and (cost is not None or value is not None):
        raise Misused("--cost and --value go into the report", hint="add --report FILE.html")
    if report is not None and not report.absolute().parent.is_dir():
        raise Misused(f"{report.parent} is no folder", hint="the report is written there")
    strange = [name for name, value in (of_table if events is not None else of_events).items() if value is not None]
    if strange:
        raise Misused(f"{strange[0]} does not go with {'--events' if events is not None else '--table'}")
    if events is not None:
        if cut is None or horizon is None:
            raise Misused("when is the log cut, and how far does the label look?", hint="--cut 2011-09-09 --horizon 90d")
        found, data = evaluate_events(
            EventsOrder(model_id, events, mapping, cut, horizon, _names(goal), active_within, chosen, device_form, seed), progress
        )
    else:
        if table is None or label is None:
            raise Misused("which column is the label?", hint="--label COLUMN")
        found, data = evaluate_table(
            TableOrder(model_id, table, label, positive, time, _names(drop), subject, chosen, device_form, seed), progress
        )
    figures = {"model": model_id, "data": data, **figures_of(found), "peak_mb": peak_mb()}
    if report is not None:
        with progress.stage("Writing the report", 1) as step:
            report.write_text(
                html_report(found, figures, COST if cost is None else cost, VALUE if value is None else value), encoding="utf-8"
            )
            step(1)
    click.echo(json.dumps(figures) if as_json else page(figures), nl=as_json)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def peak_mb() -> float:
    """The most memory this process held, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)
