"""The frame every benchmark stands in: rows, goals, rounds, and how both are printed.

Owns the form of the output. A row is one (who, case); its figures are medians over rounds, so that one round on a busy
machine moves nothing. Must never know what is measured.
"""

import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of one variant in one case: n calls in all, latencies in microseconds, rate a second, and more by name."""

    who: str
    case: str
    n: int
    figures: Mapping[str, Any]

    def figure(self, name: str) -> float | None:
        """A figure by name, None when it was not measured."""
        value = self.figures.get(name)
        return float(value) if isinstance(value, int | float) else None


@dataclass(frozen=True, slots=True)
class Goal:
    """What a key of `ratios` should reach. at_most and at_least are None where the figure is only printed."""

    name: str
    at_most: float | None = None
    at_least: float | None = None

    def judged(self, value: float | None) -> dict[str, Any]:
        """The goal beside its value. A value that could not be measured does not hold; a printed one has no verdict."""
        if self.at_most is None and self.at_least is None:
            return {"value": value, "goal": "printed", "holds": None}
        text = f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"
        holds = value is not None and (
            (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)
        )
        return {"value": value, "goal": text, "holds": holds}


@dataclass(slots=True)
class Report:
    """All that one benchmark found. `missing` names a peer that could not be measured, with what to do about it."""

    bench_id: str
    machine: Mapping[str, Any]
    rows: list[Row] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ratios: dict[str, float | None] = field(default_factory=dict)
    goals: Sequence[Goal] = ()

    def row(self, who: str, case: str) -> Row | None:
        """The row of a variant in a case."""
        return next((row for row in self.rows if (row.who, row.case) == (who, case)), None)

    def fastest(self, names: Iterable[str], case: str, figure: str) -> float | None:
        """The smallest figure among these variants in a case, None when none was measured."""
        rows = [row for name in names if (row := self.row(name, case)) is not None]
        found = [value for row in rows if (value := row.figure(figure)) is not None]
        return min(found) if found else None

    def lines(self) -> list[dict[str, Any]]:
        """The report as JSON objects: the machine, the rows, who is missing, notes, and last the ratios and goals."""
        lines: list[dict[str, Any]] = [{"id": self.bench_id, "machine": dict(self.machine)}]
        lines += [{"id": self.bench_id, "who": r.who, "case": r.case, "n": r.n, **r.figures} for r in self.rows]
        lines += [{"id": self.bench_id, "who": who, "missing": why} for who, why in self.missing.items()]
        lines += [{"id": self.bench_id, "note": note} for note in self.notes]
        judged = {goal.name: goal.judged(self.ratios.get(goal.name)) for goal in self.goals}
        lines.append({"id": self.bench_id, "ratios": self.ratios, "goals": judged})
        return lines

    def print(self, as_json: bool, out: TextIO = sys.stdout) -> None:
        """Write the report, one JSON object a line or as a table."""
        if as_json:
            for line in self.lines():
                print(json.dumps(line), file=out)
        else:
            print(_table(self), file=out)


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Ours divided by theirs to four digits, None when either is not there."""
    if ours is None or not theirs:
        return None
    return float(f"{ours / theirs:.4g}")


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of an ascending sequence does not exceed (nearest rank, so always a measured value)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latency_figures(rounds: Sequence[Sequence[int]], rates: Sequence[float] = ()) -> dict[str, Any]:
    """Figures of rounds of latencies in nanoseconds: medians over the rounds, max over all, spread of the medians."""
    ordered = [sorted(one) for one in rounds]
    figures: dict[str, Any] = {}
    for name, share in (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)):
        figures[name] = _us(statistics.median(percentile(one, share) for one in ordered))
    figures["max_us"] = _us(max(one[-1] for one in ordered))
    if rates:
        figures["rate"] = round(statistics.median(rates))
    figures["p50_us_rounds"] = [_us(percentile(one, 0.5)) for one in ordered]
    figures["p99_us_rounds"] = [_us(percentile(one, 0.99)) for one in ordered]
    return figures


def interleaved(rounds: int, variants: Mapping[str, Callable[[int], T]]) -> dict[str, list[T]]:
    """Run every variant once a round, A B C A B C; every second round the other way round, so nobody is always first."""
    results: dict[str, list[T]] = {name: [] for name in variants}
    for number in range(rounds):
        order = list(variants)[:: 1 if number % 2 == 0 else -1]
        for name in order:
            results[name].append(variants[name](number))
    return results


def _us(nanoseconds: float) -> float:
    return float(f"{nanoseconds / 1000:.4g}")


COLUMNS = ("n", "p50_us", "p99_us", "p999_us", "max_us", "rate")


def _table(report: Report) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    parts = [f"{report.bench_id}   ({machine})", ""]
    header = ("case", "who", *COLUMNS, "more")
    body = []
    for row in report.rows:
        cells = {"n": row.n, **row.figures}
        more = "  ".join(f"{k} {_text(v)}" for k, v in row.figures.items() if k not in COLUMNS and not isinstance(v, list))
        body.append((row.case, row.who, *(_text(cells.get(name)) for name in COLUMNS), more))
    if body:
        widths = [max(len(line[place]) for line in (header, *body)) for place in range(len(header))]
        for line in (header, *body):
            cells_text = (cell.ljust(w) if i < 2 or i == len(line) - 1 else cell.rjust(w)
                          for i, (cell, w) in enumerate(zip(line, widths, strict=True)))  # fmt: skip
            parts.append("  ".join(cells_text).rstrip())
        parts.append("")
    parts += [f"missing: {who}: {why}" for who, why in report.missing.items()]
    parts += [f"note: {note}" for note in report.notes]
    for goal in report.goals:
        judged = goal.judged(report.ratios.get(goal.name))
        verdict = {True: "holds", False: "does not hold", None: ""}[judged["holds"]]
        parts.append(f"{goal.name:34}{_text(judged['value']):>10}   goal {judged['goal']:10}{verdict}".rstrip())
    return "\n".join(parts)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
