"""The fit of symmetric trees, compiled: greedy boosting, leaves fitted again and again, and last as whole numbers.

Owns the loops over rows. Must never know what is imitated or how a tree is stored. Rows are given as bins: bin b of an input
lies over its edges 0 .. b - 1, and a split on edge e sends rows with bin > e to the one side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflexarc_models.forest_walk import compiled


@compiled()
def boost(bins, edge_counts, weight, target, tree_count, depth, rate, split_count_max):  # type: ignore[no-untyped-def]
    """(input of each split [T, depth], its edge [T, depth], leaf of each row uint8 [T, n], leaf values [T, 2^depth], which
    splits there are [F, edges]).

    bins: uint8 [F, n]. edge_counts: int64 [F]. Each level takes the split that most reduces the weighted squared error when
    all leaves split on it; past `split_count_max` distinct ones, trees share the splits there are. depth: at most 8.
    """
    rest = target.copy()
    known = np.zeros((len(edge_counts), edge_counts.max()), dtype=np.bool_)
    inputs = np.zeros((tree_count, depth), dtype=np.int64)
    edges = np.zeros((tree_count, depth), dtype=np.int64)
    reached = np.zeros((tree_count, bins.shape[1]), dtype=np.uint8)
    values = np.zeros((tree_count, 1 << depth))
    for tree in range(tree_count):
        grow(bins, edge_counts, rest, weight, inputs[tree], edges[tree], reached[tree], known, split_count_max)
        leaf_means(reached[tree], rest, weight, values[tree])
        values[tree] *= rate
        take_out(rest, reached[tree], values[tree])
    return inputs, edges, reached, values, known


@compiled()
def regrow(bins, edge_counts, weight, rest, inputs, edges, reached, values, known, split_count_max):  # type: ignore[no-untyped-def]
    """Each tree once more on what all the others leave, and kept where that leaves less. What `boost` gave is changed, and rest.

    The first trees were grown before the others were there: on all of the target, coarsely.
    """
    place, edge = np.zeros_like(inputs[0]), np.zeros_like(edges[0])
    leaf, means = np.zeros_like(reached[0]), np.zeros_like(values[0])
    for tree in range(len(reached)):
        take_out(rest, reached[tree], -values[tree])
        grow(bins, edge_counts, rest, weight, place, edge, leaf, known, split_count_max)
        leaf_means(leaf, rest, weight, means)
        if squared(rest, leaf, means, weight) < squared(rest, reached[tree], values[tree], weight):
            inputs[tree], edges[tree], reached[tree], values[tree] = place, edge, leaf, means
        take_out(rest, reached[tree], values[tree])


@compiled()
def grow(bins, edge_counts, rest, weight, inputs, edges, leaf, known, split_count_max):  # type: ignore[no-untyped-def]
    """One tree on `rest`: its splits into `inputs` and `edges`, the leaf of each row into `leaf`; new splits into `known`."""
    leaf[:] = 0
    for level in range(len(inputs)):
        place, edge = best_split(bins, edge_counts, rest, weight, leaf, 1 << level, known, known.sum() >= split_count_max)
        inputs[level], edges[level] = place, edge
        known[place, edge] = True
        of_input = bins[place]
        for i in range(len(leaf)):
            if of_input[i] > edge:
                leaf[i] |= 1 << level


@compiled()
def take_out(rest, leaf, values):  # type: ignore[no-untyped-def]
    """What a tree says of each row, out of what is left."""
    for i in range(len(rest)):
        rest[i] -= values[leaf[i]]


@compiled()
def squared(rest, leaf, values, weight):  # type: ignore[no-untyped-def]
    """Weighted squared error that a tree would leave."""
    total = 0.0
    for i in range(len(rest)):
        gap = rest[i] - values[leaf[i]]
        total += weight[i] * gap * gap
    return total


@compiled()
def best_split(bins, edge_counts, rest, weight, leaf, leaf_count, known, known_only):  # type: ignore[no-untyped-def]
    """(input, edge) of the greatest gain, leaves drawn towards 0 as by one row more."""
    best, found, at = -1.0, 0, 0
    for place in range(len(edge_counts)):
        width = edge_counts[place] + 1
        sums = np.zeros((leaf_count, width))
        sizes = np.zeros((leaf_count, width))
        of_input = bins[place]
        for i in range(len(rest)):
            sums[leaf[i], of_input[i]] += weight[i] * rest[i]
            sizes[leaf[i], of_input[i]] += weight[i]
        gain = np.zeros(width - 1)
        for k in range(leaf_count):
            right, right_size = sums[k].sum(), sizes[k].sum()
            left = left_size = 0.0
            for edge in range(width - 1):
                left += sums[k, edge]
                left_size += sizes[k, edge]
                rest_of_leaf = right - left
                gain[edge] += left * left / (left_size + 1.0) + rest_of_leaf * rest_of_leaf / (right_size - left_size + 1.0)
        for edge in range(width - 1):
            if gain[edge] > best and (known[place, edge] or not known_only):
                best, found, at = gain[edge], place, edge
    return found, at


@compiled()
def leaf_means(leaf, rest, weight, means):  # type: ignore[no-untyped-def]
    """Weighted mean of `rest` in each leaf, into `means`, drawn towards 0 as by one row more."""
    sums, sizes = np.zeros(len(means)), np.ones(len(means))
    for i in range(len(leaf)):
        sums[leaf[i]] += weight[i] * rest[i]
        sizes[leaf[i]] += weight[i]
    for k in range(len(means)):
        means[k] = sums[k] / sizes[k]


@compiled()
def sweep(reached, values, rest, weight, rounds, rate, unit, whole):  # type: ignore[no-untyped-def]
    """Fit the leaves of one tree after the other to what the others leave, `rounds` times; values and rest are changed.

    A leaf is worth `unit` times its value. It goes the share `rate` of the way to what it should be; where `whole`, values are
    whole numbers in [-127, 127] that move by one at most.
    """
    wanted = np.zeros(values.shape[1])
    for _ in range(rounds):
        for tree in range(len(reached)):
            leaf = reached[tree]
            for i in range(len(rest)):
                rest[i] += unit * values[tree, leaf[i]]
            leaf_means(leaf, rest, weight, wanted)
            for k in range(len(wanted)):
                now, aim = values[tree, k], wanted[k] / unit
                if whole:
                    values[tree, k] = min(max(np.round(aim), now - 1.0, -127.0), now + 1.0, 127.0)
                else:
                    values[tree, k] = rate * aim + (1.0 - rate) * now
            for i in range(len(rest)):
                rest[i] -= unit * values[tree, leaf[i]]


def left_over(reached: NDArray[Any], values: NDArray[Any], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the trees leave of the target."""
    rest = target.copy()
    for of_tree, leaf in zip(values, reached, strict=True):
        rest -= of_tree[leaf]
    return rest
