"""From a text to its marked words: the one tokenizer of training and of every host.

Owns what counts as a word, an emoticon, an emoji or a mark, how far a negation reaches, and what shouting and stretched
words leave behind. Plain Python without tables of its own machine, so that equal texts give equal words everywhere. Must
never weigh or hash anything.
"""

from __future__ import annotations

import html
import re
from typing import Final, NamedTuple

TEXT_CHARACTERS_MAX: Final = 4_000
"""Of a longer text the first half of this many characters and the last half are read."""
NEGATION_REACH: Final = 4
"""Words behind a negation that are marked, unless punctuation or a contrast ends it earlier."""

URL, PERSON, NUMBER = "<url>", "<person>", "<number>"

_TOKEN: Final = re.compile(
    r"""
      (?P<url>https?://\S+|www\.\S+)
    | (?P<person>@\w+)
    | (?P<mark>[<>]?[:;=][\-o*']?[)\](\[dDpP/\\|@3*cCsS]+(?!\w)|[xX]D+(?!\w)|<3+|</3|\^_*\^|-_+-|\(:|\):|[tT]_[tT]|;_;)
    | (?P<number>\d[\d.,:/%-]*)
    | (?P<word>[^\W\d_]+(?:['’][^\W\d_]+)*)
    | (?P<stop>[.,;:!?…()"“”\-–—]+)
    | (?P<sign>[\u203c-\u3299\U0001F000-\U0001FAFF])
    """,
    re.VERBOSE,
)
_STRETCHED: Final = re.compile(r"(.)\1{2,}")
_NEGATION_LIST: Final = """
    aint arent barely cannot cant couldnt didnt doesnt dont hadnt hardly hasnt havent isnt lack lacking lacks neither never no
    nobody none nor not nothing nowhere rarely scarcely seldom shouldnt wasnt werent without wont wouldnt
"""
_NEGATIONS: Final = frozenset(_NEGATION_LIST.split())
_CONTRASTS: Final = frozenset(("but", "except", "however", "yet"))
_STOPS_ENDING: Final = frozenset(".,;:!?…()—–")


class Word(NamedTuple):
    """text: lower case, stretched letters cut to two; a placeholder for addresses, people and numbers. kind: `word`,
    `sign` (emoticon, emoji), `stop` (punctuation) or `thing` (a placeholder). negated: inside a negation's reach.
    shouted: in capitals within a text that is not. stretched: letters were repeated. after_contrast: behind the last `but`.
    """

    text: str
    kind: str
    negated: bool = False
    shouted: bool = False
    stretched: bool = False
    after_contrast: bool = False


def words_of(text: str) -> list[Word]:
    """The marked words of `text`, in order; empty for a text without any."""
    if len(text) > TEXT_CHARACTERS_MAX:
        text = f"{text[: TEXT_CHARACTERS_MAX // 2]} {text[-TEXT_CHARACTERS_MAX // 2 :]}"
    if "&" in text:
        text = html.unescape(text)
    shouting_counts = sum(map(str.isupper, text)) * 2 < sum(map(str.isalpha, text))
    may_stretch = _STRETCHED.search(text) is not None
    found: list[Word] = []
    reach = 0
    contrast = -1
    for match in _TOKEN.finditer(text):
        kind, whole = match.lastgroup, match.group()
        if kind == "word":
            name = whole.lower().replace("’", "'")
            cut = _STRETCHED.sub(r"\1\1", name) if may_stretch else name
            if cut in _CONTRASTS:
                reach, contrast = 0, len(found)
            shouted = shouting_counts and len(whole) > 1 and whole.isupper()
            found.append(Word(cut, "word", reach > 0, shouted, cut != name))
            reach = NEGATION_REACH if cut.endswith("n't") or cut in _NEGATIONS else max(0, reach - 1)
        elif kind == "stop":
            found.append(Word(_stop(whole), "stop"))
            if whole[0] in _STOPS_ENDING:
                reach = 0
        elif kind in ("mark", "sign"):
            name = whole.lower()
            found.append(Word(name if kind == "sign" else _STRETCHED.sub(r"\1", name), "sign"))
        else:
            found.append(Word({"url": URL, "person": PERSON}.get(kind or "", NUMBER), "thing"))
    if contrast >= 0:
        found[contrast + 1 :] = [one._replace(after_contrast=True) for one in found[contrast + 1 :]]
    return found


def _stop(run: str) -> str:
    """A run of punctuation by what it says: asking, exclaiming, both, trailing off, or just a stop."""
    asks, calls = run.count("?"), run.count("!")
    if asks and calls:
        return "?!"
    if calls:
        return "!!" if calls > 1 else "!"
    if asks:
        return "??" if asks > 1 else "?"
    return "..." if "…" in run or "..." in run else run[0]
