"""Implicit alternating least squares: the factors of items from who had to do with what.

Owns the fit, in numba. Must never choose its own settings nor look at anything but weights: what is tried and what is
held back is decided in `reflexarc_models.train.ranking.tuning`.

Source of the objective and of the frequency-scaled regulariser: Rendle, Krichene, Zhang and Koren, "Revisiting the
performance of iALS on item recommendation benchmarks" (2021). Items are regularised by their frequency, subjects all
alike: a device moves a subject by rank-one updates, which a regulariser that grows with each event would not allow.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class IalsSettings:
    """dimension: d. unobserved_weight: w0, of every pair that was not seen. regulariser: of an average subject or item,
    in units of weight. frequency_power: 0 regularises all items alike, 1 in proportion to how often they are seen.
    """

    dimension: int = 32
    unobserved_weight: float = 0.1
    regulariser: float = 3.0
    frequency_power: float = 0.5
    epoch_count: int = 10


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Weights by subject, merged over repeats. starts: int64 [s + 1]; items: int32 [n], ascending within a subject;
    weights: float32 [n], positive.
    """

    starts: NDArray[np.int64]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    item_count: int

    @property
    def subject_count(self) -> int:
        """How many subjects, those without any item among them."""
        return len(self.starts) - 1

    def transposed(self) -> Matrix:
        """The same by item."""
        subjects = np.repeat(np.arange(self.subject_count, dtype=np.int32), np.diff(self.starts))
        order = np.argsort(self.items, kind="stable")
        counts = np.bincount(self.items, minlength=self.item_count)
        starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        return Matrix(starts, subjects[order], self.weights[order], self.subject_count)


def fit_ials(seen: Matrix, settings: IalsSettings, seed: int) -> NDArray[np.float32]:
    """Item factors, float32 [items, d]; zeros for an item that nobody had to do with. Deterministic."""
    by_item = seen.transposed()
    d = settings.dimension
    counts = np.diff(by_item.starts).astype(np.float64)
    items = np.random.default_rng(seed).normal(0.0, 0.1 / np.sqrt(d), (seen.item_count, d)).astype(np.float32)
    items[counts == 0] = 0.0
    subjects = np.zeros((seen.subject_count, d), dtype=np.float32)
    mean = counts[counts > 0].mean() if counts.any() else 1.0
    item_regulariser = settings.regulariser * np.where(counts > 0, (counts / mean) ** settings.frequency_power, 1.0)
    subject_regulariser = np.full(seen.subject_count, settings.regulariser)
    for _ in range(settings.epoch_count):
        _solve_all(seen, items, settings.unobserved_weight, subject_regulariser, subjects)
        _solve_all(by_item, subjects, settings.unobserved_weight, item_regulariser, items)
    return items


def fold_in(
    seen: Matrix, vectors: NDArray[np.floating[Any]], unobserved_weight: float, regulariser: float
) -> NDArray[np.float64]:
    """The tastes of all subjects given item factors, float64 [s, d]: what `Interest.rebuild` gives for each."""
    wide = np.ascontiguousarray(vectors, dtype=np.float64)
    tastes = np.zeros((seen.subject_count, wide.shape[1]))
    _solve_all(seen, wide, unobserved_weight, np.full(seen.subject_count, regulariser), tastes)
    return tastes


def _solve_all(
    seen: Matrix,
    other: NDArray[np.floating[Any]],
    unobserved_weight: float,
    regulariser: NDArray[np.float64],
    out: NDArray[np.floating[Any]],
) -> None:
    """One half of an epoch: every row of `out` given the factors of the other side. regulariser: one number per row that
    depends on nothing but how many entries the row has.
    """
    gram = unobserved_weight * (other.T.astype(np.float64) @ other.astype(np.float64))
    counts = np.diff(seen.starts)
    # A row with few entries is solved in their number instead of in d: most items of a long tail have a handful.
    few = min(other.shape[1] // 3, 24)
    inverses = np.zeros((few + 1, *gram.shape))
    for count in range(1, few + 1):
        rows = np.flatnonzero(counts == count)
        if len(rows):
            inverses[count] = np.linalg.inv(gram + regulariser[rows[0]] * np.eye(len(gram)))
    kind = out.dtype
    _compiled_half()(
        seen.starts, seen.items, seen.weights.astype(kind), other, gram.astype(kind), regulariser.astype(kind),
        inverses.astype(kind), out,
    )  # fmt: skip


@functools.cache
def _compiled_half() -> Callable[..., None]:
    """`_half` under numba, compiled once a process and type."""
    scope: dict[str, Any] = {"np": np, "_factor": numba.njit(fastmath=True)(_factor)}
    compiled: Callable[..., None] = numba.njit(nogil=True, fastmath=True)(types.FunctionType(_half.__code__, scope, "_half"))
    return compiled


def _factor(a, b, size):  # type: ignore[no-untyped-def]
    """For numba: solve a x = b in place by Cholesky; only the lower half of `a` is read."""
    for i in range(size):
        for j in range(i):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            a[i, j] = total / a[j, j]
        total = a[i, i]
        for k in range(i):
            total -= a[i, k] * a[i, k]
        a[i, i] = np.sqrt(max(total, 1e-12))
    for i in range(size):
        total = b[i]
        for k in range(i):
            total -= a[i, k] * b[k]
        b[i] = total / a[i, i]
    for i in range(size - 1, -1, -1):
        b[i] /= a[i, i]
        for k in range(i):
            b[k] -= a[i, k] * b[i]


def _half(starts, columns, weights, other, gram, regulariser, inverses, out):  # type: ignore[no-untyped-def]
    """For numba: each row of `out` solves (gram + regulariser I + sum a h h^T) x = sum a h.

    With few entries, V their factors and P the inverse of the first two terms: x = P V^T (A^-1 + V P V^T)^-1 1
    (Woodbury), else by Cholesky.
    """
    d = other.shape[1]
    few = len(inverses) - 1
    a = np.empty((d, d), dtype=out.dtype)
    b = np.empty(d, dtype=out.dtype)
    pv = np.empty((few + 1, d), dtype=out.dtype)
    for row in range(len(starts) - 1):
        first, last = starts[row], starts[row + 1]
        count = last - first
        if count == 0:
            out[row, :] = 0.0
        elif count <= few:
            p = inverses[count]
            for c in range(count):
                h = other[columns[first + c]]
                for i in range(d):
                    total = p[i, 0] * h[0]
                    for j in range(1, d):
                        total += p[i, j] * h[j]
                    pv[c, i] = total
                for e in range(c + 1):
                    g = other[columns[first + e]]
                    total = pv[c, 0] * g[0]
                    for j in range(1, d):
                        total += pv[c, j] * g[j]
                    a[c, e] = total
                a[c, c] += 1 / weights[first + c]
                b[c] = 1.0
            _factor(a, b, count)  # type: ignore[no-untyped-call]
            out[row, :] = 0.0
            for c in range(count):
                for i in range(d):
                    out[row, i] += b[c] * pv[c, i]
        else:
            a[:] = gram
            b[:] = 0.0
            for i in range(d):
                a[i, i] += regulariser[row]
            for place in range(first, last):
                h = other[columns[place]]
                weight = weights[place]
                for i in range(d):
                    scaled = weight * h[i]
                    b[i] += scaled
                    for j in range(i + 1):
                        a[i, j] += scaled * h[j]
            _factor(a, b, d)  # type: ignore[no-untyped-call]
            for i in range(d):
                out[row, i] = b[i]
