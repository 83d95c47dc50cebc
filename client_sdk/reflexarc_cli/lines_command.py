"""`reflexarc lines`: which line a capacity asks for, read from what was measured when the live models were trained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import click

from reflexarc_cli.misuse import Misused
from reflexarc_core.errors import ReflexArcError

HEAD: Final = f"{'share':>7} {'line':>7} {'flagged a day':>14} {'fires a day':>12} {'precision':>10} {'recall':>7}"


@click.command(short_help="Which line a capacity asks for.")
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path), help="The server's folder.")
@click.option("--model", "model_id", metavar="MODEL", help="Only this model; needed with --top and --per-day.")
@click.option("--top", metavar="PERCENT", help="At most this share of the score moments, like 5%.")
@click.option("--per-day", type=click.FloatRange(min=0, min_open=True), help="At most this many fires a day.")
@click.option("--form", type=click.Choice(["device", "server"]), default="device", show_default=True, help="Whose scores.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def lines(data: Path, model_id: str | None, top: str | None, per_day: float | None, form: str, as_json: bool) -> None:
    """Which line to write into a condition, from what you can handle: the top 5 %, at most 200 a day.

    Shares are of the newest score moments of the training log; precision and recall of rows the model had not seen.
    """
    from reflexarc_server.distribution import Distribution
    from reflexarc_server.log_reader import LogReader

    if (top is not None or per_day is not None) and model_id is None:
        raise Misused("--top and --per-day are about one model", hint="name it with --model")
    digest = LogReader(data).live_bundle()
    if not digest:
        raise ReflexArcError("no bundle is live on this server", hint="train and activate one first")
    trained = Distribution(data).load(digest).artifacts["server"]
    found = {
        name: artifact.evidence["capacity"][form]
        for name, artifact in trained.items()
        if "capacity" in artifact.evidence and model_id in (None, name)
    }
    if not found:
        known = ", ".join(trained) or "none"
        raise ReflexArcError(
            f"no table for {model_id or 'any model'} in the live bundle", hint=f"its models: {known}; train again"
        )
    if model_id is not None and (top is not None or per_day is not None):
        row = _chosen(found[model_id], _share(top), per_day)
        click.echo(json.dumps(row) if as_json else f"{row['line']}\n{HEAD}\n{_text(row)}")
        return
    click.echo(json.dumps(found) if as_json else "\n".join(_table(name, rows) for name, rows in found.items()))


def _chosen(rows: list[dict[str, Any]], share: float | None, per_day: float | None) -> dict[str, Any]:
    """The lowest line within both bounds; the table's steps decide, not a line between them."""
    fits = [
        row for row in rows if (share is None or row["share"] <= share) and (per_day is None or row["fires_a_day"] <= per_day)
    ]
    if not fits:
        least = rows[0] if rows else None
        raise ReflexArcError(
            "no line of the table is within these bounds",
            hint=f"the highest flags {least['share']:.1%}, {least['fires_a_day']} fires a day" if least else "train on more data",
        )
    return min(fits, key=lambda row: float(row["line"]))


def _share(top: str | None) -> float | None:
    if top is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", top)
    share = float(found[1]) / 100 if found else 0.0
    if not 0.0 < share <= 1.0:
        raise Misused(f"--top {top!r} is no share", hint="write a percentage, like 5%")
    return share


def _table(name: str, rows: list[dict[str, Any]]) -> str:
    return "\n".join([name, HEAD, *(_text(row) for row in rows)])


def _text(row: dict[str, Any]) -> str:
    precision = "-" if row["precision"] is None else f"{row['precision']:.3f}"
    recall = "-" if row["recall"] is None else f"{row['recall']:.3f}"
    return (
        f"{row['share']:>7.1%} {row['line']:>7} {row['flagged_a_day']:>14,} {row['fires_a_day']:>12,} {precision:>10} {recall:>7}"
    )
