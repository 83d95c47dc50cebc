"""The site's `social` section: which platforms tell, what is urgent, who is told when, what is answered.

    social:
      twitter: {secrets: [env:X_SECRET], accounts: ["2244994945", "our_handle"], token: env:X_TOKEN}
      facebook: {secrets: [env:FB_SECRET], verify_token: env:FB_WORD, token: env:FB_TOKEN}
      vip: [twitter/44196397, known:ceo]
      keywords: {outage: 0.6, refund: 0.3}
      levels:
        - {severity: 0.3, notify: support, timeout: 30m}
        - {severity: 0.7, notify: lead}
      responses:
        thanks: {moods: [positive], text: "Thank you, ${author}!"}

Platforms that are not named are not listened to. Secrets are references, several at once while one is being replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from types import MappingProxyType
from typing import Final

from reflexarc_build.source import Mistakes, Node, Reading, shown
from reflexarc_server.site.secret import Secret, read_secret, read_secrets
from reflexarc_server.social.post import FACEBOOK, LINKEDIN, PLATFORMS, TWITTER

DAY_MS: Final = 86_400_000
AGE_MAX_MS: Final = 7 * DAY_MS
BASES: Final = {
    TWITTER: "https://api.x.com", FACEBOOK: "https://graph.facebook.com/v23.0", LINKEDIN: "https://api.linkedin.com",
}  # fmt: skip
MOODS: Final = ("negative", "neutral", "positive")
PLACES: Final = ("author", "handle", "platform")
"""What a response may name: `${author}` and so on."""
_LOOPBACK: Final = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?(/.*)?")


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform. secrets: the newest first. accounts: ours, None where each delivery names its own.

    age_max_ms: older deliveries are refused. token: of its API, None where nothing is posted. base: of its API.
    """

    secrets: tuple[Secret, ...]
    verify_token: Secret | None = None
    accounts: tuple[str, ...] | None = None
    age_max_ms: int = AGE_MAX_MS
    token: Secret | None = None
    base: str = ""

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The secrets as bytes."""
        return tuple(secret.bytes for secret in self.secrets)


@dataclass(frozen=True, slots=True)
class Level:
    """One step of an escalation.

    severity: from which a mention begins here, 0 to 1. notify: a channel. timeout_ms: until the next step, 0 for the last.
    """

    severity: float
    notify: str
    timeout_ms: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """One rule that proposes an answer. Empty moods, platforms and keywords: any. is_approved: goes out without a person's word.

    severity_max: no answer to what is more severe. every_ms: at most one answer to an author in that time.
    """

    name: str
    text: str
    moods: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    severity_max: float = 1.0
    every_ms: int = DAY_MS
    is_approved: bool = False


@dataclass(frozen=True, slots=True)
class Social:
    """The section. vip: `platform/author id` or a subject. keywords: word -> how urgent it is, 0 to 1.

    reach_full: followers from which reach counts whole. repeat_ms: how far back an author's earlier complaints count.
    """

    platforms: Mapping[str, Platform] = field(default_factory=lambda: MappingProxyType({}))
    vip: frozenset[str] = frozenset()
    keywords: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    reach_full: int = 100_000
    repeat_ms: int = DAY_MS
    levels: tuple[Level, ...] = ()
    responses: tuple[Response, ...] = ()


def read(node: Node, mistakes: Mistakes) -> Social:
    """The section. What is wrong is noted."""
    reading = Reading(node, "social", mistakes)
    platforms = {}
    for name in PLATFORMS:
        entry = reading.node_of(name)
        if entry is not None:
            platforms[name] = _platform(name, entry, mistakes)
    keywords = {}
    for word, weight in reading.entries("keywords"):
        if isinstance(weight.value, bool) or not isinstance(weight.value, (int, float)) or not 0 <= weight.value <= 1:
            mistakes.add(weight, f"social: keywords: {word} is {shown(weight.value)}", "how urgent the word is, 0 to 1")
        else:
            keywords[word.casefold()] = float(weight.value)
    found = Social(
        MappingProxyType(platforms),
        frozenset(reading.names("vip")),
        MappingProxyType(keywords),
        int(reading.number("reach_full", 100_000, low=1, high=10**9)),
        reading.duration_ms("repeat_within", DAY_MS),
        _levels(reading, mistakes),
        tuple(_response(name, entry, mistakes) for name, entry in reading.entries("responses")),
    )
    reading.finish()
    return found


def _platform(name: str, node: Node, mistakes: Mistakes) -> Platform:
    reading = Reading(node, f"social: {name}", mistakes)
    secrets = read_secrets(f"social: {name}: secrets", reading.node_of("secrets", required=True), mistakes)
    token, word = reading.node_of("token"), reading.node_of("verify_token")
    base = reading.text("base", BASES[name]).rstrip("/")
    if not base.startswith("https://") and not _LOOPBACK.fullmatch(base):
        mistakes.add(
            reading.node_of("base") or node, f"social: {name}: base is {shown(base)}", "an https address, without a path"
        )
    found = Platform(
        secrets,
        read_secret(f"social: {name}: verify_token", word, mistakes) if word is not None else None,
        reading.names("accounts") if reading.node_of("accounts") is not None else None,
        reading.duration_ms("age_max", AGE_MAX_MS),
        read_secret(f"social: {name}: token", token, mistakes) if token is not None else None,
        base,
    )
    if name == FACEBOOK and found.verify_token is None and word is None:
        mistakes.add(node, "social: facebook has no verify_token", "the word given on the app's webhook page: env:NAME")
    reading.finish()
    return found


def _levels(reading: Reading, mistakes: Mistakes) -> tuple[Level, ...]:
    node = reading.node_of("levels")
    if node is None:
        return ()
    if not isinstance(node.value, list):
        mistakes.add(node, "social: levels is no list", "write - {severity: 0.3, notify: CHANNEL, timeout: 30m} lines")
        return ()
    levels: list[Level] = []
    for place, entry in enumerate(node.value):
        one = Reading(entry, f"social: level {place + 1}", mistakes)
        is_last = place == len(node.value) - 1
        severity = one.number("severity", 0.0, low=0.0, high=1.0)
        level = Level(severity, one.text("notify", required=True), one.duration_ms("timeout", required=not is_last))
        if levels and level.severity <= levels[-1].severity:
            mistakes.add(entry, f"social: level {place + 1} begins at {severity:g}", "each level begins above the one before")
        one.finish()
        levels.append(level)
    return tuple(levels)


def _response(name: str, node: Node, mistakes: Mistakes) -> Response:
    reading = Reading(node, f"social: response {name}", mistakes)
    text = reading.text("text", required=True)
    template = Template(text)
    if not template.is_valid() or set(template.get_identifiers()) - set(PLACES):
        known = ", ".join(f"${{{place}}}" for place in PLACES)
        mistakes.add(
            reading.node_of("text") or node, f"social: response {name}: the text names something else", f"it may name {known}"
        )
    approval = reading.node_of("approval")
    moods, platforms = reading.names("moods"), reading.names("platforms")
    reading.known("moods", moods, MOODS, "mood")
    reading.known("platforms", platforms, PLATFORMS, "platform")
    found = Response(
        name,
        text,
        moods,
        platforms,
        tuple(word.casefold() for word in reading.names("keywords")),
        reading.number("severity_max", 1.0, low=0.0, high=1.0),
        reading.duration_ms("every", DAY_MS),
        # Nothing goes out in our name unless somebody wrote that it may.
        approval is not None and not reading.flag("approval"),
    )
    reading.finish()
    return found
