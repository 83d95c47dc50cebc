"""`reflexarc evaluate sentiment`: what a sentiment model is worth on texts of yours, and the model itself."""

from __future__ import annotations

import json
from pathlib import Path

import click

from reflexarc_cli.evaluate_command import FILE, peak_mb
from reflexarc_cli.misuse import Misused
from reflexarc_cli.progress import Progress


@click.command(short_help="Sentiment of texts: negative, neutral, positive.")
@click.option("--table", type=FILE, metavar="FILE", required=True, help="Texts with a label: CSV, tab-separated or JSON lines.")
@click.option("--text", metavar="COLUMN", required=True, help="Its column of texts: a name, or a number from 1 without a header.")
@click.option("--label", metavar="COLUMN", required=True, help="Its column of labels: words, a known scale, or a mean score.")
@click.option("--negative-to", type=float, metavar="N", help="A number up to this is negative; -0.5 of a mean score.")
@click.option("--positive-from", type=float, metavar="N", help="A number from this on is positive; 0.5 of a mean score.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Folds and training.")
@click.option("--write", "folder", type=FILE, metavar="FOLDER", help="Write the model that was trained on all texts here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def sentiment(
    table: Path, text: str, label: str, negative_to: float | None, positive_from: float | None, seed: int, folder: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Is this text negative, neutral or positive? Measured on texts the model never saw, beside word lists and VADER."""
    from reflexarc_cli.evaluating.sentiment_page import sentiment_page
    from reflexarc_cli.evaluating.texts import read_texts
    from reflexarc_cli.importing.rows import line_count
    from reflexarc_models.train.sentiment.evaluation import STEP_COUNT, evaluate_sentiment

    if (negative_to is None) != (positive_from is None):
        raise Misused("two lines make three classes", hint="give both --negative-to and --positive-from")
    lines = (negative_to, positive_from) if negative_to is not None and positive_from is not None else None
    progress = Progress()
    with progress.stage(f"Reading {table.name}", max(1, line_count(table) if table.is_file() else 1)) as step:
        read = read_texts(table, text, label, lines, step)
    with progress.stage("Training sentiment", STEP_COUNT) as step:
        found = evaluate_sentiment(read.texts, read.labels, seed, step)
    found.figures["warnings"][:0] = read.notes
    if folder is not None:
        found.model.write(folder)
    data = {"file": str(table), "text": text, "label": label, "meaning": read.meaning}
    figures = {"model": "sentiment", "data": data, **found.figures, "peak_mb": peak_mb()}
    click.echo(json.dumps(figures) if as_json else sentiment_page(figures), nl=as_json)
