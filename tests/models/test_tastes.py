"""Scoring with items: a warm taste says what one made anew says, its strength is an input, nothing of a person outlives them."""

import random
from dataclasses import replace
from functools import cache

import pytest
from model_worlds import trained
from test_interest import SHARED, factors

from reflexarc_core.effect import RequestScore, score_of
from reflexarc_core.errors import ManifestError, ScoringError
from reflexarc_core.interaction import INTEREST_STRENGTH, Interactions, interact
from reflexarc_core.model import ItemScorer
from reflexarc_models.artifact import MANIFEST_FILE, Artifact, assemble
from reflexarc_models.interest import Interest
from reflexarc_models.item_factors import ITEMS_FILE
from reflexarc_models.scorer import ArtifactScorer, items_of, self_test
from reflexarc_models.tastes import RANKED_COUNT, Tastes


@cache
def artifact(items: bytes = SHARED.to_bytes()) -> Artifact:
    """A device's artifact whose last input is the strength of an interest, with items beside it."""
    plain = trained("gradient_boosting").device
    manifest = {name: value for name, value in plain.manifest.items() if name != "files"}
    inputs = [*plain.inputs[:-1], INTEREST_STRENGTH]
    absent = dict(zip(inputs, plain.absent_values, strict=True))
    payload = {name: content for name, content in plain.files.items() if name != MANIFEST_FILE}
    return assemble({**manifest, "inputs": inputs, "absent_values": absent}, {**payload, ITEMS_FILE: items})


def histories(seed: int, subjects: int, events: int) -> list[tuple[str, tuple[tuple[str, float], ...]]]:
    """Events of several people in turn: whose, and what is kept of them then."""
    draw = random.Random(seed)
    kept: dict[str, Interactions] = {}
    found = []
    for _ in range(events):
        subject = f"known:{draw.randrange(subjects)}"
        held = kept.setdefault(subject, {})
        interact(held, f"item-{draw.randrange(400)}", draw.choice((0.25, 1.0, 1.5, 2.0)))
        found.append((subject, tuple(held.items())))
    return found


def test_a_warm_taste_says_what_one_made_anew_says() -> None:
    tastes = Tastes(SHARED)
    for subject, interactions in histories(5, 3, 900):  # beyond what is kept of one: items leave, too
        anew = Interest(SHARED, interactions)
        assert tastes.look(subject, interactions) == (anew.strength(), anew.rank(RANKED_COUNT))


def test_only_so_many_are_held_and_whoever_comes_back_is_known_again() -> None:
    tastes, warm = Tastes(SHARED, count_max=2), Tastes(SHARED)
    for subject, interactions in histories(6, 5, 200):
        assert tastes.look(subject, interactions) == warm.look(subject, interactions)
        assert len(tastes) <= 2
    assert len(warm) == 5


def test_other_factors_rank_otherwise_from_the_same_interactions() -> None:
    kept = (("item-3", 1.0), ("item-9", 2.0))
    swapped = ArtifactScorer({"m": artifact()}).with_artifact(replace(artifact(factors(seed=11).to_bytes()), model_id="m"))
    ranked = swapped.score_items("m", (1.0, 2.0), None, "known:1", kept).ranked
    assert ranked == Interest(factors(seed=11), kept).rank(RANKED_COUNT) != Interest(SHARED, kept).rank(RANKED_COUNT)


def test_the_strength_is_the_last_input_and_the_score_keeps_it() -> None:
    scorer = ArtifactScorer({"m": artifact()})
    kept = (("item-3", 1.0), ("item-9", 2.0))
    scored = scorer.score_items("m", (1.0, 2.0), None, "known:1", kept)
    anew = Interest(SHARED, kept)
    assert scored.vector == (1.0, 2.0, anew.strength())
    assert scored.ranked == anew.rank(RANKED_COUNT) and len(set(scored.ranked)) == RANKED_COUNT
    assert not {"item-3", "item-9"} & set(scored.ranked)
    assert scored == scorer.score("m", scored.vector, None)._replace(ranked=scored.ranked)


def test_nobody_knows_anything_of_a_stranger_but_what_is_popular() -> None:
    scored = ArtifactScorer({"m": artifact()}).score_items("m", (1.0, 2.0), None, "known:1", (("no such item", 1.0),))
    assert scored.ranked == SHARED.item_ids[:RANKED_COUNT]
    assert scored.vector[-1] == 0.0


def test_a_request_with_interactions_needs_a_scorer_of_items() -> None:
    scorer = ArtifactScorer({"m": artifact(), "plain": trained("gradient_boosting").device})
    ask = RequestScore("e1", "known:1", "m", (1.0, 2.0), "host", interactions=(("item-3", 1.0),))
    assert isinstance(scorer, ItemScorer)
    assert score_of(scorer, ask).ranked
    assert score_of(scorer, replace(ask, model_id="plain", vector=(1.0, 2.0, 3.0), interactions=None)).ranked == ()
    with pytest.raises(ScoringError, match="ranks no items"):
        score_of(scorer, replace(ask, model_id="plain"))


def test_who_is_forgotten_is_held_no_longer() -> None:
    tastes = Tastes(SHARED)
    tastes.look("known:1", (("item-3", 1.0),))
    tastes.forget("known:1")
    tastes.forget("known:2")
    assert len(tastes) == 0


def test_damaged_items_fail_the_self_test() -> None:
    self_test(artifact())
    assert items_of(artifact()).item_ids == SHARED.item_ids
    damaged = bytearray(SHARED.to_bytes())
    damaged[200] ^= 1
    with pytest.raises(ManifestError, match=ITEMS_FILE):
        self_test(artifact(bytes(damaged)))
