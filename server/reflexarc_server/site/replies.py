"""The site's `replies` section: who may hand in mail, where else it is looked for, and where each mail goes.

    replies:
      secrets: [env:INBOUND_KEY]          # the newest first; `whsec_...` or any text of 16 characters or more
      sources:                            # see site.mailboxes
        - {name: replies, maildir: /var/mail/replies}
      rules:
        - {name: angry, kind: reply, mood: negative, queue: care, priority: 1, channel: helpdesk}
        - {name: german, kind: reply, language: [de, nl], queue: support-de}
        - {name: invoices, title: "(?i)invoice|rechnung", queue: billing}
        - {name: strangers, matched: false, queue: unknown, priority: 9}
      default: {queue: inbox, priority: 5}

The first rule whose every condition fits decides. Without the section no mail is taken in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from reflexarc_build.source import Mistakes, Node, Reading
from reflexarc_core.condition.evaluation_error import EvaluationError
from reflexarc_core.condition.values import search_of
from reflexarc_server.site.mailboxes import Source, read_sources
from reflexarc_server.site.secret import Secret, read_secrets

KINDS: Final = ("reply", "auto_reply", "bounce", "complaint", "list")
MOODS: Final = ("negative", "neutral", "positive")
SECRET_LENGTH_MIN: Final = 16
RULES_MAX: Final = 200
PRIORITY_MAX: Final = 9


@dataclass(frozen=True, slots=True)
class About:
    """What rules look at. kind: of the mail. title: its Subject header. is_matched: we know whose it is."""

    kind: str
    mood: str
    language: str
    title: str
    is_matched: bool


@dataclass(frozen=True, slots=True)
class Route:
    """Where a mail goes. rule: which one said so, `default` for none. priority: 1 is the most urgent. channel: empty for none."""

    rule: str = "default"
    queue: str = "inbox"
    priority: int = 5
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: empty kinds, moods, languages and title are any, is_matched None is either."""

    route: Route
    kinds: tuple[str, ...] = ()
    moods: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    title: str = ""
    is_matched: bool | None = None

    def fits(self, about: About) -> bool:
        """Whether every condition holds. The mood and language of what no person wrote are nobody's."""
        return (
            (not self.kinds or about.kind in self.kinds)
            and (not self.moods or (about.kind == "reply" and about.mood in self.moods))
            and (not self.languages or about.language in self.languages)
            and self.is_matched in (None, about.is_matched)
            and (not self.title or search_of(self.title)(about.title) is not None)
        )


@dataclass(frozen=True, slots=True)
class Replies:
    """The section. secrets: any of them verifies; none when no mail is handed in. sources: mailboxes that are looked through."""

    secrets: tuple[Secret, ...] = ()
    rules: tuple[Rule, ...] = ()
    default: Route = field(default_factory=Route)
    sources: tuple[Source, ...] = ()

    def route(self, about: About) -> Route:
        """Where it goes: by the first rule that fits."""
        return next((rule.route for rule in self.rules if rule.fits(about)), self.default)

    @property
    def channels(self) -> frozenset[str]:
        """Names of the channels that rules name."""
        return frozenset(route.channel for route in (self.default, *(rule.route for rule in self.rules)) if route.channel)


def read(node: Node, mistakes: Mistakes) -> Replies:
    """The section. What is wrong is noted."""
    reading = Reading(node, "replies", mistakes)
    sources_node = reading.node_of("sources")
    sources = read_sources(sources_node, mistakes)
    secrets_node = reading.node_of("secrets", required=sources_node is None)
    secrets = read_secrets("replies: secrets", secrets_node, mistakes)
    for secret in secrets:
        if len(secret.bytes) < SECRET_LENGTH_MIN and secrets_node is not None:
            hint = f"{SECRET_LENGTH_MIN} random characters or more"
            mistakes.add(secrets_node, f"replies: the secret at {secret.where} is too short", hint)
    rules_node = reading.node_of("rules")
    entries: Iterable[Node] = ()
    if rules_node is not None:
        if isinstance(rules_node.value, list) and len(rules_node.value) <= RULES_MAX:
            entries = rules_node.value
        else:
            mistakes.add(rules_node, "replies: rules is no list", f"write - {{name: ..., queue: ...}} lines, at most {RULES_MAX}")
    rules = tuple(_rule(entry, mistakes) for entry in entries)
    default_node = reading.node_of("default")
    default = Route()
    if default_node is not None:
        inner = Reading(default_node, "replies: default", mistakes)
        default = _route(inner, "default")
        inner.finish()
    reading.finish()
    return Replies(secrets, rules, default, sources)


def _rule(node: Node, mistakes: Mistakes) -> Rule:
    reading = Reading(node, "replies: rules", mistakes)
    name = reading.text("name", required=True)
    kinds, moods = reading.names("kind"), reading.names("mood")
    reading.known("kind", kinds, KINDS, "kind")
    reading.known("mood", moods, MOODS, "mood")
    title = reading.text("title")
    if title:
        try:
            search_of(title)
        except EvaluationError as error:
            mistakes.add(reading.node_of("title") or node, f"replies: rules: title: {error.message}", "write an RE2 pattern")
    matched = reading.flag("matched") if reading.node_of("matched") is not None else None
    found = Rule(_route(reading, name), kinds, moods, reading.names("language"), title, matched)
    reading.finish()
    return found


def _route(reading: Reading, name: str) -> Route:
    priority = int(reading.number("priority", 5, low=1, high=PRIORITY_MAX))
    return Route(name, reading.text("queue", "inbox"), priority, reading.text("channel"))


__all__ = ["About", "Replies", "Route", "Rule", "read"]
