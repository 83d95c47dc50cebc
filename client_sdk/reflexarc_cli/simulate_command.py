"""`reflexarc simulate`: try a catalog on what happened, before it is live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reflexarc_cli.misuse import Misused
from reflexarc_cli.store_commands import KEY_FILE

if TYPE_CHECKING:
    from reflexarc_cli.simulating.difference import Difference
    from reflexarc_core.catalog import Catalog
    from reflexarc_core.decision import Decision
    from reflexarc_core.simulate import Simulation

CATALOG = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(short_help="What a catalog would have decided over a log.")
@click.option("--catalog", "new_file", required=True, type=CATALOG, help="The catalog to try: YAML, or built.")
@click.option("--against", "old_file", type=CATALOG, help="The one to compare with: what differs is told.")
@click.option(
    "--events", "place", required=True, type=click.Path(path_type=Path, exists=True), metavar="LOG",
    help="A device's store, a file of `reflexarc store export --kind all`, or events as JSON lines.",
)  # fmt: skip
@click.option("--placement", type=click.Choice(["edge", "server"]), default="edge", show_default=True, help="Whose triggers.")
@click.option("--subjects", type=click.Choice(["existing"]), help="Also try the triggers on everybody known at the log's end.")
@click.option("--trigger", "only", multiple=True, help="With --subjects: only these triggers; those that are new by default.")
@click.option("--limit", type=click.IntRange(1), default=1_000_000, help="With --subjects: stop when so many would fire.")
@click.option("--changes", type=click.IntRange(0), default=20, show_default=True, help="How many differences to list.")
@KEY_FILE
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(
    new_file: Path, old_file: Path | None, place: Path, placement: str, subjects: str | None, only: tuple[str, ...], limit: int,
    changes: int, key_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Run a log through a catalog, and through another one to compare: the engine is the one that decides live.

    Nothing is acted on and nothing is written. Events, scores and answers are taken as the log has them; nothing is scored anew,
    so a line that the models were not tabled for has no confidence here. A pattern is no part of a preview: it waits for events.
    """
    from reflexarc.definitions import load_catalog
    from reflexarc_cli.simulating.difference import differ
    from reflexarc_cli.simulating.log import device_of, read_log
    from reflexarc_core.simulate import Simulation

    if (only or limit != 1_000_000) and not subjects:
        raise Misused("--trigger and --limit say for whom a preview is", hint="add --subjects existing")
    new = load_catalog(new_file)
    records = list(read_log(place, key_file, new))
    device_id = device_of(place) if placement == "edge" else ""
    tried = Simulation(new, placement, device_id)
    tried.run(records)
    old = load_catalog(old_file) if old_file is not None else None
    before: list[Decision] = []
    if old is not None:
        other = Simulation(old, placement, device_id)
        other.run(records)
        before = other.decisions
    difference = differ(before, tried.decisions)
    previewed = _preview(tried, new, old, placement, only, limit) if subjects else None
    if as_json:
        click.echo(json.dumps(_plain(tried, new, old, difference, previewed, changes)))
    else:
        _page(tried, old is not None, difference, previewed, changes)


def _preview(
    tried: Simulation, new: Catalog, old: Catalog | None, placement: str, only: tuple[str, ...], limit: int
) -> list[Decision]:
    from reflexarc_core.record import Moment

    of_here = {name: trigger for name, trigger in new.triggers.items() if trigger.placement == placement}
    here = {name for name, trigger in of_here.items() if trigger.pattern is None and not trigger.crossed}
    unknown = sorted(set(only) - here)
    if unknown:
        message = f"no trigger {unknown[0]!r} without a pattern or a segment at {placement}"
        raise Misused(message, hint=f"known: {', '.join(sorted(here)) or 'none'}")
    fresh = here - set(old.triggers if old is not None else ())
    return tried.preview(sorted(only or fresh), Moment(tried.engine.state.engine_time), limit)


def _plain(
    tried: Simulation, new: Catalog, old: Catalog | None, difference: Difference, previewed: list[Decision] | None, changes: int
) -> dict[str, Any]:
    from reflexarc_cli.simulating.difference import differ

    found: dict[str, Any] = {
        "events": tried.event_count,
        "subjects": len(tried.engine.state.subjects),
        "catalog": new.digest,
        "against": old.digest if old is not None else None,
        "conditions_false": tried.engine.condition_counts(),
        **difference.to_json(changes),
    }
    if previewed is not None:
        found["preview"] = {trigger: sides["new"] for trigger, sides in differ([], previewed).to_json(0)["triggers"].items()}
    return found


def _page(tried: Simulation, compared: bool, difference: Difference, previewed: list[Decision] | None, changes: int) -> None:
    click.echo(f"{tried.event_count:,} events of {len(tried.engine.state.subjects):,} subjects")
    if not difference.reasons:
        click.echo("nothing was decided: `--json` says under conditions_false which clause was false")
    for trigger, (old, new) in sorted(difference.reasons.items()):
        click.echo(f"\n{trigger}")
        for reason in sorted(old.keys() | new.keys()):
            was = f"{old[reason]:>10,} -> " if compared else ""
            click.echo(f"  {reason:<17} {was}{new[reason]:>10,}")
    if compared:
        click.echo(f"\n{len(difference.changes):,} decisions of {difference.subjects:,} subjects come out otherwise")
        for change in difference.changes[:changes]:
            one = change.decision
            instance = f" [{one.instance}]" if one.instance else ""
            click.echo(f"  {one.decision_time} {one.trigger_id}{instance} {one.subject}: {change.old} -> {change.new}")
        if len(difference.changes) > changes:
            click.echo(f"  ... and {len(difference.changes) - changes:,} more (--changes)")
    if previewed is not None:
        click.echo(f"\non everybody known at the end: {sum(one.reason == 'FIRED' for one in previewed):,} would fire")
