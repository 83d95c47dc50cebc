"""The compiled walks over a packed forest (`forest_kernel` has the layout). Imports numba: must be imported where numba is.

Everything is unsigned, for a signed index costs a test for negative ones. Sums are made in float64 and rounded to float32
once: exact for leaves that are dyadic fractions, within half a unit of float32 for others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np

TILE_ROWS: Final = 128
_U = np.uint64
_ONE, _EIGHT, _SIX, _UPPER = _U(1), _U(8), _U(6), _U(32)
_LOW, _INPUT, _SIGN, _INFINITY, _NAN = _U((1 << 32) - 1), _U(63), _U(1 << 31), _U(0x7F80_0000), _U(0xFFC0_0000)


def compiled(nogil: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """numba's compilation, kept on disk where there is a place for it."""

    def compile_one(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, nogil=nogil)(function)
        except RuntimeError:  # nowhere to keep it: packages that are read-only, and no home
            return numba.njit(nogil=nogil)(function)

    return compile_one


@compiled()
def ordered(given):  # type: ignore[no-untyped-def]
    """The bits of a float32 as a number in the order of the floats: -0.0 as 0.0, every NaN over infinity."""
    bits = _U(given)
    if bits & (_SIGN - _ONE) > _INFINITY:
        return _NAN
    if bits <= _SIGN:
        return bits | _SIGN
    return bits ^ _LOW


@compiled()
def down(packed, nodes, values, row, node):  # type: ignore[no-untyped-def]
    """The child that a row, its values beginning at `row`, goes to from `node`."""
    word = packed[nodes + node]
    link = word & _LOW
    return (link >> _SIX) + _U(_U(values[row + (link & _INPUT)]) > word >> _UPPER)


@compiled()
def code_of(packed, numbers, raw):  # type: ignore[no-untyped-def]
    """The bin of a sum, rounded to float32, by the manifest's rule."""
    place = np.int64(math.floor((raw - numbers[6]) * numbers[7]))
    return max(np.int64(0), min(np.int64(packed[8]), place))


@compiled()
def walk_one(packed, row):  # type: ignore[no-untyped-def]
    """The code of one row, float32, which is overwritten."""
    numbers = packed.view(np.float64)
    values = row.view(np.uint32)
    for i in range(len(values)):
        values[i] = ordered(values[i])
    group_count, roots, depths, nodes, weights = packed[0], packed[1], packed[2], packed[3], packed[4]
    start = _U(0)
    total = 0.0
    for group in range(group_count):
        at = roots + _EIGHT * _U(group)
        a, b, c, d = packed[at], packed[at + _U(1)], packed[at + _U(2)], packed[at + _U(3)]
        e, f, g, h = packed[at + _U(4)], packed[at + _U(5)], packed[at + _U(6)], packed[at + _U(7)]
        for _ in range(packed[depths + _U(group)]):
            a, b = down(packed, nodes, values, start, a), down(packed, nodes, values, start, b)
            c, d = down(packed, nodes, values, start, c), down(packed, nodes, values, start, d)
            e, f = down(packed, nodes, values, start, e), down(packed, nodes, values, start, f)
            g, h = down(packed, nodes, values, start, g), down(packed, nodes, values, start, h)
        total += numbers[weights + a] + numbers[weights + b] + numbers[weights + c] + numbers[weights + d]
        total += numbers[weights + e] + numbers[weights + f] + numbers[weights + g] + numbers[weights + h]
    return code_of(packed, numbers, float(np.float32(total + numbers[5])))


@compiled()
def sum_tile(packed, values, width, count, sums):  # type: ignore[no-untyped-def]
    """Add up the leaves of every tree for `count` rows of `width` ordered values; one tree stays in the cache for all of them."""
    numbers = packed.view(np.float64)
    roots, depths, nodes, weights = packed[1], packed[2], packed[3], packed[4]
    for tree in range(packed[0] * _EIGHT):
        root = packed[roots + _U(tree)]
        depth = packed[depths + _U(tree) // _EIGHT]
        i = 0
        while i + 8 <= count:
            p = _U(i) * width
            q, r, s = p + width, p + _U(2) * width, p + _U(3) * width
            t, u, v, w = p + _U(4) * width, p + _U(5) * width, p + _U(6) * width, p + _U(7) * width
            a = b = c = d = e = f = g = h = root
            for _ in range(depth):
                a, b = down(packed, nodes, values, p, a), down(packed, nodes, values, q, b)
                c, d = down(packed, nodes, values, r, c), down(packed, nodes, values, s, d)
                e, f = down(packed, nodes, values, t, e), down(packed, nodes, values, u, f)
                g, h = down(packed, nodes, values, v, g), down(packed, nodes, values, w, h)
            sums[i] += numbers[weights + a]
            sums[i + 1] += numbers[weights + b]
            sums[i + 2] += numbers[weights + c]
            sums[i + 3] += numbers[weights + d]
            sums[i + 4] += numbers[weights + e]
            sums[i + 5] += numbers[weights + f]
            sums[i + 6] += numbers[weights + g]
            sums[i + 7] += numbers[weights + h]
            i += 8
        while i < count:
            a = root
            for _ in range(depth):
                a = down(packed, nodes, values, _U(i) * width, a)
            sums[i] += numbers[weights + a]
            i += 1


@compiled(nogil=True)
def sum_many(packed, rows, out):  # type: ignore[no-untyped-def]
    """Sums of leaves and base of rows, float32 [n, width], into `out`, float64 [n]."""
    base = packed.view(np.float64)[5]
    bits = rows.view(np.uint32)
    width = rows.shape[1]
    values = np.empty(TILE_ROWS * width, dtype=np.uint32)
    for first in range(0, len(rows), TILE_ROWS):
        count = min(TILE_ROWS, len(rows) - first)
        for i in range(count):
            for j in range(width):
                values[i * width + j] = ordered(bits[first + i, j])
        sums = out[first : first + count]
        sums[:] = 0.0
        sum_tile(packed, values, _U(width), count, sums)
        for i in range(count):
            sums[i] = float(np.float32(sums[i] + base))


@compiled(nogil=True)
def walk_many(packed, rows, codes):  # type: ignore[no-untyped-def]
    """Codes of rows, float32 [n, width], into `codes`, int32 [n]."""
    numbers = packed.view(np.float64)
    sums = np.empty(len(rows), dtype=np.float64)
    sum_many(packed, rows, sums)
    for i in range(len(rows)):
        codes[i] = code_of(packed, numbers, sums[i])


@compiled(nogil=True)
def share_out(packed, row, reference, shares, factors):  # type: ignore[no-untyped-def]
    """Add each input's Shapley value of the sum of leaves, the row's against the reference's, to `factors`, float64 [inputs].

    row, reference: float32, overwritten. shares[a, b] = a! b! / (a + b + 1)!. A leaf is reached by a mixture of both rows just
    when it takes some inputs (`ours`) from the row and some others (`theirs`) from the reference; of such a game the values
    are known: shares[a - 1, b] to each of ours and -shares[a, b - 1] to each of theirs, times the leaf. Only the paths on
    which the rows part are walked twice. Source: Lundberg et al. (2020), interventional TreeSHAP, for one background row.
    """
    numbers = packed.view(np.float64)
    ours_at, theirs_at = row.view(np.uint32), reference.view(np.uint32)
    width = len(factors)
    for i in range(width):
        ours_at[i] = ordered(ours_at[i])
        theirs_at[i] = ordered(theirs_at[i])
    roots, nodes, weights = packed[1], packed[3], packed[4]
    # A path branches once for each input at most, so that no more wait than there are inputs.
    waiting = np.empty((width + 1, 3), dtype=np.uint64)
    for tree in range(packed[0] * _EIGHT):
        waiting[0, 0], waiting[0, 1], waiting[0, 2] = packed[roots + _U(tree)], _U(0), _U(0)
        held = 1
        while held > 0:
            held -= 1
            node, ours, theirs = waiting[held, 0], waiting[held, 1], waiting[held, 2]
            while True:
                word = packed[nodes + node]
                left, place = (word & _LOW) >> _SIX, word & _INPUT
                if left == node:
                    break
                bit = _ONE << place
                by_row = left + _U(_U(ours_at[place]) > word >> _UPPER)
                by_reference = left + _U(_U(theirs_at[place]) > word >> _UPPER)
                if theirs & bit:
                    node = by_reference
                elif by_row == by_reference or ours & bit:
                    node = by_row
                else:
                    waiting[held, 0], waiting[held, 1], waiting[held, 2] = by_reference, ours, theirs | bit
                    held += 1
                    node, ours = by_row, ours | bit
            a = b = 0
            for i in range(width):
                a += int((ours >> _U(i)) & _ONE)
                b += int((theirs >> _U(i)) & _ONE)
            leaf = numbers[weights + node]
            for i in range(width):
                if (ours >> _U(i)) & _ONE:
                    factors[i] += leaf * shares[a - 1, b]
                elif (theirs >> _U(i)) & _ONE:
                    factors[i] -= leaf * shares[a, b - 1]
