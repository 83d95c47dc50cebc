"""Drift: how far what a model is shown now has moved from what it was trained on.

Owns the shares a manifest keeps of every input and the index that compares others with them. Must never decide what follows
from it: the gates and the report do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_models.train.rows.dataset import Rows

DRIFT_MAX: Final = 0.5
"""Twice the 0.25 at which the index is commonly called a shift: where a rollout stops until a person has looked."""
BIN_COUNT: Final = 10
SHARE_MIN: Final = 1e-3
"""An empty bin counts as this share, so that one new value does not make the index endless."""


def shares_of(x: NDArray[np.float64], inputs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Per input: inner `edges` (ascending), `shares` of the bins between them, `absent` share. x: float64 [n, F], NaN allowed."""
    found: dict[str, dict[str, Any]] = {}
    for name, column in zip(inputs, x.T, strict=True):
        seen = column[np.isfinite(column)]
        cuts = np.quantile(seen, np.linspace(0, 1, BIN_COUNT + 1)[1:-1]) if len(seen) else np.zeros(0)
        edges = np.unique([float(f"{cut:.6g}") for cut in cuts])
        found[name] = {
            "edges": edges.tolist(),
            "shares": [round(float(share), 5) for share in _binned(seen, edges)],
            "absent": round(1.0 - len(seen) / max(1, len(column)), 5),
        }
    return found


def psi(kept: Mapping[str, Any], values: NDArray[np.float64]) -> float:
    """Population stability index of `values` (NaN: absent) against kept shares; 0 for equal, over 0.25 commonly called a shift.

    The sum over bins of (now - then) ln(now / then). Source: Siddiqi, Credit Risk Scorecards (2006); it is the symmetric
    Kullback-Leibler divergence of Jeffreys (1946). NaN without a value to compare.
    """
    if not len(values):
        return float("nan")
    seen = values[np.isfinite(values)]
    edges = np.asarray(kept["edges"], dtype=np.float64)
    there = 1.0 - float(kept["absent"])
    then = np.append(np.asarray(kept["shares"], dtype=np.float64) * there, kept["absent"])
    now = np.append(_binned(seen, edges) * (len(seen) / len(values)), 1.0 - len(seen) / len(values))
    then, now = np.maximum(then, SHARE_MIN), np.maximum(now, SHARE_MIN)
    return float(np.sum((now - then) * np.log(now / then)))


def code_shares(moment_codes: Sequence[int]) -> dict[str, Any]:
    """The same of codes, from the evenly spaced quantiles that a manifest keeps of them."""
    return shares_of(np.asarray(moment_codes, dtype=np.float64).reshape(-1, 1), ("code",))["code"]


def drifted(kept: Mapping[str, Mapping[str, Any]], rows: Rows) -> dict[str, float]:
    """The index of every input that was kept, over these rows."""
    place = {name: at for at, name in enumerate(rows.inputs)}
    return {name: round(psi(shares, rows.x[:, place[name]]), 4) for name, shares in kept.items() if name in place}


def _binned(seen: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = np.bincount(np.searchsorted(edges, seen, side="left"), minlength=len(edges) + 1)
    return np.asarray(counts / max(1, len(seen)), dtype=np.float64)
