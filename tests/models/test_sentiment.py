"""Sentiment: words and clues, one set of integers on every path, calibrated probabilities, files that prove themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.errors import DefinitionError, ManifestError, ReflexArcError, ScoringError, StorageError
from reflexarc_core.model import GRID
from reflexarc_models.artifact import MANIFEST_FILE, MODEL_FILE, PARITY_FILE, canonical_json, sha256_hex
from reflexarc_models.sentiment import CLASSES, Sentiment
from reflexarc_models.sentiment.features import UNIT, tally, vector_of
from reflexarc_models.sentiment.model import ONNXRUNTIME
from reflexarc_models.sentiment.polarity import polarity
from reflexarc_models.sentiment.words import NEGATION_REACH, TEXT_CHARACTERS_MAX, words_of
from reflexarc_models.train.sentiment.evaluation import evaluate_sentiment, macro_f1
from reflexarc_models.train.sentiment.rivals import learned_lexicon, majority, word_list
from reflexarc_models.train.sentiment.training import PARITY_TEXTS, build, dealt, fit, matrix_of

# Words that are in no list: what is said of these texts is learned.
_OF_CLASS = (
    ("blorp", "crond", "drell", "ploosh"),
    ("table", "seven", "parcel", "street"),
    ("zimly", "florn", "gladoo", "quivel"),
)
_COMMON = ("the", "we", "saw", "it", "of", "a", "when", "they")


def _table(count: int, seed: int, classes: tuple[int, ...] = (0, 1, 2), noise: float = 0.15) -> tuple[list[str], np.ndarray]:
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for place in range(count):
        label = classes[place % len(classes)]
        said = label if random.random() > noise else classes[int(random.integers(len(classes)))]
        words = [*random.choice(_COMMON, 5), *random.choice(_OF_CLASS[said], 2)]
        texts.append(" ".join(random.permutation(words)))
        labels.append(label)
    return texts, np.array(labels, np.int8)


@pytest.fixture(scope="module")
def model() -> Sentiment:
    texts, labels = _table(400, 1)
    return build(texts, fit(matrix_of(texts), labels, 0), {"rows": 400})


def _marks(text: str, name: str) -> list[str]:
    return [one.text for one in words_of(text) if getattr(one, name)]


# -- words -------------------------------------------------------------------------------------------------------


def test_a_negation_reaches_some_words_and_not_over_a_stop_or_a_contrast() -> None:
    assert _marks("I do not like this new phone at all really", "negated") == ["like", "this", "new", "phone"]
    assert NEGATION_REACH == 4
    assert _marks("not good, great", "negated") == ["good"]
    assert _marks("not good but great", "negated") == ["good"]
    assert _marks("I don’t care", "negated") == ["care"]


def test_shouting_counts_only_where_the_rest_is_quiet() -> None:
    assert _marks("this is SO bad", "shouted") == ["so"]
    assert _marks("THIS IS SO BAD", "shouted") == []


def test_stretched_letters_are_cut_to_two_and_remembered() -> None:
    assert [one.text for one in words_of("sooooo goood!!!!")] == ["soo", "good", "!!"]
    assert _marks("sooooo goood", "stretched") == ["soo", "good"]


def test_emoticons_emoji_addresses_people_and_numbers_are_words_of_their_own() -> None:
    found = [one.text for one in words_of("@ann see https://x.org/a :-) 👍 12.50 &lt;3 :(((")]
    assert found == ["<person>", "see", "<url>", ":-)", "👍", "<number>", "<3", ":("]


def test_what_stands_behind_the_last_contrast_is_marked() -> None:
    assert _marks("nice but dear, but broken", "after_contrast") == ["broken"]


def test_of_a_long_text_both_ends_are_read() -> None:
    found = words_of("first " + "x " * TEXT_CHARACTERS_MAX + "last")
    assert found[0].text == "first"
    assert found[-1].text == "last"
    assert len(found) < TEXT_CHARACTERS_MAX


def test_the_list_knows_stems_and_their_exceptions() -> None:
    assert [polarity(word) for word in ("wonderfully", "terrible", "careful", "careless", "table", ":)", "😡")] == [
        2,
        -2,
        0,
        0,
        0,
        1,
        -1,
    ]


def test_a_negated_word_turns_round_and_a_contrast_weighs_more() -> None:
    assert tally(words_of("good")).up > 0 == tally(words_of("good")).down
    assert tally(words_of("not good")).down > 0 == tally(words_of("not good")).up
    mixed = tally(words_of("good but bad"))
    assert mixed.down > mixed.up > 0


# -- vectors -----------------------------------------------------------------------------------------------------


@given(st.text(max_size=300))
def test_any_text_is_a_short_vector_of_small_integers(text: str) -> None:
    rows, values = vector_of(text)
    assert (rows, values) == vector_of(text)
    assert len(set(rows)) == len(rows)
    assert all(1 <= value <= UNIT for value in values)


def test_vectors_are_those_of_every_other_machine() -> None:
    # Changes with the tokenizer: raise FEATURES_VERSION with it, for models made before do not fit any more.
    whole = json.dumps([vector_of(text) for text in PARITY_TEXTS]).encode()
    assert hashlib.sha256(whole).hexdigest()[:16] == "1743173a081f472a"


# -- the model ---------------------------------------------------------------------------------------------------


def test_it_learns_what_a_table_says(model: Sentiment) -> None:
    texts, labels = _table(300, 2, noise=0.0)
    right = np.mean([model(text).label == CLASSES[label] for text, label in zip(texts, labels, strict=True)])
    assert right > 0.95


@given(text=st.text(max_size=200))
def test_graph_and_built_in_give_the_same_integers(model: Sentiment, by_graph: Sentiment, text: str) -> None:
    assert model.logits(text) == by_graph.logits(text)


@pytest.fixture(scope="module")
def by_graph(model: Sentiment) -> Sentiment:
    return Sentiment(model.files, ONNXRUNTIME)


@given(text=st.text(max_size=100))
def test_probabilities_add_up_to_one_and_the_label_has_the_most(model: Sentiment, text: str) -> None:
    label, probabilities = model(text)
    assert sum(probabilities) == 1.0
    assert all(share >= 0 and share * GRID == int(share * GRID) for share in probabilities)
    assert max(probabilities) - probabilities[CLASSES.index(label)] <= 2 / GRID


def test_the_graph_says_the_probabilities_too(model: Sentiment) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.files[MODEL_FILE], providers=["CPUExecutionProvider"])
    rows, values = vector_of("we saw blorp")
    given_ = {"rows": np.array(rows, np.int64), "values": np.array(values, np.int32)}
    assert session.run(["probabilities"], given_)[0] == pytest.approx(model("we saw blorp").probabilities, abs=1e-4)


def test_the_same_table_and_seed_give_the_same_bytes(model: Sentiment) -> None:
    texts, labels = _table(400, 1)
    again = build(texts, fit(matrix_of(texts), labels, 0), {"rows": 400})
    assert again.digest == model.digest


def test_a_text_without_words_gets_the_shares_of_the_table() -> None:
    texts, labels = _table(400, 3)
    keep = np.flatnonzero((labels != 0) | (np.arange(400) % 4 == 0))
    kept = [texts[int(row)] for row in keep]
    shares = np.bincount(labels[keep]) / len(keep)
    found = build(kept, fit(matrix_of(kept), labels[keep], 0), {})("").probabilities
    assert np.argsort(found).tolist() == np.argsort(shares).tolist() or abs(found[1] - found[2]) < 0.2
    assert found[0] < 0.25


def test_a_class_the_table_does_not_have_is_never_said() -> None:
    texts, labels = _table(200, 4, classes=(0, 2))
    two = build(texts, fit(matrix_of(texts), labels, 0), {})
    for text in (*texts[:20], "", "table seven parcel"):
        assert two(text).label != "neutral"
        assert two(text).probabilities[1] == 0.0


def test_probabilities_are_calibrated_when_labels_are_noisy() -> None:
    texts, labels = _table(1_200, 5, noise=0.5)
    figures = evaluate_sentiment(texts, labels, 0).figures
    assert figures["ece"] < 0.1
    assert figures["log_loss"] < figures["log_loss_base_rate"]


def test_no_text_of_the_table_leaves_with_the_model(model: Sentiment) -> None:
    assert all(b"blorp" not in content for content in model.files.values())


# -- files -------------------------------------------------------------------------------------------------------


def test_it_is_written_and_loaded_again(model: Sentiment, tmp_path: Path) -> None:
    model.write(tmp_path / "m")
    model.write(tmp_path / "m")
    loaded = Sentiment.load(tmp_path / "m")
    assert loaded.digest == model.digest
    assert loaded("blorp") == model("blorp")


def test_a_folder_of_something_else_is_left_alone(model: Sentiment, tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("dear")
    with pytest.raises(StorageError):
        model.write(tmp_path)
    assert (tmp_path / "letters").read_text() == "dear"


def _listed(files: Mapping[str, bytes], name: str, content: bytes) -> dict[str, bytes]:
    """Files with another payload, listed as if it belonged there."""
    manifest = json.loads(files[MANIFEST_FILE])
    manifest["files"][name] = {"bytes": len(content), "sha256": sha256_hex(content)}
    return {**files, MANIFEST_FILE: canonical_json(manifest), name: content}


def test_damage_is_named(model: Sentiment, tmp_path: Path) -> None:
    good = dict(model.files)
    for name, content in good.items():
        with pytest.raises(ManifestError):
            Sentiment({**good, name: content[:-1]})
    manifest = json.loads(good[MANIFEST_FILE])
    for key, value in (("features_version", 99), ("classes", ["a"]), ("files", {}), ("kind", "churn"), ("files", 3)):
        with pytest.raises(ManifestError):
            Sentiment({**good, MANIFEST_FILE: canonical_json({**manifest, key: value})})
    with pytest.raises(ManifestError):
        Sentiment.load(tmp_path)


def test_a_model_that_answers_otherwise_fails_its_self_test(model: Sentiment) -> None:
    parity = json.loads(model.files[PARITY_FILE])
    parity["texts"][3][1][0] += 1
    with pytest.raises(ManifestError, match="self-test on text 3"):
        Sentiment(_listed(model.files, PARITY_FILE, json.dumps(parity).encode()))


@given(content=st.binary(max_size=300))
def test_hostile_bytes_are_refused(model: Sentiment, content: bytes) -> None:
    for name in (MODEL_FILE, PARITY_FILE):
        with pytest.raises(ReflexArcError):
            Sentiment(_listed(model.files, name, content))


def test_what_is_no_text_is_refused(model: Sentiment) -> None:
    with pytest.raises(ScoringError):
        model(b"good")  # type: ignore[arg-type]


# -- training and measuring --------------------------------------------------------------------------------------


def test_too_little_to_learn_from_is_said() -> None:
    texts, labels = _table(100, 6)
    with pytest.raises(DefinitionError, match="at least 50"):
        evaluate_sentiment(texts[:30], labels[:30], 0)
    with pytest.raises(DefinitionError, match="at least 10"):
        evaluate_sentiment(texts, np.array([1] * 91 + [2] * 9, np.int8), 0)
    with pytest.raises(DefinitionError, match="two classes"):
        fit(matrix_of(texts), np.zeros(100, np.int8), 0)


def test_copies_of_a_text_stand_in_one_fold() -> None:
    keys = np.array([f"text {place % 40}" for place in range(200)], dtype=object)
    labels = np.arange(200).astype(np.int8) % 3
    folds = dealt(labels, keys, 0, 5)
    assert all(len(set(folds[keys == key])) == 1 for key in set(keys))
    assert np.bincount(folds).min() == 40


def test_labels_drawn_at_random_are_not_learned() -> None:
    texts, _ = _table(600, 7)
    labels = np.random.default_rng(7).integers(0, 3, 600).astype(np.int8)
    figures = evaluate_sentiment(texts, labels, 0).figures
    assert figures["accuracy_low"] < 0.36
    assert any("not shown to be better than majority" in warning for warning in figures["warnings"])


def test_macro_f1_is_the_mean_over_the_classes_that_occur() -> None:
    assert macro_f1(np.array([[2.0, 0, 0], [0, 0, 0], [1.0, 0, 1]])) == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_the_rivals_do_what_they_say() -> None:
    texts, labels = _table(300, 8)
    assert set(majority(texts, np.array([2] * 200 + [0] * 100, np.int8), texts[:3])) == {2}
    assert word_list([], labels, ["great", "awful", "table", "not great"]).tolist() == [2, 0, 1, 0]
    assert np.mean(learned_lexicon(texts[:200], labels[:200], texts[200:]) == labels[200:]) > 0.7
