"""What a simulated shopper reads: guides, series by series, so that there is something to recommend.

Owns who reads, how much, and which guide comes next. SIMULATED, and pure: the same (seed, number) always reads the same.

Some of the shoppers who stay are readers. They read at most of their visits, and come to read on days on which they look for
nothing else; mostly the next guides of the series they are in, behind its end those of the series beside it. Now and then they
read something from anywhere.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Final

from reflexarc_cli.shoppers.person import ENGAGED, Day, Temper

CATEGORIES: Final = ("garden", "kitchen", "books", "toys", "sport", "music", "travel", "health")
GUIDE_COUNT: Final = 24
"""Guides of one series; there is a series for each category."""
READER_SHARE: Final = 0.8
STAYS_FADE_MAX: Final = 0.1
"""Hazard of fading, a day, over which a shopper only passes by."""
READS_CHANCE: Final = 0.8
"""At a visit of a reader."""
COMES_TO_READ: Final = 0.16
"""A day, of a reader without a visit."""
STRAY_CHANCE: Final = 0.15
"""That a guide is from anywhere instead of the next one."""


def is_reader(seed: int, number: int, temper: Temper) -> bool:
    """Whether shopper `number` is one."""
    return temper.fade_hazard < STAYS_FADE_MAX and random.Random(f"{seed}/reader/{number}").random() < READER_SHARE


def reading_of(seed: int, number: int, days: Sequence[Day]) -> list[tuple[int, int]]:
    """(guides read before that day, guides read on it) of a reader, for each day when nobody acts on them."""
    draw = random.Random(f"{seed}/reading/{number}")
    found: list[tuple[int, int]] = []
    before = 0
    for day in days:
        fate, count = draw.random(), draw.choice((1, 1, 2))
        reads = fate < (READS_CHANCE if day.visits else COMES_TO_READ if day.stage == ENGAGED else 0.0)
        now = count if reads else 0
        found.append((before, now))
        before += now
    return found


def guides(draw: random.Random, category: int, before: int, count: int) -> Iterator[tuple[str, str, float]]:
    """(category, content_id, seconds) of the next guides of whoever has read `before` of them, their category's first."""
    for place in range(before, before + count):
        series, guide = (category + place // GUIDE_COUNT) % len(CATEGORIES), place % GUIDE_COUNT
        if draw.random() < STRAY_CHANCE:
            series, guide = draw.randrange(len(CATEGORIES)), draw.randrange(GUIDE_COUNT)
        yield CATEGORIES[series], f"{CATEGORIES[series]}-guide-{guide:02d}", round(draw.uniform(60, 500), 1)
