"""What differs between two catalogs: which definitions came, went and changed, and in what.

Owns the words. Expressions are compared by their text; two texts that check to the same tree differ all the same, for a reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from reflexarc_core.catalog import Catalog

SECTIONS: Final = (
    ("event_types", "event type"), ("features", "feature"), ("segments", "segment"), ("models", "model"), ("caps", "cap"),
    ("triggers", "trigger"), ("actions", "action"),
)  # fmt: skip
ABSENT: Final = "-"


@dataclass(frozen=True, slots=True)
class Change:
    """One definition. kind: `added`, `removed` or `changed`. fields: (field, before, after) of one that changed."""

    section: str
    name: str
    kind: str
    fields: tuple[tuple[str, str, str], ...] = ()

    def lines(self) -> Iterator[str]:
        """In words."""
        sign = {"added": "+", "removed": "-", "changed": "~"}[self.kind]
        yield f"{sign} {self.section} {self.name}"
        for field, before, after in self.fields:
            yield f"    {field}: {before} -> {after}"

    def to_json(self) -> dict[str, Any]:
        fields = [{"field": field, "old": before, "new": after} for field, before, after in self.fields]
        return {"section": self.section, "name": self.name, "kind": self.kind, "fields": fields}


def differ(old: Catalog, new: Catalog) -> list[Change]:
    """Every definition that is not the same in both, by section and name; version, test subjects and what is tracked too."""
    before, after = old.to_plain(), new.to_plain()
    found: list[Change] = []
    for section, word in SECTIONS:
        one, other = before.get(section, {}), after.get(section, {})
        for name in sorted(one.keys() | other.keys()):
            if name not in one or name not in other:
                found.append(Change(word, name, "added" if name in other else "removed"))
            elif one[name] != other[name]:
                found.append(Change(word, name, "changed", tuple(_fields(one[name], other[name]))))
    for name in ("version", "test_subjects", "tracked"):
        if before.get(name) != after.get(name):
            found.append(
                Change(
                    "catalog",
                    name,
                    "changed",
                    (("text" if name == "version" else "all", _shown(before.get(name)), _shown(after.get(name))),),
                )
            )
    return found


def _fields(before: Any, after: Any) -> Iterator[tuple[str, str, str]]:
    one, other = dict(_flat("", before)), dict(_flat("", after))
    for field in sorted(one.keys() | other.keys()):
        if one.get(field, ABSENT) != other.get(field, ABSENT):
            yield field, one.get(field, ABSENT), other.get(field, ABSENT)


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """(dotted path, value as text) of everything in a definition."""
    if isinstance(value, dict) and value.keys() == {"text", "type", "tree"}:
        yield path or "condition", str(value["text"])
    elif isinstance(value, dict):
        for name, held in value.items():
            yield from _flat(f"{path}.{name}" if path else str(name), held)
    elif isinstance(value, list) and any(isinstance(held, dict) for held in value):
        for number, held in enumerate(value, 1):
            yield from _flat(f"{path}[{number}]", held)
    else:
        yield path, _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return ABSENT if value is None else str(value)
