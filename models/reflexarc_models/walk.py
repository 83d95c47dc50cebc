"""The built-in integer walk over symmetric trees with int8 leaves: the device's own evaluator.

Owns the decoding of a student model file and its exact evaluation without numpy or ONNX Runtime. Every step
after the comparison is integer arithmetic, so the code is the same on every machine and equals ONNX
Runtime's.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections.abc import Sequence
from operator import getitem
from typing import Final

from reflexarc_core.errors import ManifestError
from reflexarc_models.onnx_tensors import FLOAT, INT8, INT32, UINT8, UINT16, Tensor, initializers

# Names of the constants in a student's model file (short, for they are downloaded with every model).
FEATURE, THRESHOLD, SPLIT, BASE, LEAF, OFFSET, STEP, TOP = "f", "t", "s", "b", "l", "o", "d", "c"

CELLS_KEPT_MAX: Final = 4_096
"""Cells of one model whose code is remembered: some 600 kB when all are."""


class ObliviousWalk:
    """Symmetric trees as one wide integer per feature interval: bisect, OR, look up leaves, add.

    Trees see of a value only the interval it lies in, so vectors fall into the cells of a grid, and a cell's
    code is remembered: the vectors of one person move little. Byte t of the wide integer is the leaf index of tree
    t; each feature's interval contributes the bits of the splits it satisfies. `code(vector)` takes float64
    values without NaN and compares them as float32, as ONNX Runtime does.
    """

    __slots__ = (
        "_bytes", "_codes", "_edges", "_leaves", "_masks", "_offset", "_step", "_top", "input_count",
    )  # fmt: skip

    def __init__(self, model: bytes, input_count: int) -> None:
        """Raises ManifestError when the file does not hold such trees over `input_count` inputs."""
        found = initializers(model)
        features = _take(found, FEATURE, UINT8)
        thresholds = _take(found, THRESHOLD, FLOAT)
        splits = _take(found, SPLIT, UINT8, UINT16)
        bases = _take(found, BASE, INT32)
        leaves = _take(found, LEAF, INT8)
        self._offset = int(_take(found, OFFSET, INT32)[0])
        self._step = int(_take(found, STEP, INT32)[0])
        self._top = int(_take(found, TOP, INT32)[0])
        tree_count = len(bases)
        depth = len(splits) // max(1, tree_count)
        if (
            not tree_count
            or not 1 <= depth <= 8
            or len(splits) != tree_count * depth
            or len(leaves) != tree_count << depth
            or list(bases) != [tree << depth for tree in range(tree_count)]
            or len(features) != len(thresholds)
            or max(features) >= input_count
            or max(splits) >= len(features)
            or self._step <= 0
            or not all(math.isfinite(threshold) for threshold in thresholds)
        ):
            raise ManifestError("the model file is not a forest of symmetric trees", hint="train the model again")
        self.input_count = input_count
        self._bytes = tree_count
        self._leaves = tuple(
            tuple(int(leaf) for leaf in leaves[tree << depth : (tree + 1) << depth]) for tree in range(tree_count)
        )
        bits: list[dict[float, int]] = [{} for _ in range(input_count)]
        for place, split in enumerate(splits):
            tree, level = divmod(place, depth)
            feature, edge = int(features[int(split)]), _edge(float(thresholds[int(split)]))
            bits[feature][edge] = bits[feature].get(edge, 0) | 1 << (8 * tree + level)
        self._edges = tuple(tuple(sorted(of_feature)) for of_feature in bits)
        masks: list[tuple[int, ...]] = []
        for of_feature, edges in zip(bits, self._edges, strict=True):
            mask, row = 0, [0]
            for edge in edges:
                mask |= of_feature[edge]
                row.append(mask)
            masks.append(tuple(row))
        self._masks = tuple(masks)
        self._codes: dict[tuple[int, ...], int] = {}

    def code(self, vector: Sequence[float]) -> int:
        """The code of one vector of `input_count` numbers, none NaN."""
        cell = tuple(map(bisect_left, self._edges, vector))
        code = self._codes.get(cell)
        if code is None:
            if len(self._codes) >= CELLS_KEPT_MAX:
                self._codes.clear()
            code = self._codes[cell] = self._walk(cell)
        return code

    def _walk(self, cell: tuple[int, ...]) -> int:
        """The code of the vectors whose values lie in these intervals."""
        wide = 0
        for interval, masks in zip(cell, self._masks, strict=False):
            wide |= masks[interval]
        total = self._offset + sum(map(getitem, self._leaves, wide.to_bytes(self._bytes, "little")))
        if total <= 0:
            return 0
        code = total // self._step
        return code if code < self._top else self._top


def _take(found: dict[str, Tensor], name: str, *types: int) -> tuple[float, ...] | tuple[int, ...]:
    tensor = found.get(name)
    if tensor is None or tensor.data_type not in types or not tensor.values:
        raise ManifestError(f"the model file has no usable constant {name!r}", hint="train the model again")
    return tensor.values


def _edge(threshold: float) -> float:
    """The largest float64 that is not over `threshold` once rounded to float32.

    Rounding is monotone, so `float32(x) > threshold` equals `x > edge`, and the hot path needs no rounding.
    The boundary is the midpoint to the next float32; a tie goes to the even neighbour.
    """
    pattern = struct.unpack("<i", struct.pack("<f", threshold))[0]
    if threshold == 0.0:
        above: float = struct.unpack("<f", struct.pack("<i", 1))[0]
        even = True
    else:
        above = struct.unpack("<f", struct.pack("<i", pattern + (1 if threshold > 0 else -1)))[0]
        even = pattern % 2 == 0
    if not math.isfinite(above):
        return threshold
    middle = threshold + (above - threshold) / 2
    return middle if even else math.nextafter(middle, -math.inf)
