"""Simulated shoppers for the demo. SIMULATED: every person, event and reaction is invented by a seeded generator."""

from reflexarc_cli.shoppers.world import (
    DAY_MS,
    HISTORY_DAYS,
    REPLAY_DAYS,
    SHOPPER_COUNT,
    START_TIME,
    ShopperWorld,
    event_of,
    simulate_history,
    subject_of,
    write_rows,
)

__all__ = [
    "DAY_MS", "HISTORY_DAYS", "REPLAY_DAYS", "SHOPPER_COUNT", "START_TIME", "ShopperWorld", "event_of",
    "simulate_history", "subject_of", "write_rows",
]  # fmt: skip
