"""The checked expression: what the author's room makes and every host evaluates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reflexarc_core.condition import tree as trees
from reflexarc_core.condition.tree import Node
from reflexarc_core.condition.types import CelType
from reflexarc_core.errors import DefinitionError
from reflexarc_core.value import frozen

TEXT_LENGTH_MAX: Final = 4_096


@frozen
class CheckedExpression:
    """text: as the author wrote it. tree: see `reflexarc_core.condition.tree`. reads: dotted operand names, sorted."""

    text: str
    result_type: CelType
    tree: Node
    reads: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-able and deterministic; `reads` follows from the tree."""
        return {"text": self.text, "type": str(self.result_type), "tree": trees.to_json(self.tree)}

    @staticmethod
    def from_json(read: Any) -> CheckedExpression:
        """Exactly what `to_json` was made of. Raises DefinitionError on a wrong shape or a broken limit."""
        if not isinstance(read, Mapping) or set(read) != {"text", "type", "tree"}:
            raise DefinitionError("an expression has text, type and tree", hint="build the catalog again")
        text, type_text = read["text"], read["type"]
        if not isinstance(text, str) or len(text) > TEXT_LENGTH_MAX or not isinstance(type_text, str):
            raise DefinitionError("an expression's text or type is no text, or too long", hint="build the catalog again")
        return make(text, CelType.parse(type_text), trees.from_json(read["tree"]))


def make(text: str, result_type: CelType, tree: Node) -> CheckedExpression:
    """A checked expression of a tree that is known to be well formed."""
    return CheckedExpression(text, result_type, tree, trees.reads(tree))
