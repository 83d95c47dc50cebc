"""Reads the one tree ensemble of an ONNX file into flat arrays, children side by side.

Owns the meaning of a TreeEnsembleRegressor's attributes and the refusal of what is not a set of finite binary trees. Must
never walk a tree: that is a kernel's. numpy is imported by the first reading. Source of the field numbers: onnx.proto
(GraphProto.node = 1, NodeProto.op_type = 4, attribute = 5, AttributeProto.name = 1, f = 2, i = 3, s = 4, floats = 7,
ints = 8, strings = 9); of the semantics: the ai.onnx.ml operator TreeEnsembleRegressor.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

from reflexarc_core.errors import ManifestError
from reflexarc_models.onnx_tensors import fields, varint

OPERATOR: Final = "TreeEnsembleRegressor"
_GRAPH, _NODE, _OPERATOR, _ATTRIBUTE = 7, 1, 4, 5
_NAME, _FLOAT, _INT, _STRING, _FLOATS, _INTS, _STRINGS = 1, 2, 3, 4, 7, 8, 9


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """T binary trees in N nodes, each tree in one piece, level by level. A row goes left where its value is <= the threshold.

    starts: int64 [T + 1], first node of each tree, its root. depths: int64 [T], splits on the longest path. inputs: int64
    [N] and thresholds: float32 [N] of the splits. lefts: int64 [N], the left child; the right one is next to it; a leaf has
    itself. weights: float32 [N] of the leaves. base: what is added to the sum over the trees.
    """

    starts: Any
    depths: Any
    inputs: Any
    thresholds: Any
    lefts: Any
    weights: Any
    base: float

    @property
    def tree_count(self) -> int:
        return len(self.depths)


def read_trees(model: bytes, input_count: int) -> Trees:
    """The trees of a model file. Raises ManifestError when it is anything but one such ensemble over `input_count` inputs."""
    try:
        return _built(_attributes(model), input_count)
    except (IndexError, KeyError, ValueError, struct.error, OverflowError) as error:
        raise ManifestError(f"the model file holds no readable tree ensemble: {error}") from error


def _built(given: dict[str, Any], input_count: int) -> Trees:
    import numpy as np

    if given.get("n_targets", 1) != 1 or given.get("aggregate_function", b"SUM") != b"SUM":
        raise ValueError("it does not sum one target")
    if given.get("post_transform", b"NONE") != b"NONE" or np.any(given.get("nodes_missing_value_tracks_true", 0)):
        raise ValueError("it transforms its sum, or sends absent values to the left")
    tree_of, id_of = given["nodes_treeids"], given["nodes_nodeids"]
    modes = np.array(given["nodes_modes"], dtype="S16")
    splits = modes == b"BRANCH_LEQ"
    if not np.all(splits | (modes == b"LEAF")):
        raise ValueError("its splits are not all of the kind BRANCH_LEQ")
    inputs = given["nodes_featureids"]
    thresholds = given["nodes_values"]
    columns = (tree_of, id_of, inputs, thresholds, given["nodes_truenodeids"], given["nodes_falsenodeids"])
    count = len(tree_of)
    if not count or any(len(column) != count for column in (*columns, splits)):
        raise ValueError("its nodes have attributes of different lengths")
    if tree_of.min() < 0 or id_of.min() < 0 or id_of.max() >= 2**31 or tree_of.max() >= 2**31:
        raise ValueError("its nodes have impossible numbers")
    if splits.any() and not (inputs[splits].min() >= 0 and inputs[splits].max() < input_count):
        raise ValueError("it reads inputs that there are not")
    if not np.isfinite(thresholds[splits]).all():
        raise ValueError("its thresholds are not all finite")
    keys = tree_of << 32 | id_of
    order = np.argsort(keys, kind="stable")
    if np.any(np.diff(keys[order]) == 0):
        raise ValueError("it has a node twice")

    def places(trees: Any, nodes: Any) -> Any:
        wanted = trees << 32 | nodes
        found = order[np.minimum(np.searchsorted(keys[order], wanted), count - 1)]
        if np.any(nodes < 0) or np.any(keys[found] != wanted):
            raise ValueError("it names nodes that there are not")
        return found

    yes = places(tree_of[splits], given["nodes_truenodeids"][splits])
    no = places(tree_of[splits], given["nodes_falsenodeids"][splits])
    children = np.concatenate([yes, no])
    is_child = np.zeros(count, dtype=bool)
    is_child[children] = True
    roots = np.flatnonzero(~is_child)
    tree_ids, tree_places = np.unique(tree_of, return_inverse=True)
    # One parent each and one root a tree leave no room but for cycles, and those are never reached from a root.
    if len(np.unique(children)) != len(children) or not np.array_equal(np.sort(tree_of[roots]), tree_ids):
        raise ValueError("its nodes do not form trees")
    weights = np.zeros(count, dtype=np.float32)
    reached = places(given["target_treeids"], given["target_nodeids"])
    if len(np.unique(reached)) != len(reached) or np.any(splits[reached]) or np.any(given["target_ids"]):
        raise ValueError("its weights do not belong to leaves, one each")
    weights[reached] = given["target_weights"]
    if not np.isfinite(weights).all():
        raise ValueError("its weights are not all finite")
    of_split = np.full(count, -1, dtype=np.int64)
    of_split[splits] = np.arange(int(splits.sum()))
    depths = np.zeros(len(tree_ids), dtype=np.int64)
    level, levels, depth = roots[np.argsort(tree_of[roots], kind="stable")], [], 0
    while len(level):
        levels.append(level)
        depths[np.unique(tree_places[level])] = depth
        inner = of_split[level[splits[level]]]
        level = np.column_stack([yes[inner], no[inner]]).reshape(-1)
        depth += 1
    visited = np.concatenate(levels)
    if len(visited) != count:
        raise ValueError("its nodes do not form trees")
    laid = visited[np.argsort(tree_places[visited], kind="stable")]
    place = np.empty(count, dtype=np.int64)
    place[laid] = np.arange(count)
    lefts = np.arange(count, dtype=np.int64)
    lefts[place[splits]] = place[yes]
    starts = np.searchsorted(tree_places[laid], np.arange(len(tree_ids) + 1))
    base = given.get("base_values", np.zeros(1, dtype=np.float32))
    return Trees(
        starts.astype(np.int64), depths, np.where(splits, inputs, 0)[laid], thresholds[laid], lefts, weights[laid], float(base[0])
    )


def _attributes(model: bytes) -> dict[str, Any]:
    nodes = [
        content
        for number, graph in fields(model)
        if number == _GRAPH and isinstance(graph, bytes)
        for inner, content in fields(graph)
        if inner == _NODE and isinstance(content, bytes)
    ]
    if len(nodes) != 1 or (_OPERATOR, OPERATOR.encode()) not in fields(nodes[0]):
        raise ValueError(f"its graph is not one {OPERATOR}")
    return dict(
        _attribute(content) for number, content in fields(nodes[0]) if number == _ATTRIBUTE and isinstance(content, bytes)
    )


def _attribute(message: bytes) -> tuple[str, Any]:
    """(name, value) of one attribute: arrays for numbers, a list of bytes for texts."""
    import numpy as np

    size, start = varint(message, 1)
    if message[0] != _NAME << 3 | 2:
        raise ValueError("an attribute does not begin with its name")
    name, rest = message[start : start + size].decode(), message[start + size :]
    if rest[:1] == bytes([_FLOATS << 3 | 5]):
        # A float is five bytes, its tag among them; the attribute's type stands behind the last.
        records = np.frombuffer(rest, dtype=np.uint8)[: len(rest) // 5 * 5].reshape(-1, 5)
        records = records[: int(np.argmin(np.append(records[:, 0] == rest[0], False)))]
        return name, records[:, 1:].copy().view("<f4").reshape(-1)
    if rest[:1] == bytes([_INTS << 3]):
        numbers = _varints(np, rest)
        tags, values = numbers[0 : len(numbers) // 2 * 2 : 2], numbers[1::2]
        return name, values[tags == _INTS << 3]
    value: Any = None
    texts: list[bytes] = []
    for number, content in fields(rest):
        if number == _STRINGS and isinstance(content, bytes):
            texts.append(content)
        elif number == _FLOATS and isinstance(content, bytes):
            value = np.frombuffer(content, dtype="<f4")
        elif number == _INTS and isinstance(content, bytes):
            value = _varints(np, content)
        elif number in (_INT, _STRING):
            value = content
        elif number == _FLOAT and isinstance(content, bytes):
            value = struct.unpack("<f", content)[0]
    return name, texts or value


def _varints(np: Any, content: bytes) -> Any:
    """All varints of `content` as int64, without a loop over them."""
    octets = np.frombuffer(content, dtype=np.uint8)
    ends = np.flatnonzero(octets < 0x80)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    widths = ends - starts + 1
    if len(ends) and widths.max() > 10:
        raise ValueError("a number longer than 64 bits")
    values = np.zeros(len(ends), dtype=np.uint64)
    for place in range(int(widths.max()) if len(ends) else 0):
        held = widths > place
        values[held] |= (octets[starts[held] + place] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * place)
    return values.astype(np.int64)
