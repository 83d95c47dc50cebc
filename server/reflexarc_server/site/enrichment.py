"""The site's `enrichment` section: its own domains, what its pages are about, and what becomes of personal fields.

    enrichment:
      internal: [shop.example, pay.example]    # visits from these hosts, and those below them, are no visits from outside
      content:                                 # the first that holds counts
        - {paths: ["/blog/*/**"], category: reading, section: blog, content_id: last}
      personal:
        secret: env:PERSONAL_SECRET            # of hashes
        fields: {email: hash, phone: drop, name: mask}
        parameters: [voucher]                  # removed from addresses beside those of docs/enrichment.md
        keep_parameters: [key]                 # of those, not removed
        ip: truncate                           # or drop

Without the section events are stored as they came.
"""

from __future__ import annotations

from typing import Final

from reflexarc_build.source import Mistakes, Node, Reading
from reflexarc_server.enrichment.personal import HASH, PARAMETERS, WAYS
from reflexarc_server.enrichment.rules import TRUNCATE, ContentRule, Rules
from reflexarc_server.site.secret import read_secret

SECRET_LENGTH_MIN: Final = 32
_CONTENT_IDS: Final = ("path", "last")
_IPS: Final = (TRUNCATE, "drop")


def read(node: Node, mistakes: Mistakes) -> Rules:
    """The section. What is wrong is noted."""
    reading = Reading(node, "enrichment", mistakes)
    internal = frozenset(name.lower().removeprefix("www.").strip(".") for name in reading.names("internal"))
    listed = reading.node_of("content")
    content = []
    if listed is not None:
        if not isinstance(listed.value, list):
            mistakes.add(listed, "enrichment: content is no list", "write - {paths: [...], category: ...}")
        else:
            content = [_rule(each, mistakes) for each in listed.value]
    fields: dict[str, str] = {}
    secret, parameters, ip = b"", PARAMETERS, TRUNCATE
    personal = reading.node_of("personal")
    if personal is not None:
        its = Reading(personal, "enrichment: personal", mistakes)
        given = its.node_of("secret")
        held = read_secret("enrichment: secret", given, mistakes) if given is not None else None
        secret = held.bytes if held is not None else b""
        for name, way in its.entries("fields"):
            if way.value not in WAYS:
                mistakes.add(way, f"enrichment: {name} is treated as {way.value!r}", f"one of {', '.join(WAYS)}")
            fields[name] = str(way.value)
        if HASH in fields.values() and len(secret) < SECRET_LENGTH_MIN:
            mistakes.add(given or personal, "enrichment: hashing needs a secret", f"{SECRET_LENGTH_MIN} random bytes or more")
        added = frozenset(name.lower() for name in its.names("parameters"))
        parameters = (PARAMETERS | added) - frozenset(name.lower() for name in its.names("keep_parameters"))
        ip = its.text("ip", TRUNCATE, one_of=_IPS)
        its.finish()
    reading.finish()
    return Rules(internal, tuple(content), fields, secret, parameters, ip)


def _rule(node: Node, mistakes: Mistakes) -> ContentRule:
    reading = Reading(node, "enrichment: content", mistakes)
    paths = reading.names("paths", required=True)
    for path in paths:
        if not path.startswith(("/", "*")):
            mistakes.add(node, f"enrichment: {path!r} is no path", 'write "/blog/**"')
    content_id = reading.text("content_id", one_of=_CONTENT_IDS)
    found = ContentRule(paths, reading.text("category"), reading.text("section"), content_id)
    reading.finish()
    return found
