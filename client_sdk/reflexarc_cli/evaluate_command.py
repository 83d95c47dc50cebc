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

LINES: Final = (0.5, 0.7, 0.8)
FILE = click.Path(path_type=Path)


@click.group(short_help="What a model is worth on a file of yours.")
def evaluate() -> None:
    """Train and measure a model on a file, honestly: on rows it never saw, beside the simplest rivals."""


def _options(command: Any) -> Any:
    for option in reversed(
        (
            click.option("--table", type=FILE, metavar="FILE", help="One row a subject, with its label: CSV, TSV or JSON lines."),
            click.option("--label", metavar="COLUMN", help="The table's label."),
            click.option("--positive", metavar="VALUE", help="Which of the label's values counts; guessed where it is obvious."),
            click.option("--time", metavar="COLUMN", help="Train on older rows, test on newer ones; five folds without it."),
            click.option("--drop", metavar="COL,...", help="Columns to leave out (not known when the score is made)."),
            click.option("--subject", metavar="COLUMN", help="Whose row it is: a person's rows stay together."),
            click.option("--line", "lines", type=click.FloatRange(0, 1, min_open=True, max_open=True), multiple=True,
                         help=f"Where decisions are measured; {', '.join(map(str, LINES))} by default."),
            click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Folds and training."),
            click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@evaluate.command(short_help="Churn: Random Forest.")
@_options
def churn(**words: Any) -> None:
    """Will this subject stay away? Random Forest, its student for the device, and what both are worth."""
    _run("churn", **words)


@evaluate.command("purchase_intent", short_help="Purchase intent: Gradient Boosting.")
@_options
def purchase_intent(**words: Any) -> None:
    """Will this subject buy? Gradient Boosting, its student for the device, and what both are worth."""
    _run("purchase_intent", **words)


def _run(
    model_id: str, table: Path | None, label: str | None, positive: str | None, time: str | None, drop: str | None,
    subject: str | None, lines: tuple[float, ...], seed: int, as_json: bool,
) -> None:  # fmt: skip
    from reflexarc_cli.evaluating.page import page
    from reflexarc_cli.evaluating.tabular import TableOrder, evaluate_table
    from reflexarc_models.train.evaluation import report

    if table is None or label is None:
        raise Misused("what is to be evaluated?", hint="--table FILE --label COLUMN")
    dropped = tuple(name for name in (drop or "").split(",") if name)
    chosen = tuple(sorted(set(lines or LINES)))
    order = TableOrder(model_id, table, label, positive, time, dropped, subject, chosen, seed)
    found, data = evaluate_table(order, Progress())
    figures = {"model": model_id, "data": data, **report(found), "peak_mb": peak_mb()}
    click.echo(json.dumps(figures) if as_json else page(figures), nl=as_json)


def peak_mb() -> float:
    """The most memory this process held, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)
