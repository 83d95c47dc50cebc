"""Which language a short text is in, told by its script and its commonest small words.

Owns a cheap guess that costs microseconds and needs no model. Must never be taken for certain: a text of three words says little,
and then the answer is empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

TEXT_LENGTH_MAX: Final = 4_000
"""Characters that are looked at."""
_WORD: Final = re.compile(r"[^\W\d_]+")
_LEAD_MIN: Final = 1
"""By how many small words the first language leads the second, at least."""

_SMALL_WORDS: Final = {
    "en": "the and is are was to of in that it you for with have this not be your i we can please my would from they what thanks",
    "de": "der die das und ist nicht ich sie wir ein eine zu mit auf für dem den es bitte haben auch von danke kein leider sehr "
    "vielen wie mir mich",
    "fr": "le la les et est je vous nous un une des pour pas que qui dans avec sur ce ne merci du au bonjour très mon votre",
    "es": "el la los las y es que de un una no por para con en lo se su me mi gracias pero muy está hola quiero",
    "pt": "o a os as e é que de um uma não por para com em se seu meu obrigado obrigada mas muito está você eu olá",
    "it": "il la le gli e è che di un una non per con in si mi lo sono grazie ma molto ciao vorrei del della",
    "nl": "de het een en is niet ik je u wij van voor met op dat te dank bedankt maar zijn graag mijn heb",
    "pl": "i w nie na się że do to jest z dla proszę dziękuję mam ale jak czy o po bardzo",
    "sv": "och att det är inte jag som en på för med har tack men av vi du om mycket hej",
    "da": "og at det er ikke jeg som en på for med har tak men af vi du om meget hej",
    "no": "og at det er ikke jeg som en på for med har takk men av vi du om veldig hei",
    "fi": "ja on ei se että en mutta olen kiitos hän tämä voi ole hei minun kanssa",
    "cs": "a je v na se že to s z pro děkuji prosím ale jsem není já by dobrý",
    "tr": "ve bir bu için ile de da çok ben teşekkürler ama değil var ne mı lütfen merhaba",
}


def _by_word(lists: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for language, text in lists.items():
        for word in text.split():
            found[word] = (*found.get(word, ()), language)
    return found


_LANGUAGES: Final = _by_word(_SMALL_WORDS)
_SCRIPTS: Final = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("uk", re.compile(r"[іїєґІЇЄҐ]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
)
_LATIN: Final = re.compile(r"[A-Za-z\u00c0-\u024f]")


def language_of(text: str) -> str:
    """The ISO 639-1 code of the likeliest language, empty when the text does not say. Norwegian is `no`."""
    text = text[:TEXT_LENGTH_MAX]
    latin = len(_LATIN.findall(text))
    for language, sign in _SCRIPTS:
        # A sign of Chinese or Japanese says as much as half a word.
        if len(sign.findall(text)) * 2 > latin:
            return language
    counts: dict[str, int] = {}
    for word in _WORD.findall(text.lower()):
        for language in _LANGUAGES.get(word, ()):
            counts[language] = counts.get(language, 0) + 1
    ranked = sorted(counts.items(), key=lambda one: -one[1])
    if not ranked or (len(ranked) > 1 and ranked[0][1] - ranked[1][1] < _LEAD_MIN):
        return ""
    return ranked[0][0]
