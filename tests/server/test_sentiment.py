"""The mood of a message: one function, a word list or the site's model, and it says which of them spoke."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.errors import DefinitionError
from reflexarc_models.train.sentiment.training import build, fit, matrix_of
from reflexarc_server.language import language_of
from reflexarc_server.sentiment import LEXICON, NEGATIVE, NEUTRAL, POSITIVE, mood_of
from reflexarc_server.site import read_site


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Thank you, this is great and works perfectly!", POSITIVE),
        ("This is terrible, I am angry and want a refund.", NEGATIVE),
        ("The parcel was left at the door on Tuesday.", NEUTRAL),
        ("It is not good at all.", NEGATIVE),
        ("Vielen Dank, das ist wirklich toll und hat mir sehr geholfen!", POSITIVE),
        ("Ich bin sehr enttäuscht, das Gerät ist kaputt und niemand antwortet.", NEGATIVE),
        ("Das gefällt mir nicht.", NEGATIVE),
        ("Ich hatte keine Probleme mit der Bestellung, es war einfach.", POSITIVE),
        ("Wir sind am Dienstag im Büro und die Akte liegt auf dem Tisch.", NEUTRAL),
        ("", NEUTRAL),
        ("\x00\ud800 \u2028", NEUTRAL),
    ],
)
def test_a_word_list_reads_english_and_german(text: str, label: str) -> None:
    mood = mood_of(text)
    assert (mood.label, mood.by) == (label, LEXICON)
    assert -1.0 <= mood.score <= 1.0


@given(st.text(max_size=300))
def test_any_text_has_a_mood_and_at_most_one_language(text: str) -> None:
    assert -1.0 <= mood_of(text).score <= 1.0
    assert len(language_of(text)) in (0, 2)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Thanks, but that is not what I was looking for."),
        ("de", "Danke, aber das ist nicht das, was ich suche."),
        ("fr", "Merci, mais ce n'est pas ce que je cherche pour mon bureau."),
        ("es", "Gracias, pero no es lo que quiero para mi casa."),
        ("nl", "Bedankt, maar dat is niet wat ik zoek voor het huis."),
        ("ja", "ありがとうございます。とても助かりました。"),
        ("ru", "Спасибо, но это не то, что я искал."),
        ("zh", "谢谢,这不是我要找的。"),
        ("ko", "감사합니다. 정말 좋아요."),
        ("", "12345 !!"),
    ],
)
def test_a_language_is_told_by_script_and_small_words(language: str, text: str) -> None:
    assert language_of(text) == language


def test_the_sites_model_speaks_where_there_is_one(tmp_path: Path) -> None:
    texts = [f"{word} {other} it was" for word in ("blorp", "drell", "zimly", "florn") for other in map(str, range(30))]
    labels = [0 if text.startswith(("blorp", "drell")) else 2 for text in texts]
    numpy = pytest.importorskip("numpy")
    build(texts, fit(matrix_of(texts), numpy.array(labels, numpy.int8), 0), {}).write(tmp_path / "model")
    (tmp_path / "site.yaml").write_text("sentiment: model\n")
    model = read_site(tmp_path / "site.yaml").sentiment
    assert model is not None
    assert mood_of("blorp it was", model).label == NEGATIVE and mood_of("blorp it was", model).score < -0.3
    assert mood_of("zimly it was", model).by == f"model {model.digest[:12]}"
    assert mood_of("zimly it was").label == NEUTRAL


@pytest.mark.parametrize("said", ["nowhere", "[a]", "''"])
def test_a_model_that_is_none_is_a_mistake_with_its_line(tmp_path: Path, said: str) -> None:
    (tmp_path / "site.yaml").write_text(f"sentiment: {said}\n")
    with pytest.raises(DefinitionError, match=r"site\.yaml:1: sentiment"):
        read_site(tmp_path / "site.yaml")
