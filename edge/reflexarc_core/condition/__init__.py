"""Conditions: CEL as devices run it.

Owns the checked tree and its evaluation: generated Python first, a tree walk with CEL's error rules where that raised.
Standard library only (google-re2 on the first pattern). Must never parse or check CEL text: that is the author's room.
"""

from reflexarc_core.condition.checked import CheckedExpression
from reflexarc_core.condition.compile import Compiled, compile_expression
from reflexarc_core.condition.evaluation_error import EvaluationError
from reflexarc_core.condition.explain import Clause, clauses, explain
from reflexarc_core.condition.group import Group, compile_group, compiling_group, finished
from reflexarc_core.condition.lines import claim_is_turned, compare_lines, line_misuse, only_lines
from reflexarc_core.condition.types import CelType

__all__ = [
    "CelType",
    "CheckedExpression",
    "Clause",
    "Compiled",
    "EvaluationError",
    "Group",
    "claim_is_turned",
    "clauses",
    "compare_lines",
    "compile_expression",
    "compile_group",
    "compiling_group",
    "explain",
    "finished",
    "line_misuse",
    "only_lines",
]
