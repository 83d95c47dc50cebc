"""The device student: symmetric trees with int8 leaves that imitate the heavy model's log-odds.

Owns the rows to imitate on, the trees' integer form and their ONNX graph (`symmetric` has the loops). Boosting chooses the
splits; the leaves are then fitted again and again, tree by tree, and last as integers, so that trees repair each other's
rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.errors import ManifestError
from reflexarc_models import walk
from reflexarc_models.onnx_tensors import INT8, initializers
from reflexarc_models.train.forms import symmetric

CODE_COUNT_MAX: Final = 256
TREE_COUNT: Final = 52
TREE_COUNT_MIN: Final = 20
"""Fewer are not tried, however much room the rest of an artifact takes: its size gate then says that it does not hold."""
DEPTH: Final = 6
THRESHOLDS_PER_INPUT_MAX: Final = 255
SPLIT_COUNT_MAX: Final = 256
LOGIT_MAX: Final = 5.0
LOGIT_BEYOND_MEAN: Final = 3.0
"""Log-odds are imitated up to LOGIT_MAX either way, and where nearly everybody is alike, so far beyond their mean."""
LEARNING_RATE: Final = 0.5
REGROW_COUNT: Final = 3
SWEEP_BETWEEN_COUNT: Final = 3
SWEEP_COUNT: Final = 30
SWEEP_RATE: Final = 0.7
SWEEP_WHOLE_COUNT: Final = 2
WEIGHT_POWER: Final = 2.0
ROWS: Final = 40_000
SWAP_SHARE: Final = 0.15
GIVEN_WEIGHT: Final = 3.0
"""A row of a subject there is counts as many mixtures: it is for such rows that the student decides."""
LINE_WEIGHT: Final = 3.0
LINE_WIDTH: Final = 0.1
"""A row on a live line counts so many times more, and less the further its score lies from it: there, decisions flip."""


@dataclass(frozen=True, slots=True, eq=False)
class Student:
    """Symmetric trees in integers. code = clamp((offset + sum of leaves) // step, 0, code_count - 1).

    features, thresholds: the distinct splits. splits: [T, depth] numbers of these. leaves: int8 [T, 2^depth].
    scale: log-odds per unit of leaf; bias: log-odds of a leaf sum of 0.
    """

    features: NDArray[np.uint8]
    thresholds: NDArray[np.float32]
    splits: NDArray[np.int64]
    leaves: NDArray[np.int8]
    offset: int
    step: int
    code_count: int
    scale: float
    bias: float

    @property
    def bytes_per_tree(self) -> int:
        """What a tree takes in the model file: its leaves, its splits, and where its leaves begin."""
        tree_count, leaf_count = self.leaves.shape
        return int(leaf_count + self.splits.size // tree_count + 4)


def distillation_rows(x: NDArray[np.float64], seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(ROWS rows to imitate on, how much each counts): the given ones (at most three quarters), then mixtures of them.

    A mixture is a row with a few inputs of another and may be moved a little, so the student also knows what lies between
    and beside the subjects there are; taken half from each, most mixtures would be people that nobody resembles.
    """
    random = np.random.default_rng(seed)
    if len(x) > ROWS * 3 // 4:
        x = x[np.sort(random.choice(len(x), ROWS * 3 // 4, replace=False))]
    count = ROWS - len(x)
    first, second = x[random.integers(len(x), size=count)], x[random.integers(len(x), size=count)]
    mixed = np.where(random.random(first.shape) < SWAP_SHARE, second, first)
    moved = np.clip(mixed + random.normal(0.0, 0.05, mixed.shape) * x.std(axis=0), x.min(axis=0), x.max(axis=0))
    rows = np.vstack([x, np.where(random.random(mixed.shape) < 0.5, moved, mixed)])
    return rows, np.repeat([GIVEN_WEIGHT, 1.0], [len(x), count])


def near_lines(scores: NDArray[np.float64], lines: Iterable[float]) -> NDArray[np.float64]:
    """How much more rows of these scores count, for they lie near a live line: 1 far from all of them."""
    return 1.0 + LINE_WEIGHT * sum((np.exp(-(((scores - line) / LINE_WIDTH) ** 2)) for line in lines), np.zeros(len(scores)))


def fit_student(
    x: NDArray[np.float64],
    logits: NDArray[np.float64],
    candidates: list[tuple[int, float]],
    tree_count: int = TREE_COUNT,
    depth: int = DEPTH,
    counts: NDArray[np.float64] | None = None,
) -> Student:
    """Symmetric trees on the log-odds, squared error. candidates: (input, threshold) pairs of the heavy
    model.

    x: float64 [n, F] without NaN. counts: how much each row counts, all alike by default. Rows weigh (p (1 - p))^WEIGHT_POWER
    besides, for a gap in log-odds matters by what it does to the probability. Deterministic.
    """
    rows = x.astype(np.float32)
    edges = [_edges(rows[:, place], candidates, place) for place in range(rows.shape[1])]
    bins = [np.searchsorted(of_input, rows[:, place], side="left") for place, of_input in enumerate(edges)]
    middle = float(logits.mean())
    target = np.clip(logits, min(-LOGIT_MAX, middle - LOGIT_BEYOND_MEAN), max(LOGIT_MAX, middle + LOGIT_BEYOND_MEAN))
    odds = np.exp(target)
    weight = (odds / (1.0 + odds) ** 2) ** WEIGHT_POWER
    weight = weight if counts is None else weight * counts
    weight /= weight.mean()
    bias = float(np.average(target, weights=weight))
    target = target - bias
    packed, edge_counts = np.stack(bins).astype(np.uint8), np.array([len(of_input) for of_input in edges])
    inputs, places, reached, values, known = symmetric.boost(
        packed, edge_counts, weight, target, tree_count, depth, LEARNING_RATE, SPLIT_COUNT_MAX
    )
    rest = symmetric.left_over(reached, values, target)
    for _ in range(REGROW_COUNT):
        symmetric.sweep(reached, values, rest, weight, SWEEP_BETWEEN_COUNT, SWEEP_RATE, 1.0, False)
        symmetric.regrow(packed, edge_counts, weight, rest, inputs, places, reached, values, known, SPLIT_COUNT_MAX)
    symmetric.sweep(reached, values, rest, weight, SWEEP_COUNT, SWEEP_RATE, 1.0, False)
    scale = max(float(np.abs(values).max()), 1e-6) / 127.0
    whole = np.round(values / scale)
    rest = symmetric.left_over(reached, scale * whole, target)
    symmetric.sweep(reached, whole, rest, weight, SWEEP_WHOLE_COUNT, 1.0, scale, True)
    leaves = whole.astype(np.int8)
    total = np.sum([of_tree[leaf] for of_tree, leaf in zip(leaves.astype(np.int64), reached, strict=True)], axis=0)
    low, high = int(total.min()), int(total.max())
    step = max(1, -(-(high - low + 1) // CODE_COUNT_MAX))
    used: dict[tuple[int, int], int] = {}
    splits = np.array([
        [used.setdefault((int(place), int(edge)), len(used)) for place, edge in zip(of_tree, of_edge, strict=True)]
        for of_tree, of_edge in zip(inputs, places, strict=True)
    ], dtype=np.int64)  # fmt: skip
    return Student(
        features=np.array([place for place, _ in used], dtype=np.uint8),
        thresholds=np.array([edges[place][edge] for place, edge in used], dtype=np.float32),
        splits=splits,
        leaves=leaves,
        offset=-low,
        step=step,
        code_count=(high - low) // step + 1,  # each of them has a score in the download
        scale=scale,
        bias=bias,
    )


def _edges(column: NDArray[np.float32], candidates: list[tuple[int, float]], place: int) -> NDArray[np.float32]:
    """At most THRESHOLDS_PER_INPUT_MAX thresholds of one input: the heavy model's, thinned by where the rows
    are.
    """
    given = np.array([threshold for of_input, threshold in candidates if of_input == place], dtype=np.float64)
    if not len(given):
        return np.zeros(1, dtype=np.float32)
    exact = given.astype(np.float32)
    exact = np.where(exact > given, np.nextafter(exact, np.float32(-np.inf)), exact)
    found = np.unique(exact)
    if len(found) > THRESHOLDS_PER_INPUT_MAX:
        ranks = np.searchsorted(np.sort(column), found)
        wanted = np.linspace(ranks[0], ranks[-1], THRESHOLDS_PER_INPUT_MAX)
        found = found[np.unique(np.clip(np.searchsorted(ranks, wanted), 0, len(found) - 1))]
    return np.asarray(found, dtype=np.float32)


def export_student(student: Student, input_count: int) -> bytes:
    """The student as ONNX from standard operators: x float32 [N, F] in, code int32 [N] out.

    Raises ManifestError when the leaves are not stored as int8 (nothing is called quantized that is not).
    """
    import onnx
    from onnx import helper, numpy_helper

    tree_count, depth = student.splits.shape
    constants: dict[str, Any] = {
        walk.FEATURE: student.features,
        walk.THRESHOLD: student.thresholds,
        walk.SPLIT: student.splits.astype(np.uint8).reshape(-1),
        walk.BASE: (np.arange(tree_count, dtype=np.int32) << depth).astype(np.int32),
        walk.LEAF: student.leaves.reshape(-1),
        walk.OFFSET: np.array([student.offset], dtype=np.int32),
        walk.STEP: np.array([student.step], dtype=np.int32),
        walk.TOP: np.array([student.code_count - 1], dtype=np.int32),
        "w": (1 << np.arange(depth)).astype(np.int32),
        "z": np.zeros(1, dtype=np.int32),
        "r": np.array([-1, tree_count, depth], dtype=np.int64),
        "2": np.array([2], dtype=np.int64),
        "1": np.array([1], dtype=np.int64),
    }
    int32 = onnx.TensorProto.INT32

    def node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
        return helper.make_node(operator, inputs.split(), [output], **attributes)

    nodes = [
        node("Cast", walk.FEATURE, "A", to=int32),
        node("Gather", "x A", "B", axis=1),
        node("Greater", f"B {walk.THRESHOLD}", "C"),
        node("Cast", walk.SPLIT, "D", to=int32),
        node("Gather", "C D", "E", axis=1),
        node("Cast", "E", "F", to=int32),
        node("Reshape", "F r", "G"),
        node("Mul", "G w", "H"),
        node("ReduceSum", "H 2", "I", keepdims=0),
        node("Add", f"I {walk.BASE}", "J"),
        node("Gather", f"{walk.LEAF} J", "K"),
        node("Cast", "K", "L", to=int32),
        node("ReduceSum", "L 1", "M", keepdims=0),
        node("Add", f"M {walk.OFFSET}", "N"),
        node("Max", "N z", "O"),  # before the division, which rounds towards zero
        node("Div", f"O {walk.STEP}", "P"),
        node("Min", f"P {walk.TOP}", "code"),
    ]
    graph = helper.make_graph(
        nodes,
        "student",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, input_count])],
        [helper.make_tensor_value_info("code", int32, [None])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    leaves = initializers(content)[walk.LEAF]
    if leaves.data_type != INT8 or len(leaves.values) != tree_count << depth:
        raise ManifestError("quantization gate: the leaves are not stored as int8")
    return content
