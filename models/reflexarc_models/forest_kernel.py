"""The server's forest kernel: packed nodes walked without a branch, eight at a time, compiled by numba.

Owns the packing; the walks over it are `forest_walk`'s: one row through eight trees at once, and many rows through one tree.
Must never be needed: where numba is not installed ONNX Runtime scores the same file with the same codes. numpy and numba are
imported by the first construction, never with the module; a device has neither.

A node is one word of 64 bits: its threshold in the upper 32, its left child in the next 26, its input in the lowest 6 (the
right child is next to the left one). Thresholds and values are compared as unsigned integers in the order of the floats, so
that a NaN is over every threshold, as ONNX Runtime has it. A leaf leads to itself, so trees of one group are walked to the
depth of the deepest and none needs a test for its end.
"""

from __future__ import annotations

import importlib.util
import math
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from reflexarc_core.errors import ManifestError, ScoringError
from reflexarc_models.artifact import INPUT_COUNT_MAX, MODEL_FILE, Artifact
from reflexarc_models.onnx_trees import Trees, read_trees

ABREAST: Final = 8
NODE_COUNT_MAX: Final = 1 << 26
_FLOAT32_MAX: Final = 3.4028234663852886e38
_HEAD: Final = 8


def available() -> bool:
    """Whether numba is installed here. Imports nothing."""
    return importlib.util.find_spec("numba") is not None


class ForestKernel:
    """Codes of one forest, one thread. Equal to ONNX Runtime's wherever the leaves sum exactly, as ours do."""

    @staticmethod
    def of(artifact: Artifact) -> ForestKernel:
        """The kernel of an onnx-forest artifact. Raises as the constructor does."""
        top = artifact.code_count - 1
        return ForestKernel(
            artifact.files[MODEL_FILE], len(artifact.inputs), low=artifact.raw_low, scale=artifact.raw_scale, top=top
        )

    def __init__(self, model: bytes, input_count: int, *, low: float, scale: float, top: int) -> None:
        """Compiles, or loads what was compiled before: the first score is as fast as the others.

        model: an ONNX file. A code is floor((raw - low) * scale), clamped to [0, top]. Raises ScoringError without numba,
        ManifestError for a file that is not one ensemble of finite binary trees.
        """
        if not available():
            raise ScoringError("the forest kernel needs numba", hint="pip install 'reflexarc[server]'")
        import numpy

        from reflexarc_models import forest_walk

        self._numpy: Any = numpy
        self._packed = _packed(read_trees(model, input_count), input_count, low, scale, top)
        self._one: Callable[..., int] = forest_walk.walk_one
        self._many: Callable[..., None] = forest_walk.walk_many
        self._many_sums: Callable[..., None] = forest_walk.sum_many
        self._row: Any = numpy.zeros(input_count, dtype=numpy.float32)
        self._bytes: Any = self._row.data.cast("B")
        self._fill = struct.Struct(f"{input_count}f").pack_into
        self._lock = threading.Lock()
        self._share_out: Callable[..., None] = forest_walk.share_out
        self._shares: Any = numpy.array(
            [[1.0 / ((a + b + 1) * math.comb(a + b, a)) for b in range(input_count + 1)] for a in range(input_count + 1)]
        )
        self.input_count = input_count
        rows = numpy.zeros((1, input_count), dtype=numpy.float32)
        self.code([0.0] * input_count)
        self._many(self._packed, rows, numpy.zeros(1, dtype=numpy.int32))
        self.raw(rows)
        self.shapley(rows[0], rows[0])

    def code(self, vector: Sequence[float]) -> int:
        """The code of one vector of `input_count` numbers. NaN takes the right branch of every split."""
        with self._lock:  # one buffer of a row, written in place
            try:
                self._fill(self._bytes, 0, *vector)
            except OverflowError:  # beyond float32: the infinity that a cast would make of it
                self._fill(self._bytes, 0, *map(_narrowed, vector))
            code: int = self._one(self._packed, self._row)
        return code

    def codes(self, rows: Sequence[Sequence[float]] | Any) -> list[int]:
        """The codes of many vectors, or of the rows of an array [n, input_count]."""
        return self.code_array(rows).tolist() if len(rows) else []

    def code_array(self, rows: Sequence[Sequence[float]] | Any) -> Any:
        """The codes of at least one row as int32 [n]; other threads run meanwhile."""
        codes = self._numpy.empty(len(rows), dtype=self._numpy.int32)
        self._many(self._packed, self._float32(rows), codes)
        return codes

    def raw(self, rows: Any) -> Any:
        """The sums of the leaves that at least one row reaches, base included, float64 [n]: what the codes are made of."""
        sums = self._numpy.empty(len(rows), dtype=self._numpy.float64)
        self._many_sums(self._packed, self._float32(rows), sums)
        return sums

    def shapley(self, vector: Sequence[float], reference: Sequence[float]) -> list[float]:
        """Exact Shapley value of each input for the raw sum: they add up to raw(vector) - raw(reference).

        The value of a coalition is the raw sum of the row whose other inputs are the reference's. Time grows with the leaves
        on whose paths the rows part, not with 2^inputs. Any number of inputs.
        """
        numpy = self._numpy
        rows = self._float32([vector, reference])
        factors = numpy.zeros(self.input_count, dtype=numpy.float64)
        self._share_out(self._packed, rows[0], rows[1], self._shares, factors)
        found: list[float] = factors.tolist()
        return found

    def _float32(self, rows: Any) -> Any:
        with self._numpy.errstate(over="ignore"):
            given = self._numpy.ascontiguousarray(rows, dtype=self._numpy.float32)
        if given.shape != (len(rows), self.input_count):
            raise ScoringError(f"rows of shape {given.shape} for {self.input_count} inputs", hint="one number for each input")
        return given


def _narrowed(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) > _FLOAT32_MAX else value


def _packed(trees: Trees, input_count: int, low: float, scale: float, top: int) -> Any:
    """Everything a walk reads as uint64 in one piece, so that a call hands over one array.

    Head: groups, first word of the roots, of the depths, of the nodes, of the weights (float64), base, low, scale as float64
    and the top code; then roots, one depth a group, nodes, weights. Trees stand by falling depth; the last group is filled up
    with a tree of one leaf that weighs nothing. Raises ManifestError for what does not fit the words.
    """
    import numpy as np

    count = len(trees.lefts)
    if count + 1 >= NODE_COUNT_MAX or input_count > INPUT_COUNT_MAX:
        raise ManifestError(f"a forest of {count} nodes over {input_count} inputs does not fit the kernel")
    at = np.arange(count + 1)
    lefts, inputs = np.append(trees.lefts, count), np.append(trees.inputs, 0)
    bits = (np.append(trees.thresholds, 0.0).astype(np.float32) + np.float32(0.0)).view(np.uint32)  # -0.0 becomes 0.0
    ordered = np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    ordered[lefts == at] = (1 << 32) - 1  # no value is over it: a leaf leads to itself
    nodes = ordered << np.uint64(32) | lefts.astype(np.uint64) << np.uint64(6) | inputs.astype(np.uint64)
    order = np.argsort(-trees.depths, kind="stable")
    groups = -(-len(order) // ABREAST)
    roots = np.full(groups * ABREAST, count, dtype=np.uint64)
    roots[: len(order)] = trees.starts[:-1][order]
    depths = trees.depths[order][::ABREAST].astype(np.uint64)
    weights = np.append(trees.weights.astype(np.float64), 0.0)
    starts = _HEAD + 1 + np.cumsum([0, len(roots), groups, len(nodes)])
    head = np.array([groups, *starts[:4], 0, 0, 0, top], dtype=np.uint64)
    head[5:8] = np.array([trees.base, low, scale], dtype=np.float64).view(np.uint64)
    return np.concatenate([head, roots, depths, nodes, weights.view(np.uint64)])
