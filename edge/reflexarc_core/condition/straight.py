"""A few conditions as one function that asks each in turn.

For few conditions, or for those that have nothing in common to be looked up, no detour pays. Owns the loading of operands, the
guard around each condition, and the counts of this form. Must never let one condition's error touch another.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from operator import itemgetter
from typing import Any, Final

from reflexarc_core.condition.comparison import Clause, weakest
from reflexarc_core.condition.evaluation_error import EvaluationError, no_value
from reflexarc_core.condition.source import Source
from reflexarc_core.condition.table import ARGUMENTS, Evaluate, Failed, Operand, load_shared
from reflexarc_core.condition.tree import Node
from reflexarc_core.condition.walk import Walk

GUARDED_MIN: Final = 3
"""Conditions that begin alike from which on a test in front of them is worth its own price: mostly all are false."""


class Straight:
    """Conditions one after the other. clauses, numbers, first_cell: as for `Table`.

    Its cells: how often it was called, then for each condition how often it was true or had no value, and for each of its
    further clauses how often that was the first that was false. What is left of the calls, the first clause was.
    """

    def __init__(self, clauses: Sequence[tuple[Clause, ...]], numbers: Sequence[int], first_cell: int) -> None:
        self._clauses = tuple(clauses)
        self._numbers = tuple(numbers)
        self._called = first_cell
        self._outcomes: list[int] = []
        cell = first_cell + 1
        for parts in clauses:
            self._outcomes.append(cell)
            cell += len(parts)
        self.cell_count = cell - first_cell
        self._writer = Source()
        self._rescue_name = self._writer.keep(self._rescue())
        self._loads: list[str] = []
        self._texts: list[list[str]] = []
        self._sparse: Evaluate | None = None

    def compiling(self) -> Generator[None, None, Evaluate]:
        """The function for the common case, that every operand is there. Yields where others may run."""
        writer = self._writer
        self._loads = load_shared(writer, self._clauses)
        self._texts = [[writer.folded(clause.tree) for clause in parts] for parts in self._clauses]
        lines = [f"def straight({ARGUMENTS}):"]
        if self._loads:
            lines += [f"    try: {'; '.join(self._loads)}"]
            lines += [f"    except Exception: return {writer.keep(self.sparse)}({ARGUMENTS})"]
        lines += [f"    counts[{self._called}] += 1", "    matched = []"]
        behind = self._behind()
        for guard, indexes in behind:
            if guard is not None:  # where it raises, each of them will by itself
                lines += [f"    try: hit = {writer.folded(guard)}", "    except Exception: hit = True", "    if hit:"]
            indent = "    " if guard is None else "        "
            for index in indexes:
                lines += [indent + line for line in self._one(index)]
        order = [index for _, indexes in behind for index in indexes]
        if order != sorted(order):
            by_number = writer.keep(itemgetter(0))
            lines += ["    if matched: matched.sort()", f"    if failed: failed.sort(key={by_number})"]
        yield
        evaluate: Evaluate = writer.compile("\n".join([*lines, "    return matched", ""]), "straight")
        yield
        return evaluate

    def sparse(self, *given: Any) -> list[int]:
        """As the function that is compiled, where an operand is absent."""
        if self._sparse is None:  # half of what it costs to compile, and many never need it
            self._sparse = self._writer.compile(self._sparse_source(), "sparse")
        found: list[int] = self._sparse(*given)
        return found

    def false_counts(self, counts: list[int]) -> list[list[int]]:
        """As `Table.false_counts`."""
        found = []
        for parts, outcome in zip(self._clauses, self._outcomes, strict=True):
            further = counts[outcome + 1 : outcome + len(parts)]
            found.append([counts[self._called] - counts[outcome] - sum(further), *further])
        return found

    def _behind(self) -> list[tuple[Node | None, list[int]]]:
        """Every condition once, by index, and the clause that is true when the first clause of any of them is; None without."""
        alike: dict[Any, list[int]] = {}
        for index, (first, *_) in enumerate(self._clauses):
            alike.setdefault((first.line, first.compares is None or first.compares.wanted), []).append(index)
        found: list[tuple[Node | None, list[int]]] = []
        for indexes in alike.values():
            guard = weakest([self._clauses[index][0] for index in indexes]) if len(indexes) >= GUARDED_MIN else None
            found.append((guard, indexes))
        return found

    def _one(self, index: int) -> list[str]:
        """The lines of one condition."""
        first, *further = self._texts[index]
        lines = ["try:", f"    if {first}:"]
        for j, text in enumerate(further, 1):
            lines.append(f"        {'if' if j == 1 else 'elif'} not {text}: {self._count(index, j)}")
        true = f"matched.append({self._numbers[index]}); {self._count(index, 0)}"
        lines.append(f"        else: {true}" if further else f"        {true}")
        return [*lines, f"except Exception: {self._rescue_name}({index}, {ARGUMENTS}, matched)"]

    def _count(self, index: int, clause: int) -> str:
        """The statement that counts a further clause, or with 0 that the condition is true or has no value."""
        return f"counts[{self._outcomes[index] + clause}] += 1"

    def _sparse_source(self) -> str:
        """A clause is skipped when an operand it needs is not there: a conjunction with such a clause is false if another
        clause is, else it has no value. An absent operand leaves its local unassigned, so that reading it raises and
        nothing stands in for it.
        """
        writer = self._writer
        lines = [f"def sparse({ARGUMENTS}):", f"    counts[{self._called}] += 1", "    matched = []"]
        needed = [[clause.needs for clause in parts] for parts in self._clauses]
        names = dict.fromkeys(name for parts in needed for own in parts for name in own)
        flags = {name: f"p{index}" for index, name in enumerate(names)}
        reasons = {name: writer.keep(no_value(name)) for name in names}
        lines += [f"    {flag} = {writer.presence(name)}" for name, flag in flags.items()]
        for load in self._loads:
            lines += [f"    try: {load}", "    except Exception: pass"]
        for index, (texts, parts) in enumerate(zip(self._texts, needed, strict=True)):
            lines.append("    try:")
            for j, (text, own) in enumerate(zip(texts, parts, strict=True)):
                there = "".join(f"{flags[name]} and " for name in own)
                lines.append(f"        {'elif' if j else 'if'} {there}not {text}: {self._count(index, j) if j else 'pass'}")
            for name in dict.fromkeys(name for own in parts for name in own):
                failed = f"failed.append(({self._numbers[index]}, {reasons[name]}))"
                lines.append(f"        elif not {flags[name]}: {failed}; {self._count(index, 0)}")
            lines.append(f"        else: matched.append({self._numbers[index]}); {self._count(index, 0)}")
            lines.append(f"    except Exception: {self._rescue_name}({index}, {ARGUMENTS}, matched)")
        return "\n".join([*lines, "    return matched", ""])

    def _rescue(self) -> Callable[..., None]:
        """What follows when the code of one condition raised: CEL's rules decide between true, false and the error."""
        clauses, outcomes, numbers = self._clauses, self._outcomes, self._numbers

        def rescue(
            index: int, event: Operand, features: Operand, segments: Operand, outputs: Operand,
            counts: list[int], failed: Failed, matched: list[int],
        ) -> None:  # fmt: skip
            walked = Walk(event, features, segments, outputs)
            error: EvaluationError | None = None
            for j, clause in enumerate(clauses[index]):
                try:
                    if not walked.truth(clause.tree):
                        if j:  # the first clause has what is left
                            counts[outcomes[index] + j] += 1
                        return
                except EvaluationError as raised:
                    error = error or raised
            counts[outcomes[index]] += 1
            if error is None:
                matched.append(numbers[index])
            else:
                failed.append((numbers[index], error))

        return rescue
