"""`reflexarc drift`: what live models are shown and say, against what they were trained on, as a table or as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from reflexarc_cli.progress import Progress

DAY_MS: Final = 86_400_000
WORDS: Final = ((0.1, "steady"), (0.25, "moved"), (float("inf"), "shifted"))


@click.command(short_help="What live models see and say, against their training.")
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path), help="The server's folder.")
@click.option("--catalog", type=click.Path(path_type=Path), help="Catalog of the models; the shipped one by default.")
@click.option("--days", type=click.IntRange(1, 3_650), default=30, show_default=True, help="Days back from the newest score.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def drift(data: Path, catalog: Path | None, days: int, as_json: bool) -> None:
    """Per model and version: how far inputs and scores have moved since training, and what came of the scores.

    The index is the population stability index: under 0.1 steady, over 0.25 shifted. Outcomes are of people nobody acted on.
    """
    from reflexarc.definitions import load_catalog
    from reflexarc_cli.drift import drift as measure
    from reflexarc_server.log_reader import LogReader

    newest = LogReader(data).newest_score_time()
    report = measure(data, load_catalog(catalog), newest - days * DAY_MS, Progress())
    click.echo(json.dumps(report) if as_json else _page(report), nl=True)


def _page(report: dict[str, Any]) -> str:
    lines: list[str] = []
    for model_id, versions in report["models"].items():
        lines.append(model_id)
        for said in versions:
            form = f"version {said['version']}, {said['form']}" if "form" in said else said["unknown"]
            lines.append(
                f"  {said['artifact'][:12]} ({form}{', live' if said['live'] else ''}): {said['scores']:,} scores,"
                f" {_day(said['first_time'])} to {_day(said['last_time'])}"
            )
            for name, value in {**said.get("inputs", {}), "its scores": said.get("score")}.items():
                if value is not None:
                    lines.append(f"    {name:<28} {value:>7.3f}  {_word(value)}")
            outcomes = said["outcomes"]
            if outcomes and outcomes["rows"]:
                lines.append(
                    f"    of {outcomes['rows']:,} whose outcome is known, {outcomes['rate']:.1%} did; the scores said"
                    f" {outcomes['score_mean']:.1%} (Brier {outcomes['brier']:.3f})"
                )
            elif outcomes is not None:
                lines.append("    no outcome is known yet")
    return "\n".join(lines)


def _word(value: float) -> str:
    return next(word for limit, word in WORDS if value < limit) if value == value else "nothing to compare"


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1_000, UTC).strftime("%Y-%m-%d")
