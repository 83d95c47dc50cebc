"""The body of a group's function for the common case: conditions that begin alike stand together behind one test.

Most conditions are false at their first clause, and many begin with the same operand: a page, a score, a count. So
conditions that begin with the same clause are put behind it, and those that begin with the same operand against different
constants behind a test of whether any of them can be true. Nor is the usual outcome counted: how often the first clause was
false is what the other outcomes leave of how often it was evaluated. Owns both, and the arithmetic that gets the counts
back. Must never decide what a clause means: that is `source`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from reflexarc_core.condition.source import Source, fold
from reflexarc_core.condition.tree import Node
from reflexarc_core.value import frozen

GUARDED_MIN: Final = 3
"""Conditions from which on a test in front of them is worth its own price."""
CHAINED_MIN: Final = 4
"""Ordered comparisons behind one test, before the next of them get a test of their own inside it."""
DEPTH_MAX: Final = 8
_COMPARED: Final = {"greater": ">", "greater_equals": ">=", "less": "<", "less_equals": "<="}
_MIRRORED: Final = {">": "<", ">=": "<=", "<": ">", "<=": ">="}

Branch = tuple[int, int]
"""A condition from one of its clauses on: (index, clause)."""


@frozen
class Cells:
    """Where one function counts: clauses: the cell of each condition's first clause, the others behind it. outcomes: the
    first of one cell per condition, for how often it was true or had no value. entered: for how often it was called.
    """

    clauses: tuple[int, ...]
    outcomes: int
    entered: int


@frozen
class Derived:
    """How often one clause was the first that was false, as far as that was not counted: some cells less some others."""

    index: int
    clause: int
    cells: tuple[int, ...]
    less: tuple[int, ...]


@frozen
class Comparison:
    """A clause `value SIGN constant`, the value as source. kind: of the constant, `==` for equality."""

    value: str
    sign: str
    kind: str
    constant: Any

    @property
    def direction(self) -> tuple[str, str, str]:
        """Comparisons of one direction can stand behind one guard."""
        return self.value, self.sign[0], self.kind


class Body:
    """Emits the lines. cells: where they count; further cells of `counts` are numbered from `first_cell` on. arguments:
    those of `rescue` and `rescue_all`.
    """

    def __init__(
        self, writer: Source, clauses: Sequence[tuple[Node, ...]], cells: Cells, first_cell: int, arguments: str
    ) -> None:
        self.lines: list[str] = []
        self.derived: list[Derived] = []
        self.cell_count = first_cell
        self._cells = cells
        self._arguments = arguments
        self._texts = [[writer.expression(part) for part in parts] for parts in clauses]
        self._comparisons = [[_comparison(writer, part) for part in parts] for parts in clauses]
        self._constant = writer.constant
        self._first = [(index, 0) for index in range(len(clauses))]
        self._line(1, f"counts[{cells.entered}] += 1")
        self._branches(self._first, cells.entered, (), 1)

    def guarded(self) -> Iterator[tuple[str, list[int]]]:
        """Every condition once, for code of another shape: (test, conditions that are false where it is), "" for no test."""
        for alike in _apart(self._first, self._direction):
            guard = self._guard(alike)
            if not guard and len(alike) >= GUARDED_MIN:  # they begin with one and the same clause
                guard = self._texts[alike[0][0]][0]
            yield guard, [index for index, _ in alike]

    def _cell(self) -> int:
        self.cell_count += 1
        return self.cell_count - 1

    def _line(self, indent: int, text: str) -> None:
        self.lines.append("    " * indent + text)

    def _branches(self, branches: Sequence[Branch], entered: int, rescued: tuple[int, ...], indent: int) -> None:
        """Code for these branches. entered: the cell that counts how often control comes here; rescued: cells that count
        how often a clause before it raised."""
        for alike in _apart(branches, self._direction):
            guard, soonest = self._guard(alike), alike
            if guard:  # where it raises, each of them will by itself
                self._line(indent, f"try: hit = {guard}")
                self._line(indent, "except Exception: hit = True")
                self._line(indent, "if hit:")
            inner = indent + 1 if guard else indent
            further: list[Branch] = []
            if guard and indent < DEPTH_MAX:
                soonest, further = self._nearest(alike, DEPTH_MAX - indent + 1)
            for same in _apart(soonest, lambda branch: self._texts[branch[0]][branch[1]]):
                if len(same) > 1 and indent < DEPTH_MAX:
                    self._block(same, entered, rescued, inner)
                else:
                    for branch in same:
                        self._alone(branch, entered, rescued, inner)
            if further:
                self._branches(further, entered, rescued, inner)

    def _nearest(self, alike: list[Branch], parts_max: int) -> tuple[list[Branch], list[Branch]]:
        """Of comparisons in one direction those that are true soonest, and the others, which mostly are false with them."""
        found = {branch: held for branch in alike if (held := self._comparisons[branch[0]][branch[1]]) is not None}
        sign = found[alike[0]].sign[0]
        if sign == "=":
            return alike, []
        ordered = sorted(alike, key=lambda branch: found[branch].constant, reverse=sign == "<")
        size = max(CHAINED_MIN, -(-len(ordered) // parts_max))
        return ordered[:size], ordered[size:]

    def _direction(self, branch: Branch) -> object:
        found = self._comparisons[branch[0]][branch[1]]
        return self._texts[branch[0]][branch[1]] if found is None else found.direction

    def _guard(self, alike: Sequence[Branch]) -> str:
        """What must be true for any of them to be true, empty where there is nothing to gain."""
        found = [held for index, clause in alike if (held := self._comparisons[index][clause]) is not None]
        if len(alike) < GUARDED_MIN or len(found) < len(alike) or len({(held.sign, held.constant) for held in found}) == 1:
            return ""
        value, sign = found[0].value, found[0].sign[0]
        if sign == "=":
            return f"{value} in {{{', '.join(self._constant(constant) for constant in {held.constant: None for held in found})}}}"
        nearest = (min if sign == ">" else max)(held.constant for held in found)
        strict = all(held.sign == sign for held in found if held.constant == nearest)
        return f"{value} {sign if strict else sign + '='} {self._constant(nearest)}"

    def _block(self, same: Sequence[Branch], entered: int, rescued: tuple[int, ...], indent: int) -> None:
        """Branches that begin with one and the same clause, which is evaluated once."""
        index, clause = same[0]
        indexes = ", ".join(str(index) for index, _ in same)
        inside, raised = self._cell(), self._cell()
        self._line(indent, f"try: hit = {self._texts[index][clause]}")
        self._line(indent, f"except Exception: counts[{raised}] += 1; hit = rescue_all(({indexes}), {self._arguments})")
        self._line(indent, "if hit:")
        self._line(indent + 1, f"counts[{inside}] += 1")
        rest = []
        for index, clause in same:
            self.derived.append(Derived(index, clause, (entered,), (inside, raised)))
            if clause + 1 < len(self._texts[index]):
                rest.append((index, clause + 1))
            else:
                self._line(indent + 1, self._matched(index))
        self._branches(rest, inside, (*rescued, raised), indent + 1)

    def _alone(self, branch: Branch, entered: int, rescued: tuple[int, ...], indent: int) -> None:
        index, clause = branch
        texts, offset = self._texts[index], self._cells.clauses[index]
        self._line(indent, "try:")
        self._line(indent + 1, f"if {texts[clause]}:")
        if clause + 1 == len(texts):
            self._line(indent + 2, self._matched(index))
        else:
            for j in range(clause + 1, len(texts)):
                keyword = "if" if j == clause + 1 else "elif"
                self._line(indent + 2, f"{keyword} not {texts[j]}: counts[{offset + j}] += 1")
            self._line(indent + 2, f"else: {self._matched(index)}")
        self._line(indent, f"except Exception: rescue({index}, {self._arguments})")
        # Whatever else became of it was counted: once for each time, also where a clause before it raised.
        counted = (*range(offset, offset + len(texts)), self._cells.outcomes + index)
        self.derived.append(Derived(index, clause, (entered, *rescued), counted))

    def _matched(self, index: int) -> str:
        return f"matched.append({index}); counts[{self._cells.outcomes + index}] += 1"


def _apart(branches: Iterable[Branch], key: Any) -> list[list[Branch]]:
    """The branches by key, in the order in which the keys occur."""
    found: dict[object, list[Branch]] = {}
    for branch in branches:
        found.setdefault(key(branch), []).append(branch)
    return list(found.values())


def _comparison(writer: Source, part: Node) -> Comparison | None:
    """The clause as a comparison with a constant, None when it is none."""
    node = fold(part)
    if node[0] != "call":
        return None
    name, _, kind = node[1].rpartition("_")
    sign = "==" if node[1] == "equals" else _COMPARED.get(name, "")
    if not sign:
        return None
    left, right = node[2], node[3]
    if left[0] == "const":
        left, right, sign = right, left, _MIRRORED.get(sign, sign)
    if left[0] == "const" or right[0] != "const" or right[2] != right[2]:
        return None
    return Comparison(writer.expression(left), sign, right[1] if sign == "==" else kind, right[2])
