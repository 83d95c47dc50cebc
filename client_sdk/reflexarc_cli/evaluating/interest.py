"""From a file of events to the evaluation of content interest: the stages, the figures, the page for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reflexarc.definitions import load_catalog
from reflexarc_cli.importing.conversion import Accepted, Rejected
from reflexarc_cli.importing.mapping import all_event_types
from reflexarc_cli.importing.reader import choose, read_events
from reflexarc_cli.importing.rows import line_count
from reflexarc_cli.progress import Progress
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import Event
from reflexarc_models.train.ranking.evaluation import evaluate_interest
from reflexarc_models.train.ranking.interactions import Interactions, gather

STEP_ROWS = 2_000


def evaluate_file(file: Path, mapping: str | None, k: int, seed: int, progress: Progress) -> dict[str, Any]:
    """The figures of a log. Raises ReflexArcError in one line for a log that cannot be used."""
    log, data = _read(file, mapping, progress)
    with progress.stage("Choosing settings, fitting, measuring", 1) as step:
        figures = evaluate_interest(log, k, seed, progress.note)
        step(1)
    return {"model": "content_interest", "algorithm": "collaborative_filtering", "data": data, **figures}


def _read(path: Path, given: str | None, progress: Progress) -> tuple[Interactions, dict[str, Any]]:
    catalog = load_catalog(None)
    file, mapping = choose(path, given)
    types: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    first_reason = ""
    repeated = 0

    def events() -> Iterator[Event]:
        nonlocal first_reason, repeated
        seen: set[str] = set()
        for read, outcome in enumerate(read_events(file, mapping, all_event_types(catalog.event_types, mapping)), start=1):
            if read % STEP_ROWS == 0:
                step(STEP_ROWS)
            if isinstance(outcome, Rejected):
                rejected[outcome.code] += 1
                first_reason = first_reason or f"row {outcome.row_number}: {outcome.reason}"
            if not isinstance(outcome, Accepted):
                continue
            if mapping.event_id_columns:
                if outcome.event.event_id in seen:
                    repeated += 1
                    continue
                seen.add(outcome.event.event_id)
            types[outcome.event.event_type] += 1
            yield outcome.event

    with progress.stage(f"Reading {file.name} by mapping {mapping.name}", max(1, line_count(file))) as step:
        log = gather(events())
    if not len(log):
        met = f"{types.total():,} events ({', '.join(types)})" if types else f"no event ({first_reason or 'no rows'})"
        raise DefinitionError(
            f"{file} tells of no item: {met}", hint="items are the content_id of content_view and social_share: map them"
        )
    notes = []
    if rejected:
        notes.append(f"{rejected.total():,} rows are no events ({first_reason})")
    if repeated:
        notes.append(f"{repeated:,} rows repeat the id of an earlier one and were left out")
    data = {"file": str(file), "mapping": mapping.name, "events": types.total(), "notes": notes}
    return log, data


def page(figures: Mapping[str, Any]) -> str:
    """The whole page, ending with a line break."""
    return "\n".join(_lines(figures)) + "\n"


def _lines(f: Mapping[str, Any]) -> Iterator[str]:
    k = f["k"]
    title = f"content_interest: collaborative filtering on {f['data']['file']}"
    yield title
    yield "=" * len(title)
    size = f"{f['interactions']:,} interactions of {f['subjects']:,} subjects with {f['items']:,} items"
    yield f"{size}; {f['measured']:,} measured"
    yield f"protocol: {f['protocol']}"
    yield f"{f['targets_unknown_share']:.1%} of the held-back items were never seen before: nobody can find them"
    yield ""
    names = (f"recall@{k}", "ndcg@10", "ndcg@100")
    yield f"{'who ranks':<34}" + "".join(f"{name:>11}   {'95 %':<15}" for name in names)
    yield _row("content interest, as shown", f, names)
    if f["untied"]:
        yield _row("  where the order in time is known", f["untied"], names)
    for name, of in f["variants"].items():
        yield _row(f"  {name.replace('_', ' ')}", of, names)
    for name, of in f["baselines"].items():
        yield _row(name.replace("_", " "), of, names)
    yield ""
    for name, of in f["gain"].items():
        parts = [f"{of[each]:+.4f} {each} ({_between(of, each, '+')})" for each in (f"recall@{k}", "ndcg@10")]
        yield f"ahead of {name.replace('_', ' ')} by {', '.join(parts)}"
    s = f["settings"]
    yield ""
    yield (
        f"chosen on validation: {s['dimension']} factors, w0 {s['unobserved_weight']}, regulariser {s['regulariser']};"
        f" {s['links']} links over the last {s['link_window']}, share {s['link_share']}; diversity {s['diversity']}"
    )
    yield (
        f"int8 costs {f['int8_loss_ndcg_100']:+.4f} NDCG@100 (first ten alike: {f['int8_top_10_overlap']:.1%});"
        f" {f['bytes']:,} bytes; {f[f'coverage@{k}']:.1%} of the items are in somebody's first {k}"
    )
    yield f"one more interaction and the next ten items: {f['live_update_us_p50']} us"
    if f["targets_tied_share"] > 0.01:
        tied = f"{f['targets_tied_share']:.1%} of the held-back items"
        yield f"note: {tied} have the time of the one before: their order is the file's"
    for text in f["data"]["notes"]:
        yield f"note: {text}"
    yield ""
    yield f"{f['interval']}; {f['seconds']:.0f} s, {f['peak_mb']:.0f} MB peak"


def _row(name: str, of: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return f"{name:<34}" + "".join(f"{of[each]:>11.4f}   {_between(of, each):<15}" for each in names)


def _between(of: Mapping[str, Any], name: str, sign: str = "") -> str:
    low, high = of[f"{name}_interval"]
    return f"{low:{sign}.3f} to {high:{sign}.3f}"
