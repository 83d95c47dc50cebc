"""The effect of acting: a difference of two shares, with an interval for one look and one for as many as you like.

Owns the formulas, each with its source. Pure; reads no store.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

Z: Final = 1.959963984540054
"""Standard normal quantile of 97.5 %: two-sided 95 %."""
ALPHA: Final = 0.05
TAU: Final = 0.03
"""Size of the effects for which the interval that holds at every look is narrowest: a difference of three in a hundred."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One side: subjects assigned to it, how many of them reached the goal, how many were really acted on."""

    subject_count: int
    goal_count: int
    acted_count: int = 0


@dataclass(frozen=True, slots=True)
class Lift:
    """Difference of two shares. low, high: 95 % interval of one look. always_low, always_high: that of every look together."""

    difference: float
    low: float
    high: float
    always_low: float
    always_high: float


def lift_of(treated: Arm, held_out: Arm) -> Lift | None:
    """Share of goals among the treated minus share among the held out. None when a side is empty."""
    if not treated.subject_count or not held_out.subject_count:
        return None
    difference = treated.goal_count / treated.subject_count - held_out.goal_count / held_out.subject_count
    half = always_valid(treated, held_out)
    return Lift(difference, *newcombe(treated, held_out), max(-1.0, difference - half), min(1.0, difference + half))


def wilson(count: int, of: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a share (E. B. Wilson, JASA 22, 1927). of: over 0."""
    share = count / of
    middle = share + z * z / (2 * of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    return (middle - half) / scale, (middle + half) / scale


def newcombe(treated: Arm, held_out: Arm, z: float = Z) -> tuple[float, float]:
    """Newcombe's hybrid score interval of the difference of two shares (R. G. Newcombe, Statistics in Medicine 17, 1998,
    method 10): it covers at one look that was fixed beforehand. Neither side is empty."""
    p1 = treated.goal_count / treated.subject_count
    p2 = held_out.goal_count / held_out.subject_count
    low1, high1 = wilson(treated.goal_count, treated.subject_count, z)
    low2, high2 = wilson(held_out.goal_count, held_out.subject_count, z)
    difference = p1 - p2
    return (
        difference - math.sqrt((p1 - low1) ** 2 + (high2 - p2) ** 2),
        difference + math.sqrt((high1 - p1) ** 2 + (p2 - low2) ** 2),
    )


def always_valid(treated: Arm, held_out: Arm, alpha: float = ALPHA, tau: float = TAU) -> float:
    """Half the width of a confidence sequence for the difference: with probability 1 - alpha it covers at every look at once.

    The normal mixture (H. Robbins, Annals of Mathematical Statistics 41, 1970; two-sided as in Howard, Ramdas, McAuliffe and
    Sekhon, Annals of Statistics 49, 2021, eq. 14) with mixing variance tau², at the information 1 / V:
    sqrt(V (V + tau²) / tau² · log((V + tau²) / (V alpha²))). V, the variance of the difference, is plugged in, so it is
    asymptotic (Waudby-Smith et al., Annals of Statistics 52, 2024); of each share with one success and one failure
    added, so that a side on which nobody, or everybody, reached the goal is not held to be certain.
    """
    variance = _variance(treated) + _variance(held_out)
    mixed = variance + tau * tau
    return math.sqrt(variance * mixed / (tau * tau) * math.log(mixed / (variance * alpha * alpha)))


def _variance(arm: Arm) -> float:
    share = (arm.goal_count + 1) / (arm.subject_count + 2)
    return share * (1 - share) / arm.subject_count
