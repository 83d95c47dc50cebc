"""What the demo found, and whether what must hold holds.

Owns the count of lost and doubly applied events: the ledgers the devices kept outside their clients, against what the
server's own log holds and folded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reflexarc_cli.demo.recommended import Recommended
from reflexarc_cli.demo.source import Source, cut_text
from reflexarc_core.catalog import Catalog
from reflexarc_server.log_reader import applied_event_ids


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that must hold."""

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """The demo's results; `to_json` is what `--json` prints."""

    source: str
    simulated: bool
    cut: str
    days: int
    outage_days: tuple[int, int]
    events_captured: int
    events_applied: int
    lost: int
    duplicates: int
    decisions: dict[str, int]
    offline_decisions: int
    offline_scored: int
    escalations: int
    models: dict[str, Any]
    triggers: dict[str, Any]
    lift: dict[str, Any]
    kills: int
    kills_while_working: int
    seconds: float
    pss_mb_peak: float
    devices: int
    subjects: int
    bundle: str
    placebo: bool
    features_without_events: list[str]
    triggers_without_model: list[str]
    recommended: dict[str, Any]
    device_errors: list[str] = field(default_factory=list)
    invariants: list[Invariant] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Every invariant holds."""
        return all(invariant.holds for invariant in self.invariants)

    def to_json(self) -> dict[str, Any]:
        """One JSON-able object."""
        return asdict(self)


def gather(
    folder: Path,
    source: Source,
    *,
    summaries: Sequence[Mapping[str, Any]],
    results: Mapping[str, Any],
    status: Mapping[str, Any],
    training: Mapping[str, Any],
    kill_counts: tuple[int, int],
    days: int,
    outage: tuple[int, int],
    seconds: float,
    pss_mb_peak: float,
) -> Gathered:
    """Bring the counts together and check them."""
    acked = [event_id for ledger in sorted(folder.glob("device-*/ledger.txt")) for event_id in ledger.read_text().split()]
    applied = Counter(applied_event_ids(folder / "server"))
    lost = len(set(acked) - set(applied))
    doubled = sum(count - 1 for count in applied.values() if count > 1)
    folded_twice = max(0, int(status["folded_count"]) - len(applied))
    decisions: Counter[str] = Counter()
    for summary in summaries:
        decisions.update(summary["decisions"])
    captured = sum(int(summary["events"]) for summary in summaries)
    gathered = Gathered(
        source=source.name,
        simulated=source.simulated,
        cut=cut_text(source),
        days=days,
        outage_days=(outage[0] + 1, outage[1]),
        events_captured=captured,
        events_applied=len(applied),
        lost=lost,
        duplicates=doubled + folded_twice,
        decisions=dict(sorted(decisions.items())),
        offline_decisions=sum(int(summary["offline_decisions"]) for summary in summaries),
        offline_scored=sum(int(summary["offline_scored"]) for summary in summaries),
        escalations=sum(int(summary["escalations"]) for summary in summaries),
        models=dict(training["models"]),
        triggers=dict(results["triggers"]),
        lift={trigger_id: _lift(row) for trigger_id, row in results["triggers"].items()},
        kills=kill_counts[0],
        kills_while_working=kill_counts[1],
        seconds=round(seconds, 1),
        pss_mb_peak=round(pss_mb_peak),
        devices=len(summaries),
        subjects=int(status["subjects"]),
        bundle=str(training["bundle"]),
        placebo=not source.reacts,
        features_without_events=list(training["features_without_events"]),
        triggers_without_model=_without_model(source.catalog, training["models"]),
        recommended=Recommended.together(summary["recommended"] for summary in summaries).to_json(),
        device_errors=[error for summary in summaries for error in summary["errors"]],
    )
    gathered.invariants.extend(_check(gathered, len(acked), int(status["folded_count"]), status["decisions"]))
    return gathered


def _without_model(catalog: Catalog, models: Mapping[str, Any]) -> list[str]:
    """Triggers that read a model there was no data for."""
    missing = {model.output for model in catalog.models.values() if "auc" not in models.get(model.model_id, {})}
    return sorted(trigger_id for trigger_id, trigger in catalog.triggers.items() if missing & set(trigger.condition.reads))


def _lift(row: Mapping[str, Any]) -> dict[str, Any]:
    """Lift and 95 % interval; without people on both sides every difference of two shares is possible."""
    known = row["lift"] is not None
    return {
        "lift": row["lift"],
        "low": row["lift_low"] if known else -1.0,
        "high": row["lift_high"] if known else 1.0,
        "treated": row["treated"],
        "held_out": row["held_out"],
    }


def _check(found: Gathered, acked_count: int, folded_count: int, server_decisions: Mapping[str, int]) -> list[Invariant]:
    trained = [name for name, model in found.models.items() if "auc" in model]
    checked = [
        Invariant("no acknowledged event is lost", found.lost == 0, f"{acked_count:,} acknowledged, {found.lost} missing"),
        Invariant("no event is applied twice", found.duplicates == 0, f"{found.duplicates} applied again"),
        Invariant(
            "the server folded what the devices captured",
            folded_count == found.events_applied >= found.events_captured,
            f"{found.events_captured:,} captured, {found.events_applied:,} applied, {folded_count:,} folded",
        ),
        Invariant(
            "the server holds the devices' decisions",
            dict(server_decisions) == found.decisions,
            f"{sum(server_decisions.values()):,} there, {sum(found.decisions.values()):,} here",
        ),
    ]
    if found.recommended["shown"]:
        shown, repeats = found.recommended["shown"], found.recommended["repeats"]
        checked.append(Invariant("no sequence showed an item twice", repeats == 0, f"{repeats} of {shown:,} shown again"))
    if found.decisions:  # where no score is over its line, online or not, there is nothing to decide
        checked.append(
            Invariant("decisions were made with the server away", found.offline_decisions > 0, f"{found.offline_decisions:,}")
        )
    if trained:  # without a model there is nothing to score
        checked.append(
            Invariant("scores were computed with the server away", found.offline_scored > 0, f"{found.offline_scored:,}")
        )
    return checked
