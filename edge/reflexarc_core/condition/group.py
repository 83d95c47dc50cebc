"""All conditions of one arrival as one function, put together from parts.

Owns which conditions stand together and in which form (`table` or `straight`), and the making of it in small pieces: a thread
that compiles must not keep the others of the application waiting. Must never decide what a condition means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Final, TypeVar

from reflexarc_core.condition.checked import CheckedExpression
from reflexarc_core.condition.comparison import Clause, clauses_of
from reflexarc_core.condition.straight import Straight
from reflexarc_core.condition.table import AT_ONCE, Evaluate, Failed, Operand, Table
from reflexarc_core.condition.tree import Node, clause_trees
from reflexarc_core.condition.unparse import unparse
from reflexarc_core.errors import DefinitionError
from reflexarc_core.value import frozen

TABLE_MIN: Final = 24
"""Conditions from which on looking up is faster than asking each."""
TABLE_MAX: Final = 128
"""Conditions of one table: its size grows with their square."""
TABLE_CLAUSES_MAX: Final = 6
"""Clauses of a condition that may stand in a table: what it says of one constant is as wide as all its clauses."""
STRAIGHT_CLAUSES_MAX: Final = 96
"""Clauses compiled in one go, but for a condition that has more: about a millisecond."""
CLAUSES_PER_LINE_MIN: Final = 3
"""Clauses that one look-up must answer to be faster than asking each."""
T = TypeVar("T")
_BY_NUMBER: Final = itemgetter(0)


@frozen
class Group:
    """`evaluate(event, features, segments, outputs, counts, failed)` gives the numbers of the conditions that are true, and
    appends to `failed` those without a value, with the reason; both ascending. A condition that is simply false is counted
    under its first false clause: see `false_counts`. `count_total`: how many cells `counts` must have, 0 at first. Operands
    as for `Compiled`. numbers: of the conditions, ascending. parts: of which it is made; order: the conditions, by index, in
    the order in which the parts have them.
    """

    evaluate: Evaluate
    numbers: tuple[int, ...]
    count_total: int
    parts: tuple[Table | Straight, ...]
    order: tuple[int, ...]
    trees: tuple[Node, ...]

    def false_counts(self, counts: list[int]) -> list[list[int]]:
        """For each condition and each of its clauses: how often it was the first that was false."""
        found = [false for part in self.parts for false in part.false_counts(counts)]
        return [false for _, false in sorted(zip(self.order, found, strict=True))]

    def clause_text(self, index: int, clause: int) -> str:
        """CEL text of one clause of the condition at `index`."""
        return unparse(clause_trees(self.trees[index])[clause])


def compile_group(conditions: Sequence[CheckedExpression], numbers: Sequence[int] | None = None) -> Group:
    """All in one go. numbers: what each is called in results, ascending; its index without. Raises DefinitionError when an
    expression is no condition (its type is not bool)."""
    return finished(compiling_group(conditions, numbers))


def finished(making: Generator[None, None, T]) -> T:
    """What is made in pieces, with nobody let in between."""
    while True:
        try:
            next(making)
        except StopIteration as end:
            made: T = end.value
            return made


def compiling_group(
    conditions: Sequence[CheckedExpression], numbers: Sequence[int] | None = None
) -> Generator[None, None, Group]:
    """As `compile_group`; yields after each piece of work, none longer than a millisecond, so that others can run."""
    for checked in conditions:
        if checked.result_type.kind != "bool":
            raise DefinitionError(f"{checked.text} is {checked.result_type}", hint="a condition is true or false")
    named = tuple(numbers) if numbers is not None else tuple(range(len(conditions)))
    clauses: list[tuple[Clause, ...]] = []
    for index, checked in enumerate(conditions):
        clauses.append(clauses_of(checked.tree))
        if index % AT_ONCE == AT_ONCE - 1:
            yield
    parts: list[Table | Straight] = []
    functions: list[Evaluate] = []
    order: list[int] = []
    cell = 0
    for form, indexes in _forms(clauses):
        part = form([clauses[index] for index in indexes], [named[index] for index in indexes], cell)
        cell += part.cell_count
        order += indexes
        parts.append(part)
        functions.append((yield from part.compiling()))
    trees = tuple(checked.tree for checked in conditions)
    return Group(_joined(functions, order), named, cell, tuple(parts), tuple(order), trees)


def _forms(clauses: Sequence[tuple[Clause, ...]]) -> Iterator[tuple[type[Table] | type[Straight], list[int]]]:
    """Which conditions stand together, by index, and in which form: those in a table of which every clause is answered
    together with others."""
    for start in range(0, len(clauses), TABLE_MAX):
        chunk = range(start, min(start + TABLE_MAX, len(clauses)))
        fitting = [index for index in chunk if len(clauses[index]) <= TABLE_CLAUSES_MAX]
        lines = [[clause.line for clause in clauses[index]] for index in fitting]
        shared = Counter(chain.from_iterable(lines))
        often = {line for line, count in shared.items() if count >= CLAUSES_PER_LINE_MIN}
        alike = [index for index, own in zip(fitting, lines, strict=True) if often.issuperset(own)]
        if len(alike) >= TABLE_MIN:
            yield Table, alike
        else:
            alike = []
        others: list[int] = []
        for index in sorted(set(chunk).difference(alike)):
            if others and sum(len(clauses[other]) for other in (*others, index)) > STRAIGHT_CLAUSES_MAX:
                yield Straight, others
                others = []
            others.append(index)
        if others:
            yield Straight, others


def _joined(functions: Sequence[Evaluate], order: list[int]) -> Evaluate:
    """The parts one after the other. order: in which they have the conditions."""
    if len(functions) == 1:
        return functions[0]
    is_sorted = order == sorted(order)

    def evaluate(
        event: Operand, features: Operand, segments: Operand, outputs: Operand, counts: list[int], failed: Failed
    ) -> list[int]:
        matched: list[int] = []
        for function in functions:
            matched += function(event, features, segments, outputs, counts, failed)
        if not is_sorted:
            if matched:
                matched.sort()
            if failed:
                failed.sort(key=_BY_NUMBER)
        return matched

    return evaluate
