"""One simulated shopper: a temper that never changes and a stage that changes day by day.

Owns the latent model: who visits, buys, asks for help, reads mail and drifts away. Nothing here is anybody: every
number is drawn from a seed. Pure: the same (seed, number) is always the same person.

The model, per shopper and day. Regulars visit often and buy at every second or third visit; browsers visit now and
then and hardly ever buy; some browsers only pass by. Stages: AWAY (not joined) -> ENGAGED -> FADING (visits thin out
for up to a week) -> GONE, from where few come back by themselves. The hazard of fading is a shopper's own, and high for
ten days after a support ticket. So who is about to stay away shows in how often they came, how long ago, and whether
they asked for help; who is about to buy shows in how much they look at products.
"""

import random
from dataclasses import dataclass
from typing import Final

AWAY, ENGAGED, FADING, GONE = range(4)

REGULAR_SHARE: Final = 0.28
PASSER_SHARE: Final = 0.45
"""Of the browsers: they look in once or twice and are gone."""
FOUNDER_SHARE: Final = 0.4
"""Shoppers who are there on the first day; the others join evenly over the time."""
TICKET_SHADOW_DAYS: Final = 10
TICKET_HAZARD: Final = 0.25
"""A day in the shadow of a ticket, instead of the shopper's own hazard."""
COME_BACK: Final = 0.002
MAIL_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Temper:
    """What a shopper is like. visit_rate, buy_rate, ticket_rate: per day, per visit, per visit; fade_hazard: per day;
    mail_rate: chance to open one newsletter; hour: when they like to come (local = UTC)."""

    regular: bool
    join_day: int
    visit_rate: float
    buy_rate: float
    ticket_rate: float
    fade_hazard: float
    mail_rate: float
    hour: int
    mail_weekday: int
    category: int


@dataclass(frozen=True, slots=True)
class Day:
    """What happens to one shopper on one day, before any rows are made of it."""

    stage: int
    visits: bool
    buys: bool
    asks: bool
    opens: bool
    clicks: bool


def temper_of(seed: int, number: int, day_count: int) -> Temper:
    """The temper of shopper `number`."""
    draw = random.Random(f"{seed}/temper/{number}")
    regular = draw.random() < REGULAR_SHARE
    join_day = 0 if draw.random() < FOUNDER_SHARE else draw.randrange(max(1, day_count * 9 // 10))
    if regular:
        visit_rate, buy_rate, fade = min(0.8, draw.lognormvariate(-1.65, 0.25)), draw.uniform(0.4, 0.56), 0.0035
    else:
        visit_rate, buy_rate, fade = min(0.25, draw.lognormvariate(-2.6, 1.0)), draw.uniform(0.005, 0.03), 0.01
        if draw.random() < PASSER_SHARE:
            fade = 0.8
    return Temper(
        regular=regular,
        join_day=join_day,
        visit_rate=visit_rate,
        buy_rate=buy_rate,
        ticket_rate=(0.03 if regular else 0.25) if draw.random() < 0.3 else 0.005,
        fade_hazard=fade * draw.uniform(0.5, 1.5),
        mail_rate=min(0.9, draw.betavariate(1.2, 3.0) + (0.2 if regular else 0.0)),
        hour=draw.choice((8, 9, 12, 13, 17, 18, 19, 20, 20, 21)),
        mail_weekday=draw.randrange(MAIL_DAYS),
        category=draw.randrange(64),
    )


def days_of(seed: int, number: int, temper: Temper, day_count: int) -> list[Day]:
    """What happens to shopper `number` on each of `day_count` days when nobody acts on them."""
    draw = random.Random(f"{seed}/days/{number}")
    days: list[Day] = []
    stage, fading_left, shadow_left = AWAY, 0, 0
    for index in range(day_count):
        # Every day takes the same number of draws, so that a change in one rate does not shuffle all that follows.
        fate, visit, buy, ask, mail, click = (draw.random() for _ in range(6))
        if stage == AWAY and index >= temper.join_day:
            stage, visit = ENGAGED, 0.0  # joining is a visit
        elif stage == ENGAGED and fate < (TICKET_HAZARD if shadow_left else temper.fade_hazard):
            stage, fading_left = FADING, 1 + int(click * 6)
        elif stage == FADING:
            fading_left -= 1
            stage = GONE if fading_left <= 0 else FADING
        elif stage == GONE and fate < COME_BACK:
            stage, visit = ENGAGED, 0.0
        shadow_left = max(0, shadow_left - 1)
        rate = {ENGAGED: temper.visit_rate, FADING: temper.visit_rate * 0.3}.get(stage, 0.0)
        opens = (
            stage != AWAY and index % MAIL_DAYS == temper.mail_weekday and mail < temper.mail_rate * (1.0, 1.0, 0.5, 0.1)[stage]
        )
        clicks = opens and click < (0.3 if stage == ENGAGED else 0.1)
        visits = visit < rate or (clicks and stage != GONE)
        asks = visits and ask < temper.ticket_rate
        if asks:
            shadow_left = TICKET_SHADOW_DAYS
        days.append(Day(stage, visits, visits and buy < temper.buy_rate, asks, opens, clicks))
    return days
