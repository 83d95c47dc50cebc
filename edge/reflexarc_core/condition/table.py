"""Many conditions at once: what every value says of all clauses over it is looked up, and the answers are combined.

A clause is a *lane*, one byte of a wide integer, 1 where the clause is true. Comparisons of one value with constants share a
row: the value's place among the sorted constants (or the constant it equals) gives the lanes of all of them. So an event
costs a look-up for every value that is compared and one test for every other clause, not a test for every condition. That
the lanes are bytes makes counting an addition, for up to 255 events. Owns the lanes, what happens when a value is absent,
and the counts of this form. Must never decide what a clause means: that is `source`'s, and the walk's where it raised.

Level j holds the lanes of the clauses that are the (j+1)-th of their condition. Conditions stand in the order of how many
clauses they have, most first, so that a level is a run of lanes and condition i is lane i of each level it is in.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import chain, compress
from typing import Any, Final

from reflexarc_core.condition.comparison import BELOW, EQUAL, NUMBERS, Clause, Comparison
from reflexarc_core.condition.evaluation_error import EvaluationError, no_value
from reflexarc_core.condition.source import Source
from reflexarc_core.condition.tree import Node, needs
from reflexarc_core.condition.walk import Walk, place
from reflexarc_core.value import frozen

Operand = Mapping[str, Any]
Failed = list[tuple[int, EvaluationError]]
Evaluate = Callable[[Operand, Operand, Operand, Operand, list[int], Failed], list[int]]
"""evaluate(event, features, segments, outputs, counts, failed): the numbers of the conditions that are true."""

ARGUMENTS: Final = "event, features, segments, outputs, counts, failed"
AT_ONCE: Final = 8
"""Conditions that are looked at before whoever compiles may let others run."""
_OPERANDS: Final = "event, features, segments, outputs"
_CALLS_MAX: Final = 255
_SPARSE: Final = 8
"""Lanes a hit from which on looking for the next one is faster than looking at each."""
_ROW_MIN: Final = 3
"""Different clauses over one value from which on looking up is faster than testing each."""


_Placed = tuple[Comparison, int, Node]
"""A comparison, its lane, and its clause."""
_Absent = tuple[int, str, EvaluationError]
"""Where to look whether an operand is there (which dict, which key), and the error when it is not."""


@frozen
class _Line:
    """One statement that clears the lanes of clauses it finds false. needs: without these operands they all have no value.
    lanes: of all of them. clauses: each with its lanes, for when the statement raised."""

    statement: str
    needs: tuple[str, ...]
    lanes: int
    clauses: tuple[tuple[Node, int], ...]


class Table:
    """Conditions as lanes. clauses: each one's. numbers: what each is called in results, ascending. It counts in
    `cell_count` cells of `counts`, from `first_cell` on.
    """

    def __init__(self, clauses: Sequence[tuple[Clause, ...]], numbers: Sequence[int], first_cell: int) -> None:
        order = sorted(range(len(clauses)), key=lambda index: -len(clauses[index]))
        self._clauses = [clauses[index] for index in order]
        self._numbers = tuple(numbers[index] for index in order)
        self._is_sorted = list(self._numbers) == sorted(self._numbers)
        self._order = order
        self._lane_of = {number: lane for lane, number in enumerate(self._numbers)}
        widths = [sum(1 for parts in clauses if len(parts) > level) for level in range(len(self._clauses[0]))]
        self._widths = widths
        self._starts = [sum(widths[:level]) for level in range(len(widths))]
        self._all = _ones(sum(widths))
        self._first = _ones(len(clauses))
        # Shifted down, a level lies on the conditions' own lanes; those it does not reach have no such clause to be false.
        self._deeper = [
            (8 * start, self._first ^ _ones(width)) for start, width in zip(self._starts[1:], widths[1:], strict=True)
        ]
        self._calls = first_cell
        self._sums = first_cell + 1
        self._entered = self._sums + len(widths)
        self._totals = self._entered + 1
        self.cell_count = 2 + len(widths) + sum(widths)
        self._writer = Source()
        reasons: dict[str, _Absent] = {}
        self._absent = [
            _reason_if_absent(parts[level], reasons) for level, width in enumerate(widths) for parts in self._clauses[:width]
        ]
        self._loads: list[str] = []
        self._lines: list[_Line] = []
        self._careful: Evaluate | None = None

    def compiling(self) -> Generator[None, None, Evaluate]:
        """The function for the common case, that every operand is there. Yields where others may run."""
        if not self._lines:
            yield from self._making_lines()
        writer = self._writer
        careful = writer.keep(self.careful)
        statements = [line.statement for line in self._lines]
        if statements[0].startswith("m &= "):
            statements[0] = statements[0].replace("m &= ", "m = ", 1)
        else:
            statements.insert(0, f"m = {writer.keep(self._all)}")
        lines = [f"def table({ARGUMENTS}):", "    try:"]
        # The last of them is what raises when a look-up found nothing.
        lines += [f"        {text}" for text in (*self._loads, *statements, f"a = m & {writer.keep(self._first)}")]
        lines += ["    except Exception:", f"        return {careful}({ARGUMENTS})", *self._passing()]
        lines += [f"    return {writer.keep(self._hits)}(a) if a else []", ""]
        yield
        evaluate: Evaluate = writer.compile("\n".join(lines), "table")
        yield
        return evaluate

    def careful(self, *given: Any) -> list[int]:
        """As the function that is compiled, where an operand is absent or something raised."""
        if self._careful is None:
            self._careful = self._compile_careful()
        return self._careful(*given)

    @property
    def line_count(self) -> int:
        """How many statements an event costs."""
        return len(self._lines)

    def false_counts(self, counts: list[int]) -> list[list[int]]:
        """For each condition, in the order given, and each of its clauses: how often it was the first that was false."""
        self._settle(counts)
        found: list[list[int]] = [[] for _ in self._order]
        for lane, index in enumerate(self._order):
            before = counts[self._entered]
            for level in range(len(self._clauses[lane])):
                passed = counts[self._totals + self._starts[level] + lane]
                found[index].append(before - passed)
                before = passed
        return found

    # -- making ---------------------------------------------------------------------------------------------------

    def _making_lines(self) -> Generator[None, None, None]:
        """One line for each row, and one for each clause that is in none."""
        rows: dict[tuple[str, str, str], list[_Placed]] = {}
        single: dict[str, list[tuple[int, Node]]] = {}
        lines: list[_Line] = []
        writer = self._writer
        self._loads = load_shared(writer, self._clauses)
        yield
        for lane, parts in enumerate(self._clauses):
            for level, clause in enumerate(parts):
                own = self._starts[level] + lane
                if clause.compares is None:
                    single.setdefault(writer.folded(clause.tree), []).append((own, clause.tree))
                else:
                    value = writer.folded(clause.compares.value)
                    asked = (value, clause.compares.way, clause.compares.kind)
                    rows.setdefault(asked, []).append((clause.compares, own, clause.tree))
            if lane % AT_ONCE == AT_ONCE - 1:
                yield
        for (value, way, kind), row in rows.items():
            if len({(compared.constants, compared.wanted) for compared, _, _ in row}) < _ROW_MIN:
                for _, own, tree in row:
                    single.setdefault(writer.folded(tree), []).append((own, tree))
                continue
            lookup = self._equal(row, value) if way == EQUAL else self._ordered(row, value, way, kind in NUMBERS)
            by_clause = tuple((tree, 1 << 8 * own) for _, own, tree in row)
            lines.append(_Line(f"m &= {lookup}", needs(row[0][0].value), sum(lanes for _, lanes in by_clause), by_clause))
            yield
        for text, placed in single.items():
            tree, lanes = placed[0][1], sum(1 << 8 * own for own, _ in placed)
            statement = f"if not {text}: m &= {writer.keep(self._all ^ lanes)}"
            lines.append(_Line(statement, needs(tree), lanes, ((tree, lanes),)))
        self._lines = lines

    def _compile_careful(self) -> Evaluate:
        """In its own place, when it is needed for the first time: many tables never need it."""
        if not self._lines:
            for _ in self._making_lines():
                pass
        writer = self._writer
        walked, unsure = writer.keep(self._walked), writer.keep(self._unsure)
        lines = [f"def careful({ARGUMENTS}):", f"    m, e = {writer.keep(self._all)}, 0"]
        # An absent operand leaves its local unassigned: reading it raises, and nothing stands in for it.
        for load in self._loads:
            lines += [f"    try: {load}", "    except Exception: pass"]
        for index, line in enumerate(self._lines):
            there = " and ".join(writer.presence(name) for name in line.needs) or "True"
            lines += [f"    if {there}:", "        try:", f"            {line.statement}"]
            lines += [f"        except Exception: m, e = {walked}({index}, m, e, {_OPERANDS})"]
            lines += [f"    else: e |= {writer.keep(line.lanes)}"]
        lines += [f"    a = m & {writer.keep(self._first)}", *self._passing(), f"    return {unsure}(a, e, {ARGUMENTS})", ""]
        evaluate: Evaluate = writer.compile("\n".join(lines), "careful")
        return evaluate

    def _passing(self) -> list[str]:
        """From the lanes `m` to the conditions `a` of which no clause is false, counting after each level how many are left."""
        lines = [f"    counts[{self._calls}] += 1", f"    if a: counts[{self._sums}] += a"]
        for cell, (shift, beyond) in enumerate(self._deeper, self._sums + 1):
            reached = f"m >> {shift} | {self._writer.keep(beyond)}" if beyond else f"m >> {shift}"
            lines += ["    if a:", f"        a &= {reached}", f"        if a: counts[{cell}] += a"]
        return [*lines, f"    if counts[{self._calls}] == {_CALLS_MAX}: {self._writer.keep(self._settle)}(counts)"]

    def _equal(self, row: Sequence[_Placed], value: str) -> str:
        """What each constant says when the value equals it, and what all say when it equals none."""
        other = self._all
        found: dict[Any, int] = {}
        for compared, own, _ in row:
            if compared.wanted:
                other ^= 1 << 8 * own
        for compared, own, _ in row:
            for constant in dict.fromkeys(compared.constants):
                found[constant] = found.get(constant, other) ^ (1 << 8 * own)
        return f"{self._writer.keep(found)}.get({value}, {self._writer.keep(other)})"

    def _ordered(self, row: Sequence[_Placed], value: str, way: str, is_number: bool) -> str:
        """What all constants say, by how many of them lie below the value (or not above it)."""
        flips: dict[Any, int] = {}
        lanes = self._all
        for compared, own, _ in row:
            (constant,) = compared.constants
            flips[constant] = flips.get(constant, 0) | 1 << 8 * own
            if compared.wanted:
                lanes ^= 1 << 8 * own
        # NaN is looked up like the least of values, or like the greatest: nothing is found there, and that raises.
        unlike = -math.inf if way == BELOW else math.inf
        if is_number:
            flips.setdefault(unlike, 0)
        bounds = sorted(flips)
        found: list[int | None] = [lanes]
        for bound in bounds:
            lanes ^= flips[bound]
            found.append(lanes)
        if is_number:
            found[0 if way == BELOW else -1] = None
        keep = self._writer.keep
        search = keep(bisect_left if way == BELOW else bisect_right)
        return f"{keep(found)}[{search}({keep(bounds)}, {value})]"

    # -- run ------------------------------------------------------------------------------------------------------

    def _hits(self, alive: int) -> list[int]:
        """The numbers of these conditions."""
        lanes = alive.to_bytes(len(self._numbers), "little")
        if alive.bit_count() * _SPARSE < len(lanes):
            hits, lane = [], lanes.find(1)
            while lane >= 0:
                hits.append(self._numbers[lane])
                lane = lanes.find(1, lane + 1)
        else:
            hits = list(compress(self._numbers, lanes))
        if not self._is_sorted:
            hits.sort()
        return hits

    def _settle(self, counts: list[int]) -> None:
        """What the lanes hold goes where there is room for any number."""
        if not counts[self._calls]:
            return
        counts[self._entered] += counts[self._calls]
        counts[self._calls] = 0
        for level, (start, width) in enumerate(zip(self._starts, self._widths, strict=True)):
            added = counts[self._sums + level].to_bytes(len(self._numbers), "little")
            counts[self._sums + level] = 0
            for cell, count in enumerate(added[:width], self._totals + start):
                counts[cell] += count

    def _walked(self, index: int, m: int, e: int, *held: Operand) -> tuple[int, int]:
        """What follows when a line raised: each of its clauses is true, false, or without a value."""
        for clause, lanes in self._lines[index].clauses:
            try:
                if not Walk(*held).truth(clause):
                    m &= ~lanes
            except EvaluationError:
                e |= lanes
        return m, e

    def _unsure(
        self, alive: int, e: int, event: Operand, features: Operand, segments: Operand, outputs: Operand,
        counts: list[int], failed: Failed,
    ) -> list[int]:  # fmt: skip
        """As for any event, but that some clauses have no value: their lanes are in `e`, and pass like those that are true.

        A conjunction with such a clause is false if another clause is, else it has no value.
        """
        errors = e & self._first
        for start, width in zip(self._starts[1:], self._widths[1:], strict=True):
            errors |= e >> 8 * start & _ones(width)
        without = alive & errors
        if without:
            erring = e.to_bytes(len(self._absent), "little")
            for number in self._hits(without):
                failed.append((number, self._reason(self._lane_of[number], erring, event, features, segments, outputs)))
        return self._hits(alive ^ without)

    def _reason(self, lane: int, erring: bytes, *held: Operand) -> EvaluationError:
        """The error of a condition's first clause that has one."""
        for start, clause in zip(self._starts, self._clauses[lane], strict=False):
            if erring[start + lane]:
                operand = self._absent[start + lane]
                if operand is not None and operand[1] not in held[operand[0]]:
                    return operand[2]
                try:
                    Walk(*held).truth(clause.tree)
                except EvaluationError as error:
                    return error
        raise AssertionError("a clause without a value has one")  # pragma: no cover


def _reason_if_absent(clause: Clause, reasons: dict[str, _Absent]) -> _Absent | None:
    """For a clause about an operand as it is; reasons: those that were made already."""
    value = clause.compares.value if clause.compares is not None else clause.tree
    if value[0] != "operand":
        return None
    found = reasons.get(value[1])
    if found is None:
        found = reasons[value[1]] = (*place(value[1]), no_value(value[1]))
    return found


def load_shared(writer: Source, clauses: Sequence[Sequence[Clause]]) -> list[str]:
    """Statements that load what these clauses share: see `Source.load_shared`."""
    every = list(chain.from_iterable(clauses))
    read = Counter(chain.from_iterable([clause.reads for clause in every]))
    return writer.load_shared(read, set(chain.from_iterable([clause.needs for clause in every])))


def _ones(count: int) -> int:
    """So many lanes, each 1."""
    return int.from_bytes(b"\x01" * count, "little")
