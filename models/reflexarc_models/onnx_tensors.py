"""Reads the named initializers of an ONNX file with the standard library.

Owns just enough of the protobuf wire format to find them, so that the built-in walk reads the very constants
that ONNX Runtime would run. Must never interpret nodes. Source of the field numbers: onnx.proto
(ModelProto.graph = 7, GraphProto.initializer = 5, TensorProto.dims = 1, data_type = 2, name = 8, raw_data =
9).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from reflexarc_core.errors import ManifestError

FLOAT: Final = 1
UINT8: Final = 2
INT8: Final = 3
UINT16: Final = 4
INT32: Final = 6
INT64: Final = 7
_FORMATS: Final = {FLOAT: "f", UINT8: "B", INT8: "b", UINT16: "H", INT32: "i", INT64: "q"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One initializer: its ONNX element type number, its shape, its values in row-major order."""

    data_type: int
    shape: tuple[int, ...]
    values: tuple[float, ...] | tuple[int, ...]


def initializers(model: bytes) -> dict[str, Tensor]:
    """Every initializer of the main graph by name. Raises ManifestError when the bytes are not such a
    file.
    """
    found: dict[str, Tensor] = {}
    try:
        for number, graph in fields(model):
            if number == 7 and isinstance(graph, bytes):
                for inner, tensor in fields(graph):
                    if inner == 5 and isinstance(tensor, bytes):
                        name, value = _tensor(tensor)
                        found[name] = value
    except (IndexError, struct.error, UnicodeDecodeError, KeyError) as error:
        raise ManifestError(f"the model file is not readable ONNX: {error!r}") from error
    return found


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(field number, content) in order: an integer for a varint, else bytes. Raises IndexError when they end early."""
    position, end = 0, len(message)
    while position < end:
        tag, position = varint(message, position)
        wire = tag & 7
        if wire == 0:
            number, position = varint(message, position)
            yield tag >> 3, number
        elif wire == 2:
            size, position = varint(message, position)
            if position + size > end:
                raise IndexError("a field ends behind the file")
            yield tag >> 3, message[position : position + size]
            position += size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            yield tag >> 3, message[position : position + size]
            position += size
        else:
            raise IndexError(f"wire type {wire}")


def varint(message: bytes, position: int) -> tuple[int, int]:
    """(the number that begins at `position`, where it ends). Raises IndexError when it does not end."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise IndexError("a number longer than 64 bits")


def _tensor(message: bytes) -> tuple[str, Tensor]:
    name, raw, data_type = "", b"", 0
    shape: list[int] = []
    for number, value in fields(message):
        if number == 1 and isinstance(value, int):
            shape.append(value)
        elif number == 1 and isinstance(value, bytes):  # packed
            position = 0
            while position < len(value):
                size, position = varint(value, position)
                shape.append(size)
        elif number == 2 and isinstance(value, int):
            data_type = value
        elif number == 8 and isinstance(value, bytes):
            name = value.decode()
        elif number == 9 and isinstance(value, bytes):
            raw = value
    count = math.prod(shape)
    return name, Tensor(data_type, tuple(shape), struct.unpack(f"<{count}{_FORMATS[data_type]}", raw))
