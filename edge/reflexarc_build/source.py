"""YAML with places: every value knows its file and line, so every mistake can name them.

Owns parsing and its limits (size, depth, aliases, duplicate keys). Must never know what a catalog is.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from reflexarc_core.errors import DefinitionError
from reflexarc_core.soundness import DURATION_MS_MAX

SOURCE_BYTES_MAX: Final = 2 * 1024 * 1024
DEPTH_MAX: Final = 24
NODE_COUNT_MAX: Final = 50_000
MISTAKES_SHOWN_MAX: Final = 50
MISTAKES_MAX: Final = 200
"""Nobody reads more at once, and each may cost a look at everything that is known."""

UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_HALF_HINT: Final = "write the character itself instead of its \\u escapes"
_TEXT_TAG: Final = "tag:yaml.org,2002:str"
# The same language, read by C where the library was built with it: ten times as fast.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTRUCTOR: Final = yaml.constructor.SafeConstructor()
INT_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to correct: where, what, and what to write instead."""

    file: str
    line: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class SourceError(DefinitionError):
    """A source file with mistakes in it; `mistakes` lists every one found."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        shown = "\n".join(str(mistake) for mistake in mistakes[:MISTAKES_SHOWN_MAX])
        more = len(mistakes) - MISTAKES_SHOWN_MAX
        super().__init__(shown + (f"\n... and {more} more" if more > 0 else ""))
        self.mistakes = mistakes


@dataclass(slots=True)
class Mistakes:
    """Collects mistakes, so that an author sees all of them at once; with MISTAKES_MAX of them reading ends."""

    found: list[Mistake] = field(default_factory=list)

    def add(self, node: Node, message: str, hint: str = "") -> None:
        self.found.append(Mistake(node.file, node.line, message, hint))
        if len(self.found) >= MISTAKES_MAX:
            raise SourceError(self.found)

    def raise_if_any(self) -> None:
        """Raises SourceError when anything was found."""
        if self.found:
            raise SourceError(self.found)


@dataclass(frozen=True, slots=True)
class Node:
    """A YAML value with its place. `value`: dict of name -> Node, list of Node, or a scalar."""

    value: Any
    file: str
    line: int

    def items(self) -> Iterator[tuple[str, Node]]:
        """The entries of a mapping node, nothing for any other."""
        if isinstance(self.value, dict):
            yield from self.value.items()

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def parse(text: str, file: str) -> Node:
    """The document's root node. Raises SourceError on YAML that cannot be read or goes over a limit."""
    if len(text.encode()) > SOURCE_BYTES_MAX:
        raise SourceError([Mistake(file, 1, f"the file has {len(text)} characters", f"at most {SOURCE_BYTES_MAX} bytes")])
    try:
        depth = 0
        for count, token in enumerate(yaml.parse(text, _LOADER), start=1):
            line = token.start_mark.line + 1 if token.start_mark else 1
            if isinstance(token, yaml.AliasEvent):
                raise SourceError([Mistake(file, line, "an alias (*name)", "write the value out")])
            if count > NODE_COUNT_MAX:
                raise SourceError([Mistake(file, line, f"more than {NODE_COUNT_MAX:,} values", "split the definitions up")])
            depth += isinstance(token, yaml.CollectionStartEvent) - isinstance(token, yaml.CollectionEndEvent)
            if depth > DEPTH_MAX:
                raise SourceError([Mistake(file, line, f"nested deeper than {DEPTH_MAX} levels")])
        root = yaml.compose(text, _LOADER)
    except yaml.MarkedYAMLError as error:
        raise SourceError([_no_yaml(error, text, file)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"no text: character number {ord(text[error.position])} is not allowed"
        raise SourceError([Mistake(file, line, message, "save the file as plain UTF-8 text")]) from None
    except yaml.YAMLError as error:
        raise SourceError([Mistake(file, 1, f"this is no YAML: {error}")]) from None
    mistakes = Mistakes()
    node = Node({}, file, 1) if root is None else _node(root, file, mistakes)
    mistakes.raise_if_any()
    return node


def _no_yaml(error: yaml.MarkedYAMLError, text: str, file: str) -> Mistake:
    """What the parser did not take, in an author's words."""
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark is not None else 0
    problem = str(error.problem)
    if "nesting depth" in problem:
        return Mistake(file, line + 1, f"nested deeper than {DEPTH_MAX} levels")
    if "Unicode character escape" in problem:
        return Mistake(file, line + 1, "text with half a character in it", _HALF_HINT)
    lines = text.splitlines()
    begins = lines[line] if line < len(lines) else ""  # the place may be behind the last line
    is_tab = "cannot start any token" in problem and begins[: len(begins) - len(begins.lstrip())].count("\t") > 0
    return Mistake(file, line + 1, f"this is no YAML: {problem}", "indent with spaces, never with tabs" if is_tab else "")


def _node(source: yaml.Node, file: str, mistakes: Mistakes) -> Node:
    line = source.start_mark.line + 1
    if isinstance(source, yaml.MappingNode):
        entries: dict[str, Node] = {}
        for key, value in source.value:
            if not isinstance(key, yaml.ScalarNode):
                mistakes.add(Node(None, file, key.start_mark.line + 1), "a key that is no word", "write NAME: VALUE lines")
                continue
            name = str(key.value)
            if name in entries:
                mistakes.add(Node(None, file, key.start_mark.line + 1), f"{name!r} stands here twice", "keep one of them")
            converted = _node(value, file, mistakes)
            entries[name] = Node(converted.value, file, key.start_mark.line + 1)
        return Node(entries, file, line)
    if isinstance(source, yaml.SequenceNode):
        return Node([_node(item, file, mistakes) for item in source.value], file, line)
    node = Node(_scalar(source), file, line)
    if isinstance(node.value, str) and not node.value.isascii() and any("\ud800" <= c <= "\udfff" for c in node.value):
        mistakes.add(node, "text with half a character in it", _HALF_HINT)
    elif isinstance(node.value, int) and abs(node.value) > INT_MAX:
        mistakes.add(node, f"the whole number {shown(node.value)}", "at most 64 bits, or write it as text, in quotes")
    return node


def of_values(value: Any, path: str = "catalog") -> Node:
    """Plain values as a document: dicts, lists, text, numbers, true and false. The path to each stands where a file would."""
    if path.count(".") > DEPTH_MAX:
        raise SourceError([Mistake(path, 0, f"nested deeper than {DEPTH_MAX} levels")])
    if isinstance(value, Mapping):
        return Node({str(name): of_values(held, f"{path}.{name}") for name, held in value.items()}, path, 0)
    if isinstance(value, (list, tuple)):
        return Node([of_values(held, f"{path}.{number}") for number, held in enumerate(value)], path, 0)
    if value is not None and not isinstance(value, (str, bool, int, float)):
        raise SourceError([Mistake(path, 0, f"{type(value).__name__} is no value of a catalog", "text, a number, true or false")])
    return Node(value, path, 0)


def _scalar(source: yaml.Node) -> Any:
    """The value as an author of a catalog means it, which is not always what YAML 1.1 reads."""
    text = str(source.value)
    # `on` and `off` are words here, not booleans: YAML 1.1 would read a trigger's `on` as True; and 1:30 is not 90.
    if text.lower() in ("on", "off", "yes", "no") or ":" in text:
        return text
    if source.tag == _TEXT_TAG:
        return text
    if text.isdecimal() and text.isascii() and not text.startswith("0") and len(text) < 19:
        return int(text)
    try:
        value = _CONSTRUCTOR.construct_object(source)
    except (ValueError, yaml.YAMLError):
        return text
    finally:
        _CONSTRUCTOR.constructed_objects.clear()
        _CONSTRUCTOR.recursive_objects.clear()
    return value if value is None or isinstance(value, (str, bool, int, float)) else text  # a date is text


def shown(value: object) -> str:
    """A value as an author would recognise it, short enough for one line."""
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return {None: "empty", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) > INT_MAX:
        return f"of {value.bit_length()} bits"  # Python refuses to print the longest
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(name: str, known: Any) -> str:
    """`did you mean X?` or the list of what is known."""
    names = sorted(str(item) for item in known)
    if not names:
        return "none is defined here"
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(names[:12])}" + (" ..." if len(names) > 12 else "")


class Reading:
    """Reads the fields of one mapping node, notes what is wrong, and what was never asked for."""

    def __init__(self, node: Node, what: str, mistakes: Mistakes) -> None:
        self.node = node
        self.what = what
        self.mistakes = mistakes
        self._asked: set[str] = set()
        self._found_before = len(mistakes.found)
        if not isinstance(node.value, dict):
            mistakes.add(node, f"{what} is not a mapping", "write it as NAME: VALUE lines")

    def node_of(self, name: str, *, required: bool = False) -> Node | None:
        """The field's node, None when it is not there."""
        self._asked.add(name)
        held = self.node.value.get(name) if isinstance(self.node.value, dict) else None
        if held is None and required and isinstance(self.node.value, dict):
            self.mistakes.add(self.node, f"{self.what} has no {name}", f"write {name}: ...")
        return held

    def text(self, name: str, default: str = "", *, required: bool = False, one_of: tuple[str, ...] = ()) -> str:
        node = self.node_of(name, required=required)
        if node is None:
            return default
        if not isinstance(node.value, str) or (one_of and node.value not in one_of):
            self.mistakes.add(
                node,
                f"{self.what}: {name} is {shown(node.value)}",
                f"one of {', '.join(one_of)}" if one_of else "write text, in quotes",
            )
            return default
        if required and not node.value.strip():
            self.mistakes.add(node, f"{self.what}: {name} is empty", f"write {name}: ...")
        return node.value

    def flag(self, name: str) -> bool:
        node = self.node_of(name)
        if node is None:
            return False
        if not isinstance(node.value, bool):
            self.mistakes.add(node, f"{self.what}: {name} is {shown(node.value)}", "write true or false")
        return node.value is True

    def entries(self, name: str) -> list[tuple[str, Node]]:
        """The NAME: VALUE lines of a field that must be a mapping."""
        node = self.node_of(name)
        if node is not None and not isinstance(node.value, dict):
            self.mistakes.add(node, f"{self.what}: {name} is {shown(node.value)}", "write NAME: VALUE lines")
        return list(node.items()) if node is not None else []

    def number(self, name: str, default: float, *, low: float = 0.0, high: float = float("inf")) -> float:
        node = self.node_of(name)
        if node is None:
            return default
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)) or not _inside(node.value, low, high):
            self.mistakes.add(node, f"{self.what}: {name} is {shown(node.value)}", f"a number from {low:g} to {high:g}")
            return default
        return float(node.value)

    def duration_ms(self, name: str, default: int = 0, *, required: bool = False) -> int:
        node = self.node_of(name, required=required)
        if node is None:
            return default
        held = duration_ms(node.value)
        if held is None:
            self.mistakes.add(
                node, f"{self.what}: {name} is {shown(node.value)}", "a duration such as 150ms, 30m, 6h, 7d, up to 520w"
            )
            return default
        if required and held == 0:
            self.mistakes.add(node, f"{self.what}: {name} is no time at all", "a duration such as 150ms, 30m, 6h, 7d")
        return held

    def names(self, name: str, *, required: bool = False) -> tuple[str, ...]:
        """A list of words; one word may stand alone."""
        node = self.node_of(name, required=required)
        if node is None:
            return ()
        if isinstance(node.value, str):
            return (node.value,)
        if isinstance(node.value, list) and all(isinstance(item.value, str) for item in node.value):
            names = tuple(item.value for item in node.value)
            if required and not names:
                self.mistakes.add(node, f"{self.what}: {name} is an empty list", "write [a, b]")
            for twice in sorted(value for value, count in Counter(names).items() if count > 1):
                self.mistakes.add(node, f"{self.what}: {name} has {twice!r} twice", "keep one of them")
            return names
        self.mistakes.add(node, f"{self.what}: {name} is no list of names", "write [a, b]")
        return ()

    def known(self, name: str, values: tuple[str, ...], known: Any, kind: str) -> None:
        """Notes every value that names nothing of `known`."""
        for value in values:
            if value not in known:
                self.mistakes.add(self.node_of(name) or self.node, f"{self.what}: no {kind} {value!r}", nearest(value, known))

    def guard(self, check: Callable[[], None]) -> None:
        """Notes a DefinitionError of `check` at this place, unless its fields were wrong already."""
        if len(self.mistakes.found) > self._found_before:
            return
        try:
            check()
        except DefinitionError as error:
            self.mistakes.add(self.node, error.message, error.hint)

    def finish(self) -> None:
        """Notes fields nobody asked for."""
        for name, node in self.node.items():
            if name not in self._asked:
                self.mistakes.add(node, f"{self.what} has no field {name!r}", nearest(name, self._asked))


def _inside(value: float, low: float, high: float) -> bool:
    return math.isfinite(value) and low <= value <= high


def duration_ms(value: object) -> int | None:
    """`7d` -> milliseconds; None when it is no duration, or one over DURATION_MS_MAX."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*(ms|s|m|h|d|w)", value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    found = round(float(match[1]) * UNITS_MS[match[2]])
    return found if found <= DURATION_MS_MAX else None
