"""What mood a message is in: the site's trained model where there is one, else a list of words.

Owns the one number that replies and mentions carry as `sentiment`, and the word list for German; the English one is the models'.
Must never reach a network, and never claim that a word list was a model: `Mood.by` says who spoke.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from reflexarc_models.sentiment import Sentiment
from reflexarc_models.sentiment.features import tally
from reflexarc_models.sentiment.words import TEXT_CHARACTERS_MAX, words_of
from reflexarc_server.language import language_of

NEGATIVE, NEUTRAL, POSITIVE = "negative", "neutral", "positive"
LEXICON: Final = "lexicon"
CLEAR: Final = 0.2
"""From here on, for or against, a word list calls a text positive or negative."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD: Final = re.compile(r"[^\W\d_]+|[.,;:!?]")
_BEFORE, _BEHIND = 3, 2
"""Words around a negation that it turns round; in German it may stand behind (`das gefällt mir nicht`)."""
_NEGATIONS: Final = _set("nicht nie niemals kein keine keinen keinem keiner keines ohne nichts kaum weder nirgends nirgendwo")
_STRONGER: Final = _set("sehr total absolut wirklich extrem völlig komplett richtig mega überhaupt besonders äußerst")
# A trailing * is a stem.
_GERMAN_POSITIVE: Final = """
    gut gute guten guter gutes besser beste besten bestens toll tolle toller tolles super prima klasse spitze großartig*
    hervorragend* ausgezeichnet* exzellent* fantastisch* perfekt* wunderbar* wunderschön* genial* herrlich* schön schöne schönen
    schöner schönes danke dank dankbar* dankeschön freue freut freuen freude froh glücklich* zufrieden* begeister* gefällt
    gefallen
    liebe lieben liebt mag gern gerne empfehl* hilfreich* hilfsbereit* freundlich* nett nette netten netter schnell schnelle
    schneller zuverlässig* einfach praktisch* überzeug* erfolg* funktioniert klappt gelungen* lob* super-schnell top einwandfrei*
    angenehm* positiv* hoffe hoffnung* vertrau* kompeten* günstig* preiswert* interessant* spannend* sauber* gelöst geholfen läuft
"""
_GERMAN_NEGATIVE: Final = """
    schlecht* schlimm* furchtbar* schrecklich* miserabel* katastroph* mies mieser mieses miese grauenhaft* entsetzlich* ärger*
    verärgert* sauer wütend* enttäusch* unzufrieden* frustr* nervig* nervt nerven lästig* unverschämt* frech* dreist* unmöglich*
    inakzeptabel* problem* fehler* fehlt fehlte fehlend* defekt* kaputt* beschädigt* zerbrochen* falsch* fehlerhaft* langsam*
    verspät* verzöger* warte warten gewartet leider beschwer* reklam* rückerstatt* kündig* kündige storno* stornier* betrug
    betrüg*
    abzocke lüge* lügen gelogen hass* hasse ungenügend* mangelhaft* unbrauchbar* nutzlos* sinnlos* umständlich* kompliziert*
    teuer teure teurer überteuert* traurig* schade peinlich* unfreundlich* unhöflich* inkompetent* ignorier* abgelehnt verweiger*
    verloren verlust* schmutzig* ekelhaft* ekelig* gefährlich* anwalt klage verklag* mahnung* frechheit zumutung spam störend*
    stört
    versagt vergeblich* abstürz* absturz* hängt nie
"""
_STRONG: Final = _set(
    "katastroph furchtbar schrecklich miserabel grauenhaft entsetzlich unverschämt frechheit betrug hervorragend großartig"
    " perfekt fantastisch genial begeister wunderbar"
)


@dataclass(frozen=True, slots=True)
class Mood:
    """label: negative, neutral or positive. score: -1 bad to 1 good. by: `lexicon`, or `model DIGEST` with 12 hex digits."""

    label: str
    score: float
    by: str


def mood_of(text: str, model: Sentiment | None = None) -> Mood:
    """The mood of a text; without a word that says anything it is neutral, 0. Raises nothing for any text.

    A model's score is the probability of good less that of bad.
    """
    if model is not None:
        reading = model(text)
        bad, _, good = reading.probabilities
        return Mood(reading.label, round(good - bad, 4), f"model {model.digest[:12]}")
    up, down = _german(text) if language_of(text) == "de" else _english(text)
    score = round((up - down) / (up + down + 1.0), 4)
    return Mood(POSITIVE if score >= CLEAR else NEGATIVE if score <= -CLEAR else NEUTRAL, score, LEXICON)


def _english(text: str) -> tuple[float, float]:
    sums = tally(words_of(text))
    return sums.up, sums.down


def _german(text: str) -> tuple[float, float]:
    """(for, against) of a German text; emoticons and emoji count as they do elsewhere."""
    if len(text) > TEXT_CHARACTERS_MAX:
        text = f"{text[: TEXT_CHARACTERS_MAX // 2]} {text[-TEXT_CHARACTERS_MAX // 2 :]}"
    signs = tally([one for one in words_of(text) if one.kind == "sign"])
    up, down = signs.up, signs.down
    words = _WORD.findall(text.lower())
    for place, word in enumerate(words):
        value = _value(word)
        if not value:
            continue
        strength = abs(value) * (1.5 if place and words[place - 1] in _STRONGER else 1.0)
        if _is_negated(words, place):
            value, strength = -value, 0.8
        if value > 0:
            up += strength
        else:
            down += strength
    return up, down


def _is_negated(words: list[str], place: int) -> bool:
    """Whether a negation stands close before the word, or close behind it, with no stop between."""
    before = words[max(0, place - _BEFORE) : place]
    stops = [at for at, word in enumerate(before) if not word[0].isalpha()]
    if not _NEGATIONS.isdisjoint(before[stops[-1] + 1 if stops else 0 :]):
        return True
    for word in words[place + 1 : place + 1 + _BEHIND]:
        if not word[0].isalpha():
            return False
        if word in _NEGATIONS:
            return True
    return False


def _entries() -> tuple[dict[str, float], dict[str, float]]:
    words: dict[str, float] = {}
    stems: dict[str, float] = {}
    for sign, text in ((1.0, _GERMAN_POSITIVE), (-1.0, _GERMAN_NEGATIVE)):
        for entry in text.split():
            name = entry.removesuffix("*")
            (stems if entry.endswith("*") else words)[name] = sign * (2.0 if name in _STRONG else 1.0)
    return words, stems


_WORDS, _STEMS = _entries()


@lru_cache(maxsize=4_096)
def _value(word: str) -> float:
    found = _WORDS.get(word)
    if found is not None:
        return found
    return next((_STEMS[word[:length]] for length in range(len(word), 2, -1) if word[:length] in _STEMS), 0.0)


__all__ = ["LEXICON", "NEGATIVE", "NEUTRAL", "POSITIVE", "Mood", "mood_of"]
