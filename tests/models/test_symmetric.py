"""The fit of symmetric trees: what is grown again leaves less, and says of each row what its splits say."""

from __future__ import annotations

import numpy as np

from reflexarc_models.train.forms import symmetric


def test_a_tree_grown_again_leaves_less_and_every_leaf_is_where_its_splits_lead() -> None:
    draw = np.random.default_rng(6)
    bins = draw.integers(0, 16, (3, 4_000)).astype(np.uint8)
    edge_counts, weight = np.array([15, 15, 15]), draw.uniform(0.5, 2.0, 4_000)
    target = np.sin(bins[0] / 3.0) * bins[1] / 8.0 + (bins[2] > bins[0]) + draw.normal(0, 0.1, 4_000)
    inputs, edges, reached, values, known = symmetric.boost(bins, edge_counts, weight, target, 12, 4, 0.5, 20)
    rest = symmetric.left_over(reached, values, target)
    for _ in range(3):
        before = float((weight * rest**2).sum())
        symmetric.regrow(bins, edge_counts, weight, rest, inputs, edges, reached, values, known, 20)
        assert float((weight * rest**2).sum()) < before
    np.testing.assert_allclose(rest, symmetric.left_over(reached, values, target), atol=1e-9)
    over = np.stack([bins[of_tree] > of_edge[:, None] for of_tree, of_edge in zip(inputs, edges, strict=True)])
    np.testing.assert_array_equal(reached, (over * (1 << np.arange(4))[:, None]).sum(axis=1))
    assert known.sum() == 20 and known[inputs, edges].all(), "past their number, trees share the splits there are"
