"""`reflexarc train`: once, only what is due, or staying to train each model when its time has come.

Owns the words of that command and its waiting; what is due is `retraining`'s, what is trained `training`'s.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from reflexarc_cli.access import Access, with_access
from reflexarc_cli.misuse import Misused
from reflexarc_cli.progress import Progress
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import ReflexArcError

LOOK_S: Final = 60.0
"""How long a staying run sleeps at most before it looks at the clock again: clocks are set, machines sleep."""
RETRY_MS: Final = 600_000
"""Pause after a run that failed."""


@click.command(short_help="Train models on a server's log.")
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path), help="The server's folder.")
@click.option("--catalog", type=click.Path(path_type=Path), help="Catalog to train for; the shipped one by default.")
@click.option("--until", type=int, help="Look at events up to this time only (ms since 1970).")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True, help="Equal log and seed: equal models.")
@click.option("--model", "models", multiple=True, metavar="MODEL", help="Only this model; may be given again.")
@click.option("--due", is_flag=True, help="Only models whose `update` has passed since they were last trained.")
@click.option("--stay", is_flag=True, help="Stay, and train each model whenever it is due.")
@click.option("--ungated", is_flag=True, help="Publish a new model even where it is worse than the live one.")
@click.option("--activate", metavar="ADDRESS", help="Make the bundle live on the server at this address.")
@click.option("--json-file", type=click.Path(path_type=Path), help="Write the report here, as JSON.")
@with_access
def train(
    data: Path, catalog: Path | None, until: int | None, seed: int, models: tuple[str, ...], due: bool, stay: bool, ungated: bool,
    activate: str | None, json_file: Path | None, access: Access,
) -> None:  # fmt: skip
    """Train the models on the server's log and write a bundle of those that may go live.

    A new model is compared with the live one on rows newer than its own training; a worse one is refused, and the live one's
    tables are renewed from the newest labels. An interrupted run goes on where it was.
    """
    from reflexarc.definitions import load_catalog

    if models and (due or stay):
        raise Misused("--model names what to train, --due and --stay find it out", hint="give one or the other")
    if stay and until is not None:
        raise Misused("--stay follows the clock, --until stands still", hint="give one or the other")
    run = Training(data, load_catalog(catalog), seed, access, activate, gated=not ungated, json_file=json_file)
    if stay:
        run.stay()
    elif due:
        run.due(until)
    else:
        run.now(until, list(models) or None)


class Training:
    """Runs of one server's folder with the same choices."""

    def __init__(
        self,
        data: Path,
        catalog: Catalog,
        seed: int,
        access: Access,
        activate: str | None,
        *,
        gated: bool,
        json_file: Path | None,
    ) -> None:
        self._data = data
        self._catalog = catalog
        self._seed = seed
        self._access = access
        self._activate = activate
        self._gated = gated
        self._json_file = json_file

    def now(self, until: int | None, only: list[str] | None) -> None:
        """Train these models, None for every one."""
        from reflexarc_cli.training import train as train_all

        report = train_all(self._data, self._catalog, until, self._seed, Progress(), only, gated=self._gated)
        if self._json_file is not None:
            self._json_file.write_text(json.dumps(report))
        for model_id, said in report["models"].items():
            click.echo(_line(model_id, said))
        click.echo(f"bundle {report['bundle']}")
        if self._activate is not None:
            backend = self._access.backend(self._activate)
            backend.activate(report["bundle"])
            backend.close()
            click.echo(f"live on {self._activate}")

    def due(self, until: int | None) -> int:
        """Train what is due and give the time (ms) at which the next is."""
        from reflexarc_cli.retraining import Schedule
        from reflexarc_server.clock import SystemClock

        schedule = Schedule(self._data)
        now = SystemClock().now_ms() if until is None else until
        names = schedule.due(self._catalog, now)
        if names:
            self.now(until, names)
        following = schedule.next_due(self._catalog, now)
        if following is None:
            raise ReflexArcError("the catalog has no model to train")
        if not names:
            click.echo(f"nothing is due until {_said(following)}")
        return following

    def stay(self) -> None:
        """Train each model when it is due, until the process is told to end. A run that fails is tried again later."""
        from reflexarc_cli.retraining import Schedule
        from reflexarc_server.clock import SystemClock

        clock, schedule, never = SystemClock(), Schedule(self._data), threading.Event()
        told = 0
        while True:
            now = clock.now_ms()
            following = schedule.next_due(self._catalog, now)
            if following is None:
                raise ReflexArcError("the catalog has no model to train")
            if following <= now:
                try:
                    self.due(None)
                    continue
                except ReflexArcError as error:
                    click.echo(f"reflexarc: {error}; tried again in {RETRY_MS // 60_000} minutes", err=True)
                    following = now + RETRY_MS
            elif following != told:
                click.echo(f"nothing is due until {_said(following)}")
                told = following
            while (left := (following - clock.now_ms()) / 1_000) > 0:
                never.wait(min(left, LOOK_S))


def _line(model_id: str, said: dict[str, Any]) -> str:
    if "auc" not in said:
        return f"{model_id}: no data, {said['no_data']}"
    verdict = said["verdict"]
    text = (
        f"{model_id}: AUC {said['auc']:.3f} (recency alone {said['auc_recency']:.3f}), {said['rows']:,} rows,"
        f" {said['device_bytes']:,} bytes on the device"
    )
    if not verdict["promoted"]:
        kept = "its tables are renewed" if verdict["renewed"] else "as it is"
        text += f"\n  refused: {'; '.join(verdict['reasons'])}. Version {verdict['version']} stays live, {kept}"
    elif verdict["reasons"]:
        text += f"\n  note: {'; '.join(verdict['reasons'])}"
    return text


def _said(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M UTC")
