"""JSON's tokens in bytes, compiled: where a text or a number ends, and what it says (https://datatracker.ietf.org/doc/html/rfc8259).

Owns which of them are usual: the others are not wrong, only somebody else's to read. Looks at no byte behind the last. Who
changes something here touches `scanning` too: what is compiled is kept for as long as the file of whoever calls it is unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])
_njit: Any = njit
compiled: Final[Callable[[F], F]] = _njit(cache=True)
DIGITS_MAX: Final = 15
"""So many digits are exact in a float64, and so is their quotient by a power of ten."""
QUOTE, BACKSLASH, MINUS, ZERO, NINE = 34, 92, 45, 48, 57
_POINT: Final = 46


@compiled
def find(raw: Any, begin: int, end: int, texts: Any, table: Any, first: int, last: int) -> int:
    """The row of a table, from `first` to before `last`, whose text is raw[begin:end]; -1 for none."""
    for row in range(first, last):
        at = table[row, 0]
        if table[row, 1] - at == end - begin:
            place = begin
            while place < end and raw[place] == texts[at]:
                place += 1
                at += 1
            if place == end:
                return row
    return -1


@compiled
def text_end(raw: Any, begin: int) -> tuple[int, int]:
    """(where a text ends that begins behind its quote, escapes in it); (-1, 0) where it is not usual: no UTF-8, a control
    character, an escape of a code. https://datatracker.ietf.org/doc/html/rfc8259#section-7"""
    length = len(raw)
    position = begin
    escapes = 0
    while position < length:
        byte = int(raw[position])
        if byte == QUOTE:
            return position, escapes
        position += 1
        if byte < 32:
            return -1, 0
        if byte == BACKSLASH:
            if position == length or unescaped(int(raw[position])) < 0:
                return -1, 0
            position += 1
            escapes += 1
        elif byte >= 128:  # UTF-8, by the table of the Unicode standard (D92)
            low = 128
            high = 191
            if 194 <= byte <= 223:
                more = 1
            elif 224 <= byte <= 239:
                more = 2
                if byte == 224:
                    low = 160
                elif byte == 237:
                    high = 159
            elif 240 <= byte <= 244:
                more = 3
                if byte == 240:
                    low = 144
                elif byte == 244:
                    high = 143
            else:
                return -1, 0
            if more > length - position:
                return -1, 0
            for _ in range(more):
                if not low <= raw[position] <= high:
                    return -1, 0
                position += 1
                low = 128
                high = 191
    return -1, 0


@compiled
def unescaped(byte: int) -> int:
    """What a backslash and this byte stand for; -1 for an escape of a code, or none."""
    if byte == QUOTE or byte == BACKSLASH or byte == 47:
        return byte
    if byte == 110:
        return 10
    if byte == 116:
        return 9
    if byte == 114:
        return 13
    if byte == 98:
        return 8
    if byte == 102:
        return 12
    return -1


@compiled
def number_end(raw: Any, begin: int) -> tuple[int, int, int]:
    """(where a number ends, its digits as a whole number, how many of them are behind the point); (-1, 0, 0) where it is not
    usual: an exponent, minus zero, too many digits."""
    length = len(raw)
    position = begin
    is_negative = raw[position] == MINUS
    if is_negative:
        position += 1
    first = position
    digits = 0
    while position < length and ZERO <= raw[position] <= NINE and position - first <= DIGITS_MAX:
        digits = digits * 10 + int(raw[position]) - ZERO
        position += 1
    count = position - first
    if count == 0 or (count > 1 and raw[first] == ZERO):
        return -1, 0, 0
    behind = 0
    if position < length and raw[position] == _POINT:
        position += 1
        first = position
        while position < length and ZERO <= raw[position] <= NINE and position - first <= DIGITS_MAX:
            digits = digits * 10 + int(raw[position]) - ZERO
            position += 1
        behind = position - first
        if behind == 0:
            return -1, 0, 0
    if count + behind > DIGITS_MAX or (is_negative and digits == 0):
        return -1, 0, 0
    if position < length and (raw[position] == 101 or raw[position] == 69):
        return -1, 0, 0
    return position, -digits if is_negative else digits, behind


@compiled
def quotient(digits: int, behind: int) -> float:
    scale = 1.0
    for _ in range(behind):
        scale *= 10.0
    return digits / scale
