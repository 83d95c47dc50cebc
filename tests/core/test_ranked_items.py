"""Models that rank items (12, 21, 22): what is kept of a subject, what a score brings, and the sequence it feeds."""

from __future__ import annotations

from functools import cache

import pytest

from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision, Reason
from reflexarc_core.effect import Effect, RequestScore
from reflexarc_core.effect import Record as RecordEffect
from reflexarc_core.engine import Engine
from reflexarc_core.event import Event
from reflexarc_core.explain import standing
from reflexarc_core.interaction import INTERACTIONS_MAX, INTEREST_STRENGTH, WEIGHT_MAX
from reflexarc_core.model import GRID, LiveModel, Scored
from reflexarc_core.record import CatalogInput, EventInput, Moment, Record, ScoresInput, TickInput
from reflexarc_core.replay import decisions as replayed
from reflexarc_core.state import State, SubjectState
from reflexarc_edge.codec import decode, encode, pack, unpack

DAY = 86_400_000
T0 = 1_700_000_000_000 // DAY * DAY
PERSON = "known:1"
LIVE = {"content_interest": LiveModel("items-1", ("content_views", "time_spent", INTEREST_STRENGTH), 0)}

YAML = """
include: standard
version: "{version}"
{models}
triggers:
  recommend:
    condition: content_interest_prediction
    on: [content_view, page_view]
    escalate: never
    {more}
    action: show
    follow:
      - {{action: show, on: [click, dismissal], wait: 2d}}
      - {{action: show, on: [click, dismissal], wait: 2d}}
      - {{action: show, on: [click, dismissal], wait: 2d}}
      - {{action: show, on: [click, dismissal], wait: 2d}}
actions:
  show: {{payload: {{item: "${{interest_progression[0]}}", then: "${{interest_progression}}"}}}}
"""


@cache
def catalog(more: str = "", version: str = "1", models: str = "") -> Catalog:
    return build_text(YAML.format(more=more, version=version, models=models))


class Scene:
    """One engine; what its model says is set by the test. Keeps its log as bytes, as a store does."""

    def __init__(self, made: Catalog | None = None, *, is_live: bool = True) -> None:
        made = made or catalog()
        self.catalogs = {made.digest: made}
        self.engine = Engine(Catalog(), "edge")
        self.now = T0
        self.log: list[tuple[int, bytes]] = []
        self.decisions: list[Decision] = []
        self.asked: list[RequestScore] = []
        self.score, self.confidence = 0.9, 0.95
        self.ranked: tuple[str, ...] = ("x", "y", "z")
        self.count = 0
        self.take(CatalogInput(self.moment(), made.digest, made.version, LIVE if is_live else {}), made)

    def moment(self) -> Moment:
        return Moment(self.now, True)

    def take(self, given: Record, made: Catalog | None = None) -> list[Decision]:
        before = len(self.decisions)
        self.log.append(encode(given))
        self.perform(self.engine.receive(given, made))  # type: ignore[arg-type]  # inputs only
        return self.decisions[before:]

    def perform(self, effects: list[Effect]) -> None:
        asked = [effect for effect in effects if isinstance(effect, RequestScore)]
        self.decisions += [effect.decision for effect in effects if isinstance(effect, RecordEffect)]
        self.asked += asked
        if asked:
            code = int(self.score * GRID)
            given = tuple(
                (
                    a.subject,
                    Scored(a.model_id, "items-1", code, code / GRID, ((0.5, self.confidence),), a.vector, None, self.ranked),
                )
                for a in asked
            )
            self.take(ScoresInput(self.moment(), asked[0].cause_id, given))

    def event(self, event_type: str, /, **properties: object) -> list[Decision]:
        self.count += 1
        made = Event(f"e{self.count}", event_type, PERSON, self.now, properties)  # type: ignore[arg-type]
        return self.take(EventInput(self.moment(), made))

    def view(self, item: str, **properties: object) -> list[Decision]:
        return self.event("content_view", content_id=item, **properties)

    def outcome(self, kind: str) -> list[Decision]:
        return self.event("outcome", decision_id=self.decisions[-1].decision_id, kind=kind)

    def wait(self, days: float) -> list[Decision]:
        self.now += int(days * DAY)
        return self.take(TickInput(self.moment()))

    @property
    def person(self) -> SubjectState:
        return self.engine.state.subjects[PERSON]

    @property
    def kept(self) -> list[tuple[str, float]]:
        return list((self.person.interactions or {}).get("content_interest", {}).items())

    def restored(self) -> Engine:
        state = self.engine.state
        kept = {key: unpack(pack(subject.to_plain())) for key, subject in state.subjects.items()}
        return Engine(self.engine.plan.catalog, "edge", State.from_plain(unpack(pack(state.head_plain())), kept))


# -- what is kept -------------------------------------------------------------------------------------------------------


def test_items_are_kept_with_the_most_recent_last_and_a_repeated_one_weighs_more() -> None:
    scene = Scene()
    scene.view("a")
    scene.view("b", time_spent=300.0)
    scene.event("social_share", content_id="a", platform="web")
    assert scene.kept == [("b", 1.5), ("a", 3.0)]
    scene.event("page_view", page_url="/a")
    scene.event("social_share", platform="web")
    for _ in range(5):
        scene.view("b")
    assert scene.kept == [("a", 3.0), ("b", WEIGHT_MAX)]
    assert scene.asked[-1].interactions == (("a", 3.0), ("b", WEIGHT_MAX))
    assert scene.asked[-1].vector == (7.0, 300.0), "the strength is the scorer's to add"


def test_only_so_many_items_are_kept_and_the_oldest_make_room() -> None:
    scene = Scene()
    scene.score = 0.1
    for number in range(INTERACTIONS_MAX + 5):
        scene.view(f"i{number}")
    scene.view("i6")
    assert len(scene.kept) == INTERACTIONS_MAX
    assert scene.kept[0][0] == "i5"
    assert scene.kept[-1] == ("i6", 2.0)
    scene.view("q" * 300)
    assert len(scene.kept) == INTERACTIONS_MAX and scene.kept[-1][0] == "i6", "what is that long names no item"


def test_nothing_is_kept_where_no_trigger_reads_a_model_that_ranks() -> None:
    silent = build_text(
        "include: standard\ntriggers: {t: {condition: 'true', on: [content_view], action: a}}\nactions: {a: {}}\n"
    )
    scene = Scene(silent)
    scene.view("a")
    assert scene.person.interactions is None and not scene.asked
    assert "interactions" not in scene.person.to_plain()
    elsewhere = Engine(catalog(), "server", State(models=dict(LIVE)))
    assert "content_interest" not in elsewhere.plan.models, "its only reader is on devices"


def test_a_device_keeps_items_before_it_has_a_model() -> None:
    scene = Scene(is_live=False)
    scene.view("a")
    assert scene.kept == [("a", 1.0)] and not scene.asked
    made = catalog()
    scene.take(CatalogInput(scene.moment(), made.digest, made.version, LIVE), made)
    scene.view("b")
    assert scene.asked[0].interactions == (("a", 1.0), ("b", 1.0))


def test_a_snapshot_keeps_the_items_their_order_and_what_was_ranked() -> None:
    scene = Scene()
    for item in ("a", "b", "a"):
        scene.view(item)
    back = scene.restored().state.subjects[PERSON]
    assert back == scene.person
    assert list((back.interactions or {})["content_interest"]) == ["b", "a"]
    assert back.scores["content_interest"].ranked == ("x", "y", "z")


def test_an_older_snapshot_is_read() -> None:
    scene = Scene()
    scene.view("a")
    kept = scene.person.to_plain()
    del kept["interactions"]
    kept["scores"] = {name: scored[:7] for name, scored in kept["scores"].items()}
    back = SubjectState.from_plain(unpack(pack(kept)))
    assert back.interactions is None and back.scores["content_interest"].ranked == ()


def test_an_older_score_in_the_log_is_read() -> None:
    kind, body = encode(ScoresInput(Moment(T0), "e1", (("known:1", Scored("m", "d", 1, 0.5, (), (1.0,), None)),)))
    older = unpack(body)
    older["scores"][0][1] = older["scores"][0][1][:7]
    back = decode(kind, pack(older))
    assert isinstance(back, ScoresInput) and back.scores[0][1].ranked == ()


def test_items_that_are_named_otherwise_are_kept_no_longer_and_others_are() -> None:
    scene = Scene()
    scene.view("a")
    again = catalog(version="2")
    scene.take(CatalogInput(scene.moment(), again.digest, "2", LIVE), again)
    assert scene.kept == [("a", 1.0)]
    otherwise = catalog(
        version="3",
        models="models: {content_interest: {output: content_interest_prediction, output_type: bool, "
        "algorithm: collaborative_filtering, features: [content_views], score_on: [content_view], "
        "progression: interest_progression, items: {content_view: category}}}",
    )
    scene.take(CatalogInput(scene.moment(), otherwise.digest, "3", LIVE), otherwise)
    assert scene.person.interactions is None


def test_a_session_that_ended_leaves_no_items() -> None:
    scene = Scene()
    for number, (event_type, properties) in enumerate([("content_view", {"content_id": "a"}), ("reset", {})]):
        event = Event(f"s{number}", event_type, "session:s", T0, properties)
        scene.take(EventInput(scene.moment(), event))
    assert "session:s" not in scene.engine.state.subjects


# -- the claim ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "confidence", "reason"),
    [
        (0.51, 0.71, Reason.FIRED),
        (0.5, 0.99, None),
        (0.49, 0.99, None),
        (0.51, 0.7, Reason.LOW_CONFIDENCE),
    ],
)
def test_a_claim_is_a_score_over_its_line_with_confidence_over_the_gate(
    score: float, confidence: float, reason: Reason | None
) -> None:
    scene = Scene()
    scene.score, scene.confidence = score, int(confidence * GRID) / GRID
    found = scene.view("a")
    assert [decision.reason for decision in found] == ([] if reason is None else [reason])
    if reason is not None:
        assert found[0].evidence[0].line == 0.5 and found[0].evidence[0].score == int(score * GRID) / GRID


def test_without_anything_kept_a_taste_is_warming() -> None:
    scene = Scene()
    scene.view("a")
    scene.wait(30)
    scene.person.interactions = None
    found = scene.event("page_view", page_url="/")
    assert [(d.reason, d.detail) for d in found] == [(Reason.WARMING, "content_interest: no interactions are kept")]


def test_without_an_item_to_show_nothing_is_shown() -> None:
    scene = Scene()
    scene.ranked = ()
    found = scene.view("a")
    assert [(d.reason, d.detail) for d in found] == [(Reason.CONDITION, "no value: interest_progression")]


# -- the sequence -------------------------------------------------------------------------------------------------------


def shown(found: list[Decision]) -> list[object]:
    return [decision.payload["item"] for decision in found if decision.reason is Reason.FIRED and decision.payload]


def test_each_step_is_about_the_best_item_that_none_before_it_was_about() -> None:
    scene = Scene()
    first = scene.view("a")
    assert first[0].payload == {"item": "x", "then": ["x", "y", "z"]}
    assert scene.outcome("impression") == []
    second = scene.outcome("click")
    assert second[0].payload == {"item": "y", "then": ["y", "z"]} and second[0].instance == "step:1"
    scene.ranked = ("y", "x", "w", "z")
    scene.view("b")
    third = scene.wait(2.5)
    assert third[-1].payload == {"item": "w", "then": ["w", "z"]}, "ranked anew meanwhile, without what was shown"


def test_a_sequence_ends_when_nothing_is_left_to_show() -> None:
    scene = Scene()
    found = [*scene.view("a"), *scene.outcome("click"), *scene.outcome("click")]
    assert shown(found) == ["x", "y", "z"]
    last = scene.outcome("click")
    assert [(d.reason, d.detail) for d in last] == [(Reason.CONDITION, "no value: interest_progression")]
    assert scene.person.ledger is not None and not scene.person.ledger.journeys
    assert scene.wait(10) == []


def test_three_dismissals_end_a_sequence() -> None:
    scene = Scene()
    scene.ranked = ("v", "w", "x", "y", "z")
    found = [*scene.view("a"), *scene.outcome("dismissal"), *scene.outcome("dismissal")]
    assert shown(found) == ["v", "w", "x"]
    assert scene.outcome("dismissal") == [] and scene.wait(10) == []


def test_an_exit_ends_a_sequence() -> None:
    scene = Scene(catalog(more="exit: [purchase]"))
    scene.view("a")
    scene.event("purchase", order_id="o")
    assert scene.wait(10) == []


def test_an_item_that_waits_for_the_morning_counts_as_shown() -> None:
    scene = Scene(catalog(more='quiet: {from: "00:00", to: "08:00"}'))
    assert [d.reason for d in scene.view("a")] == [Reason.QUIET_HOURS]
    scene.engine = scene.restored()
    assert shown(scene.wait(0.4)) == ["x"]
    scene.engine = scene.restored()
    assert shown(scene.outcome("click")) == ["y"]


def test_replay_needs_no_model_and_gives_the_same_bytes() -> None:
    scene = Scene()
    scene.ranked = ("v", "w", "x", "y", "z")
    for item in ("a", "b", "c"):
        scene.view(item)
        scene.outcome("click")
        scene.wait(2.1)
    again = Engine(Catalog(), "edge")
    found = list(replayed(again, [decode(*record) for record in scene.log], scene.catalogs))
    assert [pack(decision) for decision in found] == [pack(decision) for decision in scene.decisions]
    assert len(shown(found)) >= 4
    assert again.state == scene.engine.state


def test_explain_tells_what_was_shown_and_that_there_is_more() -> None:
    scene = Scene()
    scene.view("a")
    found = standing(scene.engine.plan, scene.engine.state, scene.engine.plan.triggers["recommend"], PERSON, scene.moment())
    checks = {check.name: check for check in found.checks}
    assert checks["interactions"].reason == "" and checks["interactions"].detail == "content_interest: 1 item"
    assert any("shown x" in line for line in found.under_way)
