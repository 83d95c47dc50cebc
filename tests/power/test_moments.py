"""Moments at which something was lost once, each by itself: what long lives meet by chance is met here every time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reflexarc_core.record import LossOutput
from tests.power.cuts import MODELS, cut_often
from tests.power.life import Life, Plan
from tests.power.tape import Rename
from tests.power.test_power_loss import assert_whole
from tests.power.workload import Workload

IMAGES = 60
PLAN = Plan(0, "power", is_calm=True)

Moments = tuple[int, int]
Story = Callable[[Workload], Moments]
"""What happens, and between which events of its tape the power goes."""

STORIES: list[Story] = []


def told(story: Story) -> Story:
    """A story that no power cut may spoil."""
    STORIES.append(story)
    return story


def now(life: Life) -> int:
    """How many events there are so far."""
    life.recorder.sweep()
    return len(life.recorder.tape)


def end_of(life: Life) -> Moments:
    """When all of it is over."""
    return now(life), now(life)


@told
def a_store_that_was_just_made(life: Workload) -> Moments:
    life.append()
    life.sync()
    return end_of(life)


@told
def drained_by_a_process_that_was_killed(life: Workload) -> Moments:
    life.checkpoint()  # the next one is far away
    for _ in range(5):
        life.append()
    life.sync()
    life.drain()
    life.kill(back=0)
    return end_of(life)


@told
def larger_than_the_journal_while_another_thread_syncs(life: Workload) -> Moments:
    life.append()
    begun = now(life)
    life.recorder.on_store_write = life.sync
    life.log.append([life.event(2 * PLAN.bounds.segment_bytes)])
    return begun, now(life)


@told
def the_catalog_of_a_record_that_is_durable(life: Workload) -> Moments:
    life.drain()
    life.catalog()
    life.sync()
    return end_of(life)


@told
def captured_by_another_process(life: Workload) -> Moments:
    life.visitors.capture_some(5, is_synced=True)
    return end_of(life)


@told
def adopted_from_a_process_that_ended(life: Workload) -> Moments:
    life.visitors.capture_some(5, is_synced=True)
    life.visitors.end()
    life.visitors.adopt()
    life.checkpoint()
    return end_of(life)


@told
def adopted_in_part_when_the_power_went(life: Workload) -> Moments:
    """Some pages of the owner's journal are on the disk, and those before them are not."""
    life.visitors.capture_some(30, is_synced=True)
    begun = now(life)
    life.visitors.adopt()
    return begun, now(life)


@told
def adopted_up_to_the_middle_of_a_segment(life: Workload) -> Moments:
    """The rest of that segment and the next one are still with the other process's journal."""
    life.visitors.capture_some(30, is_synced=True)
    life.visitors.adopt(count_max=3)
    return end_of(life)


@told
def given_up_before_the_store_rotted(life: Workload) -> Moments:
    for _ in range(3):
        life.append_many()
    life.snapshot()
    evicted: set[int] = set()
    life.recorder.note("evicting", evicted)
    life.log.spool.upkeep._evict(0, life.log.spool.covered_seq, 3)
    evicted |= life.evicted()
    life.sync()
    life.rot()
    return end_of(life)


@told
def while_the_store_that_rotted_makes_room_for_the_new_one(life: Workload) -> Moments:
    life.append()
    life.sync()
    life.rot()
    moved = [at for at, event in enumerate(life.recorder.tape) if isinstance(event, Rename) and "set-aside" in event.path]
    return moved[0], moved[0] + 3


@told
def captured_under_a_new_numbering(life: Workload) -> Moments:
    """Its ids are derived from the numbering, which the journal has to know as soon as it holds one."""
    life.append()
    life.sync()
    life.rot()
    begun = now(life)
    for _ in range(5):
        life.capture()
    return begun, now(life)


@told
def while_somebody_reads_and_nothing_can_be_moved_into_the_main_file(life: Workload) -> Moments:
    life.checkpoint()
    life.log.spool.store._db.execute("PRAGMA busy_timeout=0")
    reader = life.recorder.connect(str(life.log.spool.store.path))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM log")
    for _ in range(5):
        life.append()
    life.sync()
    life.checkpoint()
    life.blank()
    moments = end_of(life)
    reader.close()
    return moments


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_is_not_lost(story: Story, model: str, place: Path) -> None:
    life = Workload(PLAN, place)
    with life.recorder:
        life.begin()
        since, until = story(life)
        tape: list[Any] = life.recorder.tape[:until]
        losses = [record for _, record in life.log.records(0) if isinstance(record, LossOutput)]
        life.abandon()
    assert all(loss.reason == "evicted" for loss in losses), losses
    assert_whole(cut_often(PLAN, tape, model, IMAGES, place, since))
