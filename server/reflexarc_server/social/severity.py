"""How urgent a mention is, and why.

Owns the formula; docs/social.md has it too. Pure: what is known of the author's earlier mentions is handed in.

    badness   = the greater of -sentiment (when negative) and the heaviest keyword in the text
    weight    = 0.6 + 0.4 reach + 0.2 verified + 0.5 VIP + 0.2 for each of two earlier ones
    severity  = badness x weight, at most 1

reach is log(1 + followers) / log(1 + reach_full), at most 1. What is not bad is not urgent, whoever says it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from reflexarc_core.event import Value
from reflexarc_server.site.social import Social


@dataclass(frozen=True, slots=True)
class Severity:
    """value: 0 to 1. reasons: what it is made of, a line each, without a word of the text but keywords."""

    value: float
    reasons: tuple[str, ...]


def severity(properties: Mapping[str, Value], social: Social, *, is_vip: bool, earlier: int) -> Severity:
    """properties: of a social_mention or social_share event. earlier: bad mentions of the same author within the window."""
    reasons: list[str] = []
    sentiment = _number(properties.get("sentiment"))
    text = properties.get("text")
    word, weight = _heaviest(text if isinstance(text, str) else "", social.keywords)
    badness = max(-sentiment, weight, 0.0)
    if sentiment < 0:
        reasons.append(f"sentiment {sentiment:.2f}")
    if word:
        reasons.append(f"keyword {word} {weight:g}")
    if badness <= 0:
        return Severity(0.0, ("nothing bad is said",))
    followers = _number(properties.get("reach"))
    reach = min(1.0, math.log1p(max(0.0, followers)) / math.log1p(social.reach_full))
    factor = 0.6 + 0.4 * reach
    if followers > 0:
        reasons.append(f"reach {followers:.0f} counts {reach:.2f}")
    if properties.get("verified") is True:
        factor += 0.2
        reasons.append("verified account")
    if is_vip:
        factor += 0.5
        reasons.append("VIP")
    if earlier:
        factor += 0.2 * min(earlier, 2)
        reasons.append(f"{earlier} earlier within {social.repeat_ms // 3_600_000} h")
    return Severity(min(1.0, badness * factor), tuple(reasons))


def names_word(text: str, words: tuple[str, ...]) -> bool:
    """Whether a text has one of these words or phrases, whole, in any case."""
    return bool(_heaviest(text, dict.fromkeys(words, 1.0))[0])


def _heaviest(text: str, keywords: Mapping[str, float]) -> tuple[str, float]:
    folded = text.casefold()
    found = [(weight, word) for word, weight in keywords.items() if word in folded and _is_whole(word, folded)]
    weight, word = max(found, default=(0.0, ""))
    return word, weight


def _is_whole(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
