"""The runtime: the engine is where the log is, whatever fails between two steps."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from reflexarc_core.decision import Decision, Reason
from reflexarc_core.errors import ScoringError, StorageError
from reflexarc_core.record import CatalogInput, EventInput, Moment, TickInput
from reflexarc_edge import runtime as runtime_room
from tests.core import test_engine_rules as rules
from tests.core.world import catalog, inputs
from tests.edge.kit import DAY, NOW, T0, Sure, World

# -- the engine is where the log is (24) ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_rule_24_killed_and_opened_anywhere_the_state_is_the_fold_of_the_log(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path)
    world.live()
    for number, given in enumerate(inputs(seed, 90)):
        if isinstance(given, EventInput):
            world.runtime.capture(given.event, given.moment)
        elif isinstance(given, TickInput):
            world.runtime.tick(given.moment)
        if number % 23 == seed:
            world.runtime.keep_snapshot(force=True)
        if number % 17 == seed:
            world.reopen()
            assert world.is_where_the_log_is()
    world.reopen()
    assert world.is_where_the_log_is()


@pytest.mark.parametrize("error", [ValueError("the host's own model"), ScoringError("no"), RuntimeError("x")])
def test_a_model_that_raises_costs_its_score_and_nothing_else(world: World, error: Exception) -> None:
    world.scorer.error = error
    world.page(1, "/shop/1")
    assert [type(noted) for noted in world.errors] == [ScoringError]
    world.scorer.error = None
    world.page(2, "/shop/1")
    assert world.is_where_the_log_is()
    assert world.runtime.engine.feature_values("known:1", T0)["page_views"] == 2.0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_an_interrupt_in_the_middle_leaves_the_engine_where_the_log_is(world: World, error: BaseException) -> None:
    world.scorer.error = error
    with pytest.raises(type(error)):
        world.page(1, "/shop/1")
    world.scorer.error = None
    world.page(2, "/shop/1")
    assert world.runtime.engine.feature_values("known:1", T0)["page_views"] == 1.0
    assert world.is_where_the_log_is()


def test_a_record_that_cannot_be_encoded_leaves_no_trace(world: World) -> None:
    with pytest.raises(UnicodeEncodeError):
        world.page(1, "/\ud800")
    world.page(2)
    assert world.runtime.engine.feature_values("known:1", T0)["page_views"] == 1.0
    assert world.is_where_the_log_is()


def test_a_store_whose_catalog_is_gone_opens_with_a_state_begun_anew_and_says_so(world: World) -> None:
    world.page(1)
    world.runtime.keep_snapshot(force=True)
    with world.log.spool.store.transaction() as db:
        db.execute("DELETE FROM catalogs")
    world.reopen()
    assert any("catalog" in note for note in world.runtime.notes)
    world.live()
    world.page(2)
    assert world.runtime.engine.feature_values("known:1", T0)["page_views"] == 1.0


def test_subjects_that_a_repair_saved_without_their_head_are_no_part_of_the_next_state(world: World) -> None:
    world.page(1)
    world.runtime.keep_snapshot(force=True)
    with world.log.spool.store.transaction() as db:
        db.execute("DELETE FROM meta WHERE name = 'snapshot'")
        db.execute("UPDATE subjects SET subject = 'known:rotted', state = x'00'")
    world.reopen()
    assert any("kept state was given up" in note for note in world.runtime.notes)
    world.page(2)
    world.runtime.keep_snapshot(force=True)
    world.reopen()
    assert world.runtime.notes == []
    assert world.is_where_the_log_is()


def test_a_switch_that_fails_keeps_the_old_scorer_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(records: object, **_: object) -> int:
        raise StorageError("full")

    monkeypatch.setattr(world.log, "append", full)
    with pytest.raises(StorageError):
        world.runtime.switch(rules.catalog(), {}, Sure(), NOW)
    monkeypatch.undo()
    world.page(1, "/shop/1")
    assert world.runtime.engine.plan.catalog.digest == catalog().digest
    assert world.runtime.engine.state.subjects["known:1"].scores["purchase_intent"].artifact_digest == "purchase_intent-1"


def test_events_are_taken_in_while_a_switch_is_prepared(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = 0

    def elsewhere() -> None:
        nonlocal pieces
        pieces += 1
        if pieces == 3:
            thread = threading.Thread(target=world.page, args=(1,), daemon=True)
            thread.start()
            thread.join(5.0)
            assert not thread.is_alive(), "whoever prepares holds a lock that an event needs"

    monkeypatch.setattr(runtime_room, "breathe", elsewhere)
    world.runtime.switch(rules.catalog(), {}, Sure(), NOW)
    assert pieces > 3
    kinds = [type(record) for _, record in world.log.records(0)]
    assert kinds.index(EventInput) < len(kinds) - 1 and kinds[-1] is CatalogInput


def test_an_input_the_disk_refused_is_in_no_snapshot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(records: object, **_: object) -> int:
        raise StorageError("full")

    world.page(1)
    monkeypatch.setattr(world.log, "append", full)
    with pytest.raises(StorageError):
        world.page(2)
    monkeypatch.undo()
    world.runtime.keep_snapshot(force=True)
    world.reopen()
    assert world.runtime.engine.feature_values("known:1", T0)["page_views"] == 1.0
    assert world.is_where_the_log_is()


def test_values_that_are_no_newer_are_not_written_again(world: World) -> None:
    def come_down(as_of_time: int, tickets: float = 1.0) -> int:
        world.runtime.values("known:1", as_of_time, {"support_tickets": tickets}, Moment(T0 + 20 * DAY, True))
        return world.log.last_seq

    world.page(1)
    # The server's fold is 20 days behind: its values are near to being stale, and there are no others.
    first = come_down(T0)
    assert come_down(T0) == come_down(T0 - 1) == first
    assert come_down(T0 + 1) == first + 1
    assert come_down(T0 + 1, tickets=2.0) == first + 2


# -- ports that fail, and locks ---------------------------------------------------------------------------------------


def test_rule_31_what_is_stored_is_accepted_even_if_handing_over_fails(slow: World) -> None:
    def broken(decision: Decision) -> None:
        raise RuntimeError("the host's loop is closed")

    slow.hand_over = broken
    assert [d.reason for d in slow.page(1, "/quick")] == [Reason.FIRED]
    assert [str(error) for error in slow.errors] == ["the host's loop is closed"]


def test_on_error_is_told_without_a_lock_held(world: World) -> None:
    answered: list[bool] = []

    def ask_elsewhere(error: Exception) -> None:
        thread = threading.Thread(target=world.runtime.condition_counts, daemon=True)
        thread.start()
        thread.join(2.0)
        answered.append(not thread.is_alive())

    world.on_scoring_error = ask_elsewhere
    world.scorer.error = ScoringError("no")
    world.page(1, "/shop/1")
    assert answered == [True]
