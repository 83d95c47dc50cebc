"""Frozen dataclasses to JSON-able values and back, and the canonical bytes that are digested.

Owns the one rule: fields by name, defaults left out, unknown fields refused. Must never guess a type.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from reflexarc_core.errors import DefinitionError

T = TypeVar("T")


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no blanks, UTF-8. Raises ValueError on NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical bytes."""
    return hashlib.sha256(canonical(value)).hexdigest()


def to_plain(value: Any) -> Any:
    """A dataclass (or a container of them) as JSON-able values; an object with `to_json` says itself how."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {}
        for field in dataclasses.fields(value):
            held = getattr(value, field.name)
            if field.default is not dataclasses.MISSING and held == field.default:
                continue
            plain[field.name] = to_plain(held)
        return plain
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def from_plain(cls: type[T], plain: Any, where: str = "") -> T:
    """The dataclass `cls` from what `to_plain` made. Raises DefinitionError naming the place that does not fit."""
    where = where or cls.__name__
    if not isinstance(plain, Mapping):
        raise DefinitionError(f"{where} is not an object")
    hints = _hints(cls)  # type: ignore[arg-type]  # a class is hashable
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(plain) - set(fields))
    if unknown:
        raise DefinitionError(f"{where} has unknown fields: {', '.join(unknown)}")
    given = {name: _convert(hints[name], item, f"{where}.{name}") for name, item in plain.items()}
    try:
        return cls(**given)
    except TypeError:
        missing = sorted(
            name
            for name, field in fields.items()
            if name not in given and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        raise DefinitionError(f"{where} lacks {', '.join(missing)}") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        for option in arguments:
            if option is not type(None) and _fits(option, value):
                return _convert(option, value, where)
        raise DefinitionError(f"{where} is {type(value).__name__}, which fits nothing it may be")
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise DefinitionError(f"{where} is not a list")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
        if len(arguments) != len(value):
            raise DefinitionError(f"{where} has {len(value)} elements, not {len(arguments)}")
        return tuple(_convert(a, item, f"{where}[{i}]") for i, (a, item) in enumerate(zip(arguments, value, strict=True)))
    if origin in (list,):
        return [_convert(arguments[0], item, where) for item in value]
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise DefinitionError(f"{where} is not an object")
        return {key: _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(hint, type):
        if hasattr(hint, "from_json"):
            return hint.from_json(value)
        if dataclasses.is_dataclass(hint):
            return from_plain(hint, value, where)
        if hint is float and type(value) is int:
            return float(value)
        if not _fits(hint, value):
            raise DefinitionError(f"{where} is {type(value).__name__}, not {hint.__name__}")
    return value


def _fits(hint: Any, value: Any) -> bool:
    if typing.get_origin(hint) in (list, tuple):
        return isinstance(value, (list, tuple))
    if hint is Any:
        return True
    if isinstance(hint, type):
        if dataclasses.is_dataclass(hint) or hasattr(hint, "from_json"):
            return isinstance(value, (Mapping, list))
        if hint is float:
            return type(value) in (int, float)
        return type(value) is hint or (isinstance(value, hint) and not isinstance(value, bool))
    return isinstance(value, Mapping)
