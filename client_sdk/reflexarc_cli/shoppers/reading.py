"""What a simulated shopper reads: guides, series by series, so that there is something to recommend.

Owns who reads, how much, and which guide comes next. SIMULATED, and pure: the same (seed, number) always reads the same.

Some shoppers are readers. At most of their visits they read one to three guides, mostly the next ones of the series they are
in; behind its end they go on with the series beside it. Now and then they read something from anywhere.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Final

from reflexarc_cli.shoppers.person import Day

CATEGORIES: Final = ("garden", "kitchen", "books", "toys", "sport", "music", "travel", "health")
GUIDE_COUNT: Final = 24
"""Guides of one series; there is a series for each category."""
READER_SHARE: Final = 0.4
READS_CHANCE: Final = 0.9
"""At a visit of a reader."""
STRAY_CHANCE: Final = 0.15
"""That a guide is from anywhere instead of the next one."""


def is_reader(seed: int, number: int) -> bool:
    """Whether shopper `number` is one."""
    return random.Random(f"{seed}/reader/{number}").random() < READER_SHARE


def reading_of(seed: int, number: int, days: Sequence[Day]) -> list[tuple[int, int]]:
    """(guides read before that day, guides read on it) of a reader, for each day when nobody acts on them."""
    draw = random.Random(f"{seed}/reading/{number}")
    found: list[tuple[int, int]] = []
    before = 0
    for day in days:
        reads, count = draw.random() < READS_CHANCE, draw.choice((1, 2, 2, 3))
        now = count if day.visits and reads else 0
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
