"""`features`: the features of every event of a long log, right behind it; and one event into nine features, in plain Python.

Ours takes the log's columns in log order, groups and folds them with one thread; the peers compute the same bucketed windows
with all cores (`feature_peers`). All values are compared, or the run breaks. Owns the log and what is timed of ours.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import feature_peers
from benchmarks.feature_peers import DAY_MS, HALF_LIFE_MS, NAMES, WINDOWS
from benchmarks.frame import Goal, Report, Row, interleaved, latency_figures, ratio
from benchmarks.machine import machine

GOALS = (
    Goal("vs_fastest_peer", at_least=3),
    Goal("max_abs_diff", at_most=1e-9),
    Goal("online_us_p50", at_most=5),
)
SEED = 20261126
START = 1_700_000_000_000
SLOW = ("duckdb",)  # measured once a run


def run(*, quick: bool) -> Report:
    """Measure everything; the report."""
    report = Report("features", machine(), goals=GOALS, missing=feature_peers.missing())
    events, people, rounds = (400_000, 8_000, 2) if quick else (5_000_000, 100_000, 5)
    subjects, times, values = _log(events, people)
    ours = _ours(subjects, times, values, people)
    ours()  # compiled by the first fold, as a server that trains has it
    peers = feature_peers.present(subjects, times, values)
    expected, gaps = _in_log_order(ours()), {}
    for name, ask in peers.items():
        found = _in_log_order(ask())
        gaps[name] = max(float(abs(found[column] - expected[column]).max()) for column in NAMES)
        if gaps[name] > 1e-6:
            raise RuntimeError(f"{name}: its values are not ours, {gaps[name]:.3g} apart")
    case = f"{events:,} events of {people:,} people"
    asks: dict[str, Callable[[], Any]] = {"reflexarc": ours, **{n: a for n, a in peers.items() if n not in SLOW}}
    results = interleaved(rounds, {name: partial(_seconds, ask) for name, ask in asks.items()})
    results |= {name: [_seconds(peers[name], 0)] for name in SLOW if name in peers}
    for name, seconds in results.items():
        rates = [round(events / one) for one in seconds]
        figures: dict[str, Any] = {"rate": sorted(rates)[len(rates) // 2], "rate_rounds": rates}
        figures |= {"max_abs_diff": float(f"{gaps[name]:.3g}")} if name in gaps else {}
        report.rows.append(Row(name, case, events * len(seconds), figures))
    mine = report.row("reflexarc", case)
    rates_of_peers = [row.figure("rate") for row in report.rows if row.who != "reflexarc"]
    fastest = max((rate for rate in rates_of_peers if rate is not None), default=None)
    report.ratios["vs_fastest_peer"] = ratio(mine.figure("rate") if mine else None, fastest)
    report.ratios["max_abs_diff"] = float(f"{max(gaps.values()):.3g}") if gaps else None
    online = latency_figures([_online(2_000 if quick else 20_000) for _ in range(rounds)])
    report.rows.append(Row("reflexarc", "online: one event, nine features read", rounds, online))
    report.ratios["online_us_p50"] = online["p50_us"]
    report.notes.append("rate: rows a second, from columns in log order to five features behind every event; ours one thread")
    return report


def _log(count: int, people: int) -> tuple[Any, Any, Any]:
    """(subjects, times, values) in log order over 90 days; some people do far more than others."""
    import numpy as np

    seeded = np.random.default_rng(SEED)
    share = seeded.lognormal(0.0, 1.0, people)
    subjects = seeded.choice(people, size=count, p=share / share.sum()).astype(np.int64)
    times = START + np.sort((seeded.random(count) * 90 * DAY_MS).astype(np.int64))
    return subjects, times, np.round(seeded.gamma(2.0, 20.0, count), 2)


def _ours(subjects: Any, times: Any, values: Any, people: int) -> Callable[[], dict[str, Any]]:
    import numpy as np

    from reflexarc_core.feature import Contribution, FeatureDefinition, Layout
    from reflexarc_models.train.rows.log_columns import Columns, features_behind_events

    bought, spent = (Contribution("purchase"),), (Contribution("purchase", 1.0, "amount"),)
    definitions = [
        FeatureDefinition(f"{kind}_{name}", kind, of, window_ms=width * count, bucket_ms=width)
        for name, width, count in WINDOWS
        for kind, of in (("count", bought), ("sum", spent))
    ]
    definitions.append(FeatureDefinition("decayed", "decayed_sum", spent, half_life_ms=HALF_LIFE_MS))
    layout = Layout(definitions)
    names = [f"known:{number}" for number in range(people)]
    log = Columns(subjects, names, np.zeros(len(times), np.int8), ("purchase",), times, times, {"amount": values})

    def run() -> dict[str, Any]:
        [(places, rows)] = features_behind_events(layout, log)
        return {"i": places, **{slot.definition.name: rows[:, at] for at, slot in enumerate(layout.slots)}}

    return run


def _in_log_order(found: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    order = np.argsort(found["i"])
    return {name: np.asarray(found[name], dtype=np.float64)[order] for name in NAMES}


def _seconds(ask: Callable[[], Any], _: int) -> float:
    gc.collect()
    start = time.perf_counter()
    ask()
    return time.perf_counter() - start


def _online(count: int) -> list[int]:
    """Nanoseconds of folding one event into a person's vector and reading all nine standard features, event by event."""
    import random

    from reflexarc_build.reader import build_text
    from reflexarc_core.feature import Layout
    from reflexarc_core.feature_source import Older, compile_read

    layout = Layout(list(build_text("include: standard\nversion: features").features.values()))
    assert len(layout.slots) == 9
    drawn = random.Random(SEED)
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("page_view", {"page_url": "/a", "time_on_page": 3.0}), ("content_view", {"content_id": "c", "time_spent": 31.5}),
        ("product_interaction", {"product_id": "p", "kind": "view"}), ("purchase", {"amount": 20.0}),
        ("email_open", {"message_id": "m"}), ("social_share", {"platform": "x"}), ("support_ticket", {}),
    )  # fmt: skip
    read = compile_read(layout.slots, ())  # as the engine reads what its conditions and models name
    people: list[tuple[list[float], Older]] = [(layout.empty(), {}) for _ in range(100)]
    now, taken = START, []
    for _ in range(count):
        now += drawn.randrange(60_000)
        event_type, properties = drawn.choice(kinds)
        vector, older = drawn.choice(people)
        start = time.perf_counter_ns()
        layout.fold(vector, event_type, properties, now)
        read(vector, older, {}, now)
        taken.append(time.perf_counter_ns() - start)
    return taken
