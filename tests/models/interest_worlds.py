"""A simulated audience with a known truth: tastes by topic, and series whose parts are seen in order."""

from functools import cache

import numpy as np

from reflexarc_core.event import Event
from reflexarc_models.train.ranking.interactions import Interactions, gather

DAY_MS = 86_400_000
START = 1_700_000_000_000


@cache
def audience(subject_count: int = 240, item_count: int = 150, seed: int = 11, days: int = 80) -> tuple[Event, ...]:
    """content_view and social_share events in the order of time.

    Items belong to topics of 10, a subject likes two topics, and after part n of a topic it often sees part n + 1.
    """
    random = np.random.default_rng(seed)
    topics = item_count // 10
    made: list[tuple[int, str, str, dict[str, object]]] = []
    for subject in range(subject_count):
        liked = random.choice(topics, 2, replace=False)
        at = START + int(random.integers(0, days * DAY_MS // 2))
        item = int(random.choice(liked)) * 10 + int(random.integers(10))
        for _ in range(int(random.integers(6, 22))):
            made.append(
                (
                    at,
                    f"user:{subject}",
                    "content_view",
                    {"content_id": f"item-{item}", "time_spent": float(random.integers(10, 900))},
                )
            )
            if random.random() < 0.1:
                made.append((at + 1_000, f"user:{subject}", "social_share", {"content_id": f"item-{item}", "platform": "mail"}))
            at += int(random.exponential(1.5) * DAY_MS) + 1
            draw = random.random()
            if draw < 0.55:
                item = item // 10 * 10 + (item + 1) % 10
            elif draw < 0.9:
                item = int(random.choice(liked)) * 10 + int(random.integers(10))
            else:
                item = int(random.integers(item_count))
            if at > START + days * DAY_MS:
                break
    made.sort(key=lambda row: row[0])
    return tuple(Event(f"e-{n}", kind, subject, at, properties) for n, (at, subject, kind, properties) in enumerate(made))  # type: ignore[arg-type]


@cache
def interactions() -> Interactions:
    """The audience's sequences."""
    return gather(audience())
