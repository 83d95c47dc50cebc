"""When in the week a subject buys: everybody's curve and the settings of `reflexarc_core.purchase_window`, learned and measured.

Owns the fit (settings chosen on people and times that nothing is measured on), the rivals and the figures. Must never decide
what an intensity is: that is the core's, and what is measured here are its integers.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.errors import DefinitionError
from reflexarc_core.purchase_window import (
    CHOSEN_COUNT,
    HOUR_MS,
    HOURS_OF_DAY,
    HOURS_OF_WEEK,
    SCALE,
    Intensity,
    check,
    hour_of_week,
    scores,
)
from reflexarc_models.train.rows.split import subject_hash

Hours = NDArray[np.int64]
Matrix = NDArray[np.float64]

BANDWIDTHS_H: Final = (0.3, 0.7, 1.2, 2.0, 3.0, 4.5)
"""Standard deviations of the spread round an event, hours; the least is hardly any."""
POOLED: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Shares of an event that are spread over all days of the week."""
STRENGTHS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
REACH: Final = 12
CURVE_BANDWIDTH_H: Final = 0.7
CURVE_PRIOR_EVENTS: Final = 50.0
"""Everybody's curve is drawn towards an even one as by this many events."""
RAW_EVEN_SHARE: Final = 0.01
"""Of the raw histogram's probability, spread evenly: an hour it never saw costs much and not everything."""
SUBJECTS_MIN: Final = 40
_MONDAY_HOUR: Final = 4 * HOURS_OF_DAY
FUTURE_MIN: Final = 50
TUNE_SHARE: Final = 0.3
TUNE_TIME_SHARE: Final = 0.7
RESAMPLES: Final = 1_000
INTERVAL: Final = f"95 % by {RESAMPLES:,} bootstrap resamples of the subjects, paired where two are compared"


@dataclass(frozen=True, slots=True, eq=False)
class Occasions:
    """Hours in which a subject did it, each once however often it did.

    subjects: int64 [n], 0..count-1. local: int64 [n], the hour's number since 1970 in the subject's local time. times: int64
    [n], ms UTC. names: text [count].
    """

    subjects: Hours
    local: Hours
    times: Hours
    names: NDArray[Any]

    @property
    def hours(self) -> Hours:
        """Of the local week, int64 [n]."""
        return np.asarray(hour_of_week(self.local * HOUR_MS))  # type: ignore[arg-type]  # the same arithmetic on a column

    def where(self, mask: NDArray[np.bool_]) -> Occasions:
        """Those occasions alone; the subjects keep their numbers."""
        return Occasions(self.subjects[mask], self.local[mask], self.times[mask], self.names)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """An intensity and the settings that were chosen for it."""

    intensity: Intensity
    bandwidth_h: float
    pooled: float


def occasions(subjects: Hours, times: Hours, offsets_minutes: Hours, names: NDArray[Any]) -> Occasions:
    """Occasions of events (times ms UTC, offsets of their local time), by time: several in one hour are one."""
    slots = (times + offsets_minutes * 60_000) // HOUR_MS
    order = np.lexsort((times, slots, subjects))
    first = np.ones(len(order), np.bool_)
    first[1:] = (np.diff(subjects[order]) != 0) | (np.diff(slots[order]) != 0)
    kept = order[first]
    kept = kept[np.argsort(times[kept], kind="stable")]
    return Occasions(subjects[kept], slots[kept], times[kept], names)


def counts_of(held: Occasions) -> Matrix:
    """Occasions of each subject in each hour of the week, [subjects, 168]."""
    flat = held.subjects * HOURS_OF_WEEK + held.hours
    found = np.bincount(flat, minlength=len(held.names) * HOURS_OF_WEEK).reshape(-1, HOURS_OF_WEEK)
    return found.astype(np.float64)


def fit(held: Occasions, seed: int) -> Fitted:
    """Everybody's curve of all occasions; settings by the log loss of later occasions of a drawn part of the subjects.

    Raises DefinitionError where there is too little.
    """
    return _with_curve(_settings(held, np.ones(len(held.names), np.bool_), seed), held)


def evaluate(held: Occasions, cut_time: int, seed: int) -> tuple[Fitted, dict[str, Any]]:
    """(the fit on occasions up to the cut, figures on those behind it); settings are chosen on subjects that are not measured.

    Raises DefinitionError where there is too little on either side.
    """
    before, behind = held.where(held.times <= cut_time), held.where(held.times > cut_time)
    tuners = subject_hash(held.names, f"window:{seed}") < TUNE_SHARE * SCALE
    fitted = _with_curve(_settings(before, tuners, seed), before)
    measured = behind.where(~tuners[behind.subjects])
    if len(measured.hours) < FUTURE_MIN:
        raise DefinitionError(
            f"{len(measured.hours)} occasions of other subjects lie behind the cut, at least {FUTURE_MIN} are needed",
            hint="an earlier --cut, or more events",
        )
    figures = figures_of(fitted, before, measured, seed)
    figures["subjects_tuned_on"] = int(tuners[np.unique(before.subjects)].sum())
    return fitted, figures


def figures_of(fitted: Fitted, before: Occasions, measured: Occasions, seed: int) -> dict[str, Any]:
    """How well occasions of `measured` are foreseen from those of `before`, by us and by the rivals, with intervals."""
    known = counts_of(before)
    people = np.unique(measured.subjects)
    shares = shares_of(fitted.intensity, known[people])
    everybody = np.array(fitted.intensity.everybody, np.float64)
    everybody /= everybody.sum()
    even = np.full(HOURS_OF_WEEK, 1.0 / HOURS_OF_WEEK)
    own = known[people]
    total = own.sum(axis=1, keepdims=True)
    raw = np.where(total > 0, own / np.maximum(total, 1), everybody)
    raw_shares = (1 - RAW_EVEN_SHARE) * raw + RAW_EVEN_SHARE * even
    # What the raw histogram does not tell apart it leaves to everybody's curve: the kindest way to break its ties.
    raw_order = raw + 1e-9 * everybody
    rivals = {
        "uniform": (np.tile(even, (len(people), 1)), None),
        "global": (np.tile(everybody, (len(people), 1)), np.tile(everybody, (len(people), 1))),
        "raw_histogram": (raw_shares, raw_order),
        "ours": (shares, shares),
    }
    place = np.searchsorted(people, measured.subjects)
    random = np.random.default_rng(seed)
    weights = random.multinomial(len(people), np.full(len(people), 1 / len(people)), size=RESAMPLES).astype(np.float64)
    size = np.bincount(place, minlength=len(people)).astype(np.float64)
    sums: dict[str, tuple[Matrix, Matrix]] = {}
    for name, (probability, order) in rivals.items():
        loss = -np.log(probability[place, measured.hours])
        hit = np.full(len(place), CHOSEN_COUNT / HOURS_OF_WEEK) if order is None else _chosen(order)[place, measured.hours]
        sums[name] = tuple(np.bincount(place, weights=one, minlength=len(people)) for one in (hit, loss))  # type: ignore[assignment]
    drawn = weights @ size
    found: dict[str, Any] = {
        "occasions": len(place), "subjects": len(people), "without_history": int((total == 0).sum()),
        "history_mean": round(float(total.mean()), 2), "hours_chosen": CHOSEN_COUNT,
        "settings": {"bandwidth_h": fitted.bandwidth_h, "pooled": fitted.pooled, "strength": fitted.intensity.strength},
        "who": {}, "interval": INTERVAL,
    }  # fmt: skip
    for name, (hits, losses) in sums.items():
        found["who"][name] = {
            **_between("hit_rate", hits.sum() / size.sum(), weights @ hits / drawn),
            **_between("log_loss", losses.sum() / size.sum(), weights @ losses / drawn),
        }
    ours, theirs = sums["ours"], sums["raw_histogram"]
    ratio = (weights @ ours[0]) / np.maximum(weights @ theirs[0], 1e-9)
    found |= _between("hit_rate_vs_raw", ours[0].sum() / max(1e-9, float(theirs[0].sum())), ratio)
    gain = (weights @ (sums["global"][1] - ours[1])) / drawn
    found |= _between("log_loss_gain_vs_global", (sums["global"][1] - ours[1]).sum() / size.sum(), gain)
    return found


def shares_of(intensity: Intensity, counts: Matrix) -> Matrix:
    """Probability of each hour for each row of counts: the core's integers, in one product."""
    rest = [intensity.strength * share for share in intensity.everybody]
    first = np.subtract(scores(intensity, {0: 1}), rest).astype(np.float64)
    # What one event adds is the same for every hour, turned round the week.
    spread = np.array([np.roll(first, hour) for hour in range(HOURS_OF_WEEK)])
    whole = counts @ spread + np.array(rest, np.float64)
    return np.asarray(whole / whole.sum(axis=1, keepdims=True))


def simulated(seed: int, people: int = 400) -> tuple[Occasions, Occasions, Matrix]:
    """(history, future, true intensity [people, 168]) of made-up people: one or two favourite hours of the day each, more or less
    sharp, more or less tied to some days, over a common daily rhythm; 1 to 40 occasions known, 12 to come.
    """
    random = np.random.default_rng(seed)
    hour = np.arange(HOURS_OF_WEEK)
    rhythm = 1.0 + 0.9 * np.sin((hour % HOURS_OF_DAY - 9) / HOURS_OF_DAY * 2 * np.pi) + 0.3 * (hour >= 5 * HOURS_OF_DAY)
    rhythm = np.maximum(rhythm, 0.05)
    truth = np.zeros((people, HOURS_OF_WEEK))
    for person in range(people):
        own = np.zeros(HOURS_OF_WEEK)
        for _ in range(int(random.integers(1, 3))):
            at, width = random.uniform(0, HOURS_OF_DAY), random.uniform(0.6, 2.0)
            gap = np.abs((hour % HOURS_OF_DAY + 0.5 - at + 12) % HOURS_OF_DAY - 12)
            days = random.random(7) < random.uniform(0.2, 1.0)
            days[int(random.integers(7))] = True
            own += np.exp(-0.5 * (gap / width) ** 2) * (0.1 + days[hour // HOURS_OF_DAY])
        share = random.uniform(0.5, 0.9)
        truth[person] = share * own / own.sum() + (1 - share) * rhythm / rhythm.sum()
    names = np.array([f"known:{person}" for person in range(people)], dtype=object)

    def drawn(sizes: Hours, since: int) -> Occasions:
        subjects = np.repeat(np.arange(people), sizes)
        hours = np.array([random.choice(HOURS_OF_WEEK, p=truth[person]) for person in subjects], np.int64) + _MONDAY_HOUR
        times = since + random.permutation(len(subjects)).astype(np.int64)
        order = np.argsort(times)
        return Occasions(subjects[order].astype(np.int64), hours[order], times[order], names)

    known = np.minimum(40, np.floor(np.exp(random.uniform(0, np.log(41), people)))).astype(np.int64)
    return drawn(known, 0), drawn(np.full(people, 12, np.int64), 1 << 40), truth


def evaluate_simulated(seed: int) -> dict[str, Any]:
    """Figures on made-up people: settings are chosen on other ones, made by another seed."""
    tune_known, tune_future, _ = simulated(1_000_000 + seed)
    both = Occasions(
        np.concatenate([tune_known.subjects, tune_future.subjects]), np.concatenate([tune_known.local, tune_future.local]),
        np.concatenate([tune_known.times, tune_future.times]), tune_known.names,
    )  # fmt: skip
    chosen = _settings(both, np.ones(len(both.names), np.bool_), seed, int(tune_known.times.max()))
    known, future, truth = simulated(seed)
    figures = figures_of(_with_curve(chosen, known), known, future, seed)
    hit = _chosen(truth)[future.subjects, future.hours]
    loss = -np.log(truth[future.subjects, future.hours])
    figures["who"]["oracle"] = {"hit_rate": round(float(hit.mean()), 5), "log_loss": round(float(loss.mean()), 5)}
    return figures


def _settings(held: Occasions, tuners: NDArray[np.bool_], seed: int, cut: int | None = None) -> tuple[float, float, int]:
    """(bandwidth, pooled share, strength) of the least log loss on later occasions of the tuners."""
    if len(np.unique(held.subjects)) < SUBJECTS_MIN:
        raise DefinitionError(
            f"{len(np.unique(held.subjects))} subjects did it before the cut, at least {SUBJECTS_MIN} are needed",
            hint="more events, or another --goal",
        )
    middle = int(np.quantile(held.times, TUNE_TIME_SHARE)) if cut is None else cut
    before, behind = held.where(held.times <= middle), held.where(held.times > middle)
    behind = behind.where(tuners[behind.subjects])
    if len(behind.hours) < FUTURE_MIN:
        raise DefinitionError(
            f"{len(behind.hours)} later occasions to choose settings by, at least {FUTURE_MIN} are needed", hint="more events"
        )
    people = np.unique(behind.subjects)
    counts = counts_of(before)[people]
    place = np.searchsorted(people, behind.subjects)
    curve = _curve(before)
    best = (np.inf, 1.0, 0.5, 8)
    for bandwidth, pooled in itertools.product(BANDWIDTHS_H, POOLED):
        near, daily = _tables(bandwidth, pooled)
        for strength in STRENGTHS:
            shares = shares_of(Intensity(curve, near, daily, strength), counts)
            loss = float(-np.log(shares[place, behind.hours]).mean())
            if loss < best[0] - 1e-12:
                best = (loss, bandwidth, pooled, strength)
    return best[1:]


def _with_curve(chosen: tuple[float, float, int], held: Occasions) -> Fitted:
    bandwidth, pooled, strength = chosen
    near, daily = _tables(bandwidth, pooled)
    intensity = Intensity(_curve(held), near, daily, strength)
    check(intensity)
    return Fitted(intensity, bandwidth, pooled)


def _curve(held: Occasions) -> tuple[int, ...]:
    """Everybody's shares in 1/SCALE, of an hour as it comes: a log that holds Tuesday twice and Saturday once does not say that
    people do less on Saturdays. Each subject is heard as its root: one who does it daily does not speak for all.
    """
    counts = counts_of(held)
    size = counts.sum(axis=1, keepdims=True)
    heard = (counts / np.sqrt(np.maximum(size, 1))).sum(axis=0)
    first, last = int(held.local.min()), int(held.local.max())
    seen = np.bincount((np.arange(first, last + 1) - _MONDAY_HOUR) % HOURS_OF_WEEK, minlength=HOURS_OF_WEEK)
    heard *= seen.mean() / np.maximum(seen, 1)
    near, _ = _tables(CURVE_BANDWIDTH_H, 0.0)
    spread = (
        sum(weight * (np.roll(heard, step) + (np.roll(heard, -step) if step else 0)) for step, weight in enumerate(near)) / SCALE
    )
    even = CURVE_PRIOR_EVENTS / HOURS_OF_WEEK
    shares = (spread + even) / (spread.sum() + CURVE_PRIOR_EVENTS)
    return tuple(max(1, round(float(share) * SCALE)) for share in shares)


def _tables(bandwidth_h: float, pooled: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(near, daily): a Gaussian round the event, of which `pooled` is spread over seven days; 1/SCALE, adding up to it."""
    steps = np.arange(REACH + 1)
    bell = np.exp(-0.5 * (steps / bandwidth_h) ** 2)
    bell[REACH] /= 2  # half way round the day both sides meet; round the week what is there is nothing
    whole = bell / (bell[0] + 2 * bell[1:].sum())
    day = bell / (bell[0] + 2 * bell[1:REACH].sum() + bell[REACH])
    near = tuple(round(float(share)) for share in whole * (1 - pooled) * SCALE)
    daily = tuple(round(float(share)) for share in day * pooled / 7 * SCALE)
    return near, daily


def _chosen(order: Matrix) -> NDArray[np.bool_]:
    """Which hours are among the best CHOSEN_COUNT of each row; of equal ones the earlier."""
    best = np.argsort(-order, axis=1, kind="stable")[:, :CHOSEN_COUNT]
    found = np.zeros(order.shape, np.bool_)
    np.put_along_axis(found, best, True, axis=1)
    return found


def _between(name: str, value: float, draws: Matrix) -> dict[str, float]:
    low, high = np.quantile(draws, (0.025, 0.975))
    return {name: round(float(value), 5), f"{name}_low": round(float(low), 5), f"{name}_high": round(float(high), 5)}
