"""The world of the simulated shoppers: their history, and the days after the cut, in which actions have an effect.

Owns time, rows and the effect of an action. Everything is a pure function of (seed, shopper, day) and of who was acted
on before that day: a process that was killed and started again sees the same days. SIMULATED, and every row says so.

The effect, for the days after a shopper was first acted on, EFFECT_DAYS of them: a `proactive_re_engagement` brings a
shopper back for a visit with a fixed chance a day, a `targeted_offer_presentation` turns visits without a purchase into
one with a purchase, and brings some visits of its own, a `content_recommendation` brings a reader back to read on. The
rest of the shopper's life goes on as it would have.
"""

import datetime
import gzip
import hashlib
import json
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from reflexarc_cli.shoppers.person import Day, Temper, days_of, temper_of
from reflexarc_cli.shoppers.reading import CATEGORIES, guides, is_reader, reading_of
from reflexarc_core.errors import StorageError
from reflexarc_core.event import Event, subject_key

DAY_MS: Final = 86_400_000
START_TIME: Final = int(datetime.datetime(2025, 1, 6, tzinfo=datetime.UTC).timestamp()) * 1000
SHOPPER_COUNT: Final = 2_000
HISTORY_DAYS: Final = 120
REPLAY_DAYS: Final = 28
EFFECT_DAYS: Final = 14

RE_ENGAGEMENT: Final = "proactive_re_engagement"
OFFER: Final = "purchase_optimization"
RECOMMENDATION: Final = "content_recommendation"
RETURN_CHANCE: Final = 0.035
"""A day, for a shopper whom the re-engagement reached."""
OFFER_BUY_CHANCE: Final = 0.5
"""At a visit that would have ended without a purchase."""
OFFER_VISIT_CHANCE: Final = 0.2
"""A day, of a visit that would not have been, half of them with a purchase."""

READ_ON_CHANCE: Final = 0.1
"""A day, of a visit to read on that would not have been."""
RECOMMENDATION_CLICK_CHANCE: Final = 0.35
LOOKS_IN_CHANCE: Final = 0.04
"""At a visit of somebody who is no reader, into one guide."""

CHANNELS: Final = ("direct", "search", "social", "direct")

Row = dict[str, Any]
Treated = Mapping[str, Collection[str] | Mapping[str, int]]
"""Trigger -> the subjects it acted on before the day, or subject -> time of the first such decision (ms)."""


class Decided(Protocol):
    """The part of a decision a person reacts to."""

    @property
    def decision_id(self) -> str: ...

    @property
    def trigger_id(self) -> str: ...


class ShopperWorld:
    """All shoppers, or those a predicate over subjects picks (the share of one device).

    seed: everything follows from it. history_days: days before the cut; replay_days: days after it that can be asked
    for. Times are ms UTC; the first day is START_TIME, there is no clock.
    """

    def __init__(
        self,
        seed: int = 1,
        shopper_count: int = SHOPPER_COUNT,
        history_days: int = HISTORY_DAYS,
        replay_days: int = REPLAY_DAYS,
        owns: Callable[[str], bool] | None = None,
    ) -> None:
        self.seed = seed
        self.history_days = history_days
        self.replay_days = replay_days
        self.start_time: Final = START_TIME
        self.cut_time: Final = START_TIME + history_days * DAY_MS
        self.end_time: Final = self.cut_time + replay_days * DAY_MS
        day_count = history_days + replay_days
        self._people: dict[int, tuple[Temper, list[Day]]] = {}
        self._reading: dict[int, list[tuple[int, int]]] = {}
        for number in range(shopper_count):
            if owns is None or owns(subject_of(number)):
                # Joining is spread over the history alone, so that a longer replay does not change the past.
                temper = temper_of(seed, number, history_days + REPLAY_DAYS)
                self._people[number] = temper, days_of(seed, number, temper, day_count)
                if is_reader(seed, number, temper):
                    self._reading[number] = reading_of(seed, number, self._people[number][1])

    @property
    def subjects(self) -> list[str]:
        """Every subject of this world, also of shoppers who join later."""
        return [subject_of(number) for number in self._people]

    def history(self) -> Iterator[Row]:
        """Every row before the cut, in time order."""
        for index in range(self.history_days):
            yield from self._rows_of(index, {})

    def day(self, day_index: int, treated: Treated | None = None) -> list[Row]:
        """Rows of the day `day_index` after the cut (0 is the first), in time order.

        treated: who was acted on before this day began. Given times, an effect ends after EFFECT_DAYS; without them it
        lasts. Raises IndexError beyond replay_days.
        """
        if not 0 <= day_index < self.replay_days:
            raise IndexError(f"day {day_index} of {self.replay_days}")
        return self._rows_of(self.history_days + day_index, treated or {})

    def reaction(self, decision: Decided) -> list[tuple[str, int]]:
        """(outcome kind, ms after the decision) of a shopper an action was shown to; the same for the same decision."""
        draw = random.Random(f"{self.seed}/reaction/{decision.decision_id}")
        shown_after = draw.randrange(200, 3_000)
        outcomes = [("impression", shown_after)]
        clicks = {OFFER: 0.3, RECOMMENDATION: RECOMMENDATION_CLICK_CHANCE}.get(decision.trigger_id, 0.2)
        if draw.random() < clicks:
            outcomes.append(("click", shown_after + draw.randrange(1_000, 20_000)))
        elif draw.random() < 0.35:
            outcomes.append(("dismissal", shown_after + draw.randrange(500, 8_000)))
        return outcomes

    def _rows_of(self, index: int, treated: Treated) -> list[Row]:
        start = START_TIME + index * DAY_MS
        won_back, offered, advised = (
            self._under_effect(treated.get(name, ()), start) for name in (RE_ENGAGEMENT, OFFER, RECOMMENDATION)
        )
        rows: list[Row] = []
        for number, (temper, days) in self._people.items():
            subject = subject_of(number)
            reading = self._reading.get(number)
            maker = _RowMaker(self.seed, number, index, temper, start, None if reading is None else reading[index])
            maker.day(days[index])
            if subject in won_back:
                maker.return_visit()
            if subject in offered:
                maker.offer_visit(days[index])
            if subject in advised:
                maker.reading_visit(days[index])
            rows += maker.rows
        rows.sort(key=lambda row: (row["time"], row["event_id"]))
        return rows

    @staticmethod
    def _under_effect(acted_on: Collection[str] | Mapping[str, int], start: int) -> Collection[str]:
        if not isinstance(acted_on, Mapping):
            return acted_on if isinstance(acted_on, (set, frozenset)) else set(acted_on)
        return {subject for subject, time in acted_on.items() if time < start <= time + EFFECT_DAYS * DAY_MS}


class _RowMaker:
    """Rows of one shopper on one day. Base rows and those of an effect are numbered apart, so that an effect only adds."""

    def __init__(self, seed: int, number: int, index: int, temper: Temper, start: int, reading: tuple[int, int] | None) -> None:
        """reading: how many guides a reader has read before this day, and reads on it; None for anybody else."""
        self.rows: list[Row] = []
        self._reading = reading
        self._seed, self._number, self._index, self._temper, self._start = seed, number, index, temper, start
        self._count = 0
        self._part = ""
        self._time = start

    def day(self, day: Day) -> None:
        """What happens without any action."""
        comes_to_read = not day.visits and self._reading is not None and self._reading[1] > 0
        if not (day.visits or day.opens or comes_to_read):
            return
        draw = self._begin("")
        if day.opens:
            message = f"news-{self._index // 7:02d}"
            self._add("email_open", {"message_id": message, "machine": draw.random() < 0.1, "client": "webmail"}, 0)
            if day.clicks:
                link = {"message_id": message, "url": f"/news/{self._index // 7:02d}"}
                self._add("email_click", link, draw.randrange(5_000, 60_000))
        if day.visits:
            self._visit(draw, "email" if day.clicks else draw.choice(CHANNELS), day.buys, day.asks)
        elif comes_to_read and self._reading is not None:
            self._read(draw, *self._reading)

    def return_visit(self) -> None:
        """The visit that a re-engagement brings, if it does today."""
        if self._chance("return") < RETURN_CHANCE:
            draw = self._begin("r")
            self._visit(draw, "direct", draw.random() < self._temper.buy_rate, False)

    def offer_visit(self, day: Day) -> None:
        """What an offer adds today: a purchase at a visit without one, or a visit of its own."""
        chance = self._chance("offer")
        if day.visits:
            if not day.buys and chance < OFFER_BUY_CHANCE:
                last = self.rows[-1]["time"] if self.rows else self._start
                draw = self._begin("o")
                self._time = last
                self._purchase(draw, self._category(draw))
        elif chance < OFFER_VISIT_CHANCE:
            draw = self._begin("o")
            self._visit(draw, "direct", draw.random() < 0.5, False)

    def reading_visit(self, day: Day) -> None:
        """What a recommendation adds today: a visit to read on."""
        if self._reading is not None and not day.visits and self._chance("read on") < READ_ON_CHANCE:
            draw = self._begin("c")
            self._add("session", {"kind": "start", "channel": "direct"}, draw.randrange(1_000, 20_000))
            self._read(draw, self._reading[0], 2)

    # -- the parts of a day -----------------------------------------------------------------------------------------

    def _visit(self, draw: random.Random, channel: str, buys: bool, asks: bool) -> None:
        regular = self._temper.regular
        category = self._category(draw)
        self._add("session", {"kind": "start", "channel": channel}, draw.randrange(1_000, 20_000))
        for page in range(1 if draw.random() < 0.7 else 2):
            seconds = round(draw.uniform(5, 90), 1)
            url = f"/{category}" if page == 0 else f"/{category}/news"
            self._add("page_view", {"page_url": url, "time_on_page": seconds, "category": category}, 2_000)
            self._time += int(seconds * 1000)
        looked = draw.choice((1, 1, 2, 3)) if regular else (draw.random() < 0.3)
        for _ in range(looked):
            kind = "search" if draw.random() < 0.2 else "view"
            self._interact(draw, kind, category)
        if self._reading is not None:
            self._read(random.Random(f"{self._seed}/{self._number}/{self._index}/{self._part}/reads"), *self._reading)
        elif draw.random() < LOOKS_IN_CHANCE:
            seconds = round(draw.uniform(20, 400), 1)
            content = f"{category}-guide-{draw.randrange(12):02d}"
            self._add("content_view", {"content_id": content, "category": category, "time_spent": seconds}, 3_000)
            self._time += int(seconds * 1000)
        if buys:
            self._purchase(draw, category)
        if asks:
            ticket = {"ticket_id": self._id("t"), "severity": draw.choice(("low", "normal", "high")), "topic": "order"}
            self._add("support_ticket", ticket, draw.randrange(10_000, 90_000))

    def _read(self, draw: random.Random, before: int, count: int) -> None:
        for category, content, seconds in guides(draw, self._temper.category % len(CATEGORIES), before, count):
            self._add("content_view", {"content_id": content, "category": category, "time_spent": seconds}, 3_000)
            self._time += int(seconds * 1000)

    def _purchase(self, draw: random.Random, category: str) -> None:
        self._interact(draw, "add_to_cart", category)
        count = draw.choice((1, 1, 1, 2, 3))
        amount = round(count * draw.lognormvariate(3.2, 0.5), 2)
        order = {"order_id": self._id("order"), "amount": amount, "currency": "EUR", "item_count": count}
        self._add("purchase", order, draw.randrange(30_000, 240_000))

    def _interact(self, draw: random.Random, kind: str, category: str) -> None:
        product: Row = {"kind": kind, "category": category}
        if kind != "search":
            product |= {"product_id": f"{category}-{draw.randrange(40):02d}", "price": round(draw.lognormvariate(3.2, 0.5), 2)}
        self._add("product_interaction", product, draw.randrange(3_000, 60_000))

    def _category(self, draw: random.Random) -> str:
        favourite = CATEGORIES[self._temper.category % len(CATEGORIES)]
        return favourite if draw.random() < 0.7 else draw.choice(CATEGORIES)

    # -- numbering and time -----------------------------------------------------------------------------------------

    def _begin(self, part: str) -> random.Random:
        draw = random.Random(f"{self._seed}/{self._number}/{self._index}/{part}")
        self._part, self._count = part, 0
        self._time = self._start + self._temper.hour * 3_600_000 + draw.randrange(5_400_000)
        return draw

    def _chance(self, name: str) -> float:
        text = f"{self._seed}/{self._number}/{self._index}/{name}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") / 2**64

    def _id(self, prefix: str) -> str:
        return f"{prefix}-{self._number:04d}-{self._index:03d}{self._part}"

    def _add(self, event_type: str, properties: Row, after_ms: int) -> None:
        self._time = min(self._time + after_ms, self._start + DAY_MS - 1)
        self.rows.append(
            {
                "simulated": True,
                "event_id": f"sim{self._seed}-{self._number:04d}-{self._index:03d}-{self._part}{self._count:02d}",
                "shopper": f"shopper-{self._number:04d}",
                "time": self._time,
                "event_type": event_type,
                "session_id": self._id("s"),
                "properties": properties,
            }
        )
        self._count += 1


def subject_of(number: int) -> str:
    """The subject of shopper `number`, as the shipped mapping `simulated_shoppers` makes it."""
    return subject_key("known", f"shopper-{number:04d}")


def event_of(row: Row) -> Event:
    """A row as the event that an import of it would make (its source position aside)."""
    return Event(
        event_id=row["event_id"],
        event_type=row["event_type"],
        subject=subject_key("known", row["shopper"]),
        event_time=row["time"],
        properties=row["properties"],
        context={"session_id": row["session_id"]},
    )


def simulate_history(
    seed: int = 1, shopper_count: int = SHOPPER_COUNT, history_days: int = HISTORY_DAYS, replay_days: int = 0
) -> Iterator[Row]:
    """SIMULATED rows in time order: the history, then `replay_days` on which nobody acts."""
    world = ShopperWorld(seed, shopper_count, history_days, replay_days)
    yield from world.history()
    for index in range(replay_days):
        yield from world.day(index)


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write rows as JSON lines, gzipped when the name ends in .gz; how many. Raises StorageError.

    The file is imported like any other: the shipped mapping `simulated_shoppers` fits it.
    """
    count = 0
    try:
        with gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else path.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
                count += 1
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from None
    return count
