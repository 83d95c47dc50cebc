"""All conditions of one arrival fused into one generated function.

Owns the loading of operands, the guard around each condition, and the count of the clause that was false first. Must
never let one condition's error touch another.

`counts` holds, one after the other: a cell per clause for the common case, a cell per clause for when an operand is absent,
then for each of the two a cell per condition for how often it was true or had no value, and the cells `blocks` asks for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from reflexarc_core.condition.blocks import Body, Cells, Derived
from reflexarc_core.condition.checked import CheckedExpression
from reflexarc_core.condition.evaluation_error import EvaluationError, no_value
from reflexarc_core.condition.source import Source
from reflexarc_core.condition.tree import Node, clause_trees, needs, walk
from reflexarc_core.condition.unparse import unparse
from reflexarc_core.condition.walk import Walk
from reflexarc_core.errors import DefinitionError
from reflexarc_core.value import frozen

Operand = Mapping[str, Any]
Failed = list[tuple[int, EvaluationError]]
_IF = ("if", "elif")
_SORTED = ("    if matched: matched.sort()", "    if failed: failed.sort(key=by_index)", "    return matched, failed", "")
_ARGUMENTS = "event, features, segments, outputs, counts, matched, failed"
EvaluateAll = Callable[[Operand, Operand, Operand, Operand, list[int]], tuple[list[int], Failed]]


@frozen
class Group:
    """`evaluate(event, features, segments, outputs, counts)` gives (matched, failed): indexes of the conditions that are
    true, and of those without a value, with the reason, both ascending. A condition that is simply false is counted under
    its first false clause: see `false_counts`. `count_total`: how many cells `counts` must have. Operands as for `Compiled`.
    """

    evaluate: EvaluateAll
    clause_texts: tuple[tuple[str, ...], ...]
    count_total: int
    source: str
    derived: tuple[Derived, ...]

    def false_counts(self, counts: Sequence[int]) -> list[list[int]]:
        """For each condition and each of its clauses, whose text is in `clause_texts`: how often it was false first."""
        clause_total = sum(len(texts) for texts in self.clause_texts)
        found: list[list[int]] = []
        start = 0
        for texts in self.clause_texts:
            end = start + len(texts)
            absent = counts[start + clause_total : end + clause_total]
            found.append([common + other for common, other in zip(counts[start:end], absent, strict=True)])
            start = end
        for one in self.derived:
            found[one.index][one.clause] += sum(counts[cell] for cell in one.cells) - sum(counts[cell] for cell in one.less)
        return found


def compile_group(conditions: Sequence[CheckedExpression]) -> Group:
    """Raises DefinitionError when an expression is no condition (its type is not bool)."""
    for checked in conditions:
        if checked.result_type.kind != "bool":
            raise DefinitionError(f"{checked.text} is {checked.result_type}", hint="a condition is true or false")
    clauses = [clause_trees(checked.tree) for checked in conditions]
    offsets: list[int] = []
    total = 0
    for parts in clauses:
        offsets.append(total)
        total += len(parts)
    first = 2 * total
    common = Cells(tuple(offsets), first, first + 2 * len(clauses))
    absent = Cells(tuple(offset + total for offset in offsets), first + len(clauses), common.entered + 1)
    writer = Source()
    writer.globals["rescue"] = _rescue(clauses, common)
    writer.globals["rescue_all"] = _rescue_all(writer.globals["rescue"])
    writer.globals["rescue_sparse"] = _rescue(clauses, absent)
    writer.globals["by_index"] = itemgetter(0)
    shared = _shared(conditions)
    for index, name in enumerate(shared):
        writer.loaded[name] = f"e{index}"
    body = Body(writer, clauses, common, absent.entered + 1, _ARGUMENTS)
    source = _full(writer, body, shared)
    evaluate = writer.compile(source, "evaluate")

    def sparse(*given: Any) -> Any:
        """In its own place once something is absent for the first time: half of what a group costs to compile."""
        return writer.compile(_sparse(writer, body, clauses, absent, shared), "sparse")(*given)

    writer.globals["sparse"] = sparse
    # In `sparse` a condition that is false at its first clause is the one outcome that is not counted.
    derived = [
        Derived(index, 0, (absent.entered,), (*range(start, start + len(parts)), absent.outcomes + index))
        for index, (start, parts) in enumerate(zip(absent.clauses, clauses, strict=True))
    ]
    texts = tuple(tuple(unparse(part) for part in parts) for parts in clauses)
    return Group(evaluate, texts, body.cell_count, source, (*body.derived, *derived))


def _shared(conditions: Sequence[CheckedExpression]) -> dict[str, str]:
    """Operands that some clause needs or that are read more than once, with their types: loaded into locals."""
    read: Counter[tuple[str, str]] = Counter()
    needed: set[str] = set()
    for checked in conditions:
        read.update((node[1], node[2]) for node in walk(checked.tree) if node[0] == "operand")
        needed.update(name for part in clause_trees(checked.tree) for name in needs(part))
    declared = Counter(name for name, _ in read)
    # A name that two conditions declare differently is read by each in its own way.
    return {
        name: type_text
        for (name, type_text), count in sorted(read.items())
        if (count > 1 or name in needed) and declared[name] == 1
    }


def _full(writer: Source, body: Body, shared: Mapping[str, str]) -> str:
    """The function for the common case: every shared operand is there, else it hands over to `sparse`."""
    lines = ["def evaluate(event, features, segments, outputs, counts):"]
    if shared:
        loads = "; ".join(f"{writer.loaded[name]} = {writer.load(name, type_text)}" for name, type_text in shared.items())
        lines += ["    try:", f"        {loads}", "    except Exception:"]
        lines += ["        return sparse(event, features, segments, outputs, counts)"]
    lines += ["    matched = []", "    failed = []", *body.lines]
    return "\n".join([*lines, *_SORTED])


def _sparse(writer: Source, body: Body, clauses: Sequence[tuple[Node, ...]], cells: Cells, shared: Mapping[str, str]) -> str:
    """The function for when something is absent: a clause is skipped when an operand it needs is not there.

    A conjunction with such a clause is false if another clause is, else it has no value. An absent operand leaves its
    local unassigned, so that reading it raises and nothing stands in for it.
    """
    lines = ["def sparse(event, features, segments, outputs, counts):", "    matched = []", "    failed = []"]
    lines.append(f"    counts[{cells.entered}] += 1")
    flags: dict[str, str] = {}
    for parts in clauses:
        for name in (name for part in parts for name in needs(part) if name not in flags):
            flags[name] = f"p{len(flags)}"
            lines.append(f"    {flags[name]} = {writer.presence(name)}")
    for name, type_text in shared.items():
        lines += [f"    try: {writer.loaded[name]} = {writer.load(name, type_text)}", "    except Exception: pass"]
    reasons = {name: writer.keep(no_value(name)) for name in flags}
    for test, alike in body.guarded():
        indent = "    "
        if test:
            there = " and ".join(flags[name] for name in needs(clauses[alike[0]][0])) or "True"
            lines += ["    hit = True", f"    if {there}:", f"        try: hit = {test}", "        except Exception: pass"]
            lines.append("    if hit:")
            indent += "    "
        for index in alike:
            lines += [indent + line for line in _sparse_one(writer, index, clauses[index], cells, flags, reasons)]
    return "\n".join([*lines, *_SORTED])


def _sparse_one(
    writer: Source,
    index: int,
    parts: tuple[Node, ...],
    cells: Cells,
    flags: Mapping[str, str],
    reasons: Mapping[str, str],
) -> Iterator[str]:
    """One condition of `sparse`."""
    count = f"counts[{cells.outcomes + index}] += 1"
    needed: dict[str, None] = {}
    yield "try:"
    for j, part in enumerate(parts):
        own = needs(part)
        needed |= dict.fromkeys(own)
        there = "".join(f"{flags[name]} and " for name in own)
        then = f"counts[{cells.clauses[index] + j}] += 1" if j else "pass"
        yield f"    {_IF[j > 0]} {there}not {writer.expression(part)}: {then}"
    for name in needed:
        yield f"    elif not {flags[name]}: failed.append(({index}, {reasons[name]})); {count}"
    yield f"    else: matched.append({index}); {count}"
    yield f"except Exception: rescue_sparse({index}, {_ARGUMENTS})"


def _rescue(clauses: Sequence[tuple[Node, ...]], cells: Cells) -> Callable[..., None]:
    """What follows when the code of one condition raised: CEL's rules decide between true, false and the error."""

    def rescue(
        index: int,
        event: Operand,
        features: Operand,
        segments: Operand,
        outputs: Operand,
        counts: list[int],
        matched: list[int],
        failed: Failed,
    ) -> None:
        walked = Walk(event, features, segments, outputs)
        first: EvaluationError | None = None
        for j, clause in enumerate(clauses[index]):
            try:
                if not walked.truth(clause):
                    counts[cells.clauses[index] + j] += 1
                    return
            except EvaluationError as error:
                first = first or error
        counts[cells.outcomes + index] += 1
        if first is None:
            matched.append(index)
        else:
            failed.append((index, first))

    return rescue


def _rescue_all(rescue: Callable[..., None]) -> Callable[..., bool]:
    """What follows when a clause that several conditions begin with raised: each is answered by itself."""

    def rescue_all(indexes: tuple[int, ...], *given: Any) -> bool:
        for index in indexes:
            rescue(index, *given)
        return False

    return rescue_all
