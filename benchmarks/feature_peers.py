"""The peers of `features`: our bucketed definition in polars and DuckDB, with all cores. Owns their queries.

Each is given the log in its own form before anything is timed, in log order, and gives back the five columns in the order it
likes, with the event's number. A window of n buckets that ends with an event's own bucket is everything up to this event
minus everything up to the last event of the buckets before the window; the decayed sum is a landmark sum from the subject's
first event, as neither has one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

NAMES = ("count_7d", "sum_7d", "count_30d", "sum_30d", "decayed")
DAY_MS = 86_400_000
WINDOWS = (("7d", DAY_MS // 4, 28), ("30d", DAY_MS, 30))
HALF_LIFE_MS = 7 * DAY_MS
Run = Callable[[], dict[str, Any]]
PEERS = {"polars, join_asof": "polars", "polars, search_sorted": "polars", "duckdb": "duckdb"}


def missing() -> dict[str, str]:
    """Peers that are not installed here, with what to do."""
    return {
        name: f"{module} is not installed: pip install -c constraints.txt -e '.[bench]'"
        for name, module in PEERS.items()
        if importlib.util.find_spec(module) is None
    }


def present(subjects: Any, times: Any, values: Any) -> dict[str, Run]:
    """Those that are installed, holding the log. subjects: int64 [n]; times: int64 [n], ms, ascending; values: float64 [n]."""
    gone = missing()
    builders = {"polars, join_asof": _join_asof, "polars, search_sorted": _search_sorted, "duckdb": _duckdb}
    return {name: build(subjects, times, values) for name, build in builders.items() if name not in gone}


def _grouped(pl: Any, log: Any) -> Any:
    """By subject, in log order; with the number of the event among its subject's, and the running and the decayed sum."""
    age = (pl.col("t") - pl.col("t").first().over("u")) / HALF_LIFE_MS
    grown = (pl.col("v") * (2.0**age)).cum_sum().over("u")
    return (
        log.with_columns(i=pl.int_range(0, pl.len()))
        .sort("u", maintain_order=True)
        .with_columns(c=pl.int_range(1, pl.len() + 1).over("u"), s=pl.col("v").cum_sum().over("u"), decayed=grown / (2.0**age))
    )


def _join_asof(subjects: Any, times: Any, values: Any) -> Run:
    import polars as pl

    log = pl.DataFrame({"u": subjects, "t": times, "v": values})

    def run() -> dict[str, Any]:
        table = _grouped(pl, log)
        for name, width, count in WINDOWS:
            table = table.with_columns(b=pl.col("t") // width).with_columns(k=pl.col("b") - count)
            ends = table.group_by("u", pl.col("b").alias("e"), maintain_order=True).agg(
                c0=pl.col("c").last(), s0=pl.col("s").last()
            )
            table = table.join_asof(ends, left_on="k", right_on="e", by="u", strategy="backward", check_sortedness=False)
            table = table.with_columns(
                (pl.col("c") - pl.col("c0").fill_null(0)).alias(f"count_{name}"),
                (pl.col("s") - pl.col("s0").fill_null(0.0)).alias(f"sum_{name}"),
            ).select(pl.exclude("b", "k", "e", "c0", "s0"))
        return {name: table[name].to_numpy() for name in ("i", *NAMES)}

    return run


def _search_sorted(subjects: Any, times: Any, values: Any) -> Run:
    """Subject and bucket in one sorted number, so that one search finds where a window begins."""
    import polars as pl

    log = pl.DataFrame({"u": subjects, "t": times, "v": values})
    span = 1 << 20

    def run() -> dict[str, Any]:
        table = _grouped(pl, log).with_columns(place=pl.int_range(0, pl.len()))
        table = table.with_columns(first=pl.col("place").first().over("u"))
        found = {"i": table["i"].to_numpy(), "decayed": table["decayed"].to_numpy()}
        for name, width, count in WINDOWS:
            key = table["u"] * span + table["t"] // width
            begin = key.search_sorted(key - (count - 1), side="left")
            before = pl.DataFrame({"begin": begin, "first": table["first"]}).select(
                at=pl.when(pl.col("begin") > pl.col("first")).then(pl.col("begin").cast(pl.Int64) - 1)
            )["at"]
            found[f"count_{name}"] = (table["c"] - table["c"].gather(before).fill_null(0)).to_numpy()
            found[f"sum_{name}"] = (table["s"] - table["s"].gather(before).fill_null(0.0)).to_numpy()
        return found

    return run


def _duckdb(subjects: Any, times: Any, values: Any) -> Run:
    import duckdb
    import numpy as np

    log = duckdb.connect()
    log.execute("set enable_progress_bar = false")
    log.register("given", {"u": subjects, "t": times, "v": values, "i": np.arange(len(times))})
    log.execute("create table log as select * from given")
    log.unregister("given")
    older = "coalesce({0} over older_{1}, 0) + {0} over own_{1} as {2}_{1}"
    columns = ", ".join(older.format(what, name, label) for name, _, _ in WINDOWS
                        for what, label in (("count(*)", "count"), ("sum(v)", "sum")))  # fmt: skip
    frames = ", ".join(
        f"older_{name} as (partition by u order by b_{name} range between {count - 1} preceding and 1 preceding), "
        f"own_{name} as (partition by u, b_{name} order by i rows unbounded preceding)"
        for name, _, count in WINDOWS
    )
    buckets = ", ".join(f"t // {width} as b_{name}" for name, width, _ in WINDOWS)
    query = (
        f"with log2 as (select u, t, v, i, {buckets}, "
        f"pow(2.0, (t - first_value(t) over (partition by u order by i)) / {HALF_LIFE_MS}.0) as grown from log) "
        f"select i, {columns}, sum(v * grown) over (partition by u order by i rows unbounded preceding) / grown as decayed "
        f"from log2 window {frames}"
    )

    def run() -> dict[str, Any]:
        found: dict[str, Any] = log.execute(query).fetchnumpy()
        return found

    return run
