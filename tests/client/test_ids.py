"""Event ids: unique, and in the order they were made."""

from __future__ import annotations

import threading
import uuid

from reflexarc.ids import EventIds


def test_ids_are_ordered_also_within_a_millisecond_and_when_the_clock_steps_back() -> None:
    ids = EventIds()
    made = [ids.next(ms) for ms in [1_700_000_000_000] * 500 + [1_700_000_000_001, 1_600_000_000_000, 1_700_000_000_002]]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_are_uuids_of_version_7_that_tell_their_time() -> None:
    made = uuid.UUID(EventIds().next(1_700_000_000_000))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 1_700_000_000_000


def test_eight_threads_never_make_the_same_id() -> None:
    ids = EventIds()
    made: list[list[str]] = [[] for _ in range(8)]

    def make(into: list[str]) -> None:
        for _ in range(2_000):
            into.append(ids.next(1_700_000_000_000))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for each in made for one in each}) == 16_000
