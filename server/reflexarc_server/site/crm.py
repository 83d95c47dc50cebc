"""The site's `crm` section: systems of customers that leads are written into, and which of their fields hold what.

    crm:
      hubspot:                            # the channel's name: a form's `to`
        kind: hubspot
        token: env:HUBSPOT_TOKEN          # of a private app
        map: {email: values.email, firstname: values.name, hs_analytics_source: website.first_touch.utm_source}
      salesforce:
        kind: salesforce url: https://shop.my.salesforce.com client_id: env:SALESFORCE_ID      # a connected app with the client
        credentials flow client_secret: env:SALESFORCE_SECRET object: Lead id: Email_Key__c                  # a field that is
        an external id map: {Email_Key__c: values.email, Email: values.email, LastName: {from: values.name, default: unknown},
        Company: {value: web}}

A lead is one record by its id, however often it is sent. A path leads into the message (docs/forms.md); what it does not find
is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from reflexarc_build.source import Mistakes, Node, Reading
from reflexarc_server.site.secret import Secret, read_secret

KINDS: Final = ("hubspot", "salesforce")
HUBSPOT_URL: Final = "https://api.hubapi.com"
ROOTS: Final = (
    "values", "consents", "website", "payload", "lead_id", "form_id", "form_type", "time", "subject", "page_url", "state",
    "decision_id", "decision_time", "trigger_id", "action", "variant",
)  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a field's value comes from. path: into the message. default: where it finds nothing, None for none."""

    path: tuple[str, ...]
    default: str | float | bool | None = None

    def of(self, body: Mapping[str, Any]) -> Any:
        """The value in a message, None for none."""
        found: Any = body if self.path else None
        for name in self.path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return self.default if found is None or found == "" else found


@dataclass(frozen=True, slots=True)
class Crm:
    """One system. id_field: the field of theirs by which a person is one record; it is mapped. object: of theirs.

    ca_file: PEM of the only authorities trusted, empty for the system's.
    """

    name: str
    kind: str
    url: str
    fields: Mapping[str, Source] = field(default_factory=lambda: MappingProxyType({}))
    id_field: str = "email"
    object: str = "Lead"
    token: Secret | None = None
    client_id: Secret | None = None
    client_secret: Secret | None = None
    ca_file: str = ""
    timeout_s: float = 10.0


def read(node: Node, mistakes: Mistakes) -> tuple[Crm, ...]:
    """The section. What is wrong is noted."""
    if not isinstance(node.value, dict):
        mistakes.add(node, "crm is not a mapping", "write it as NAME: VALUE lines")
    return tuple(_crm(name, entry, mistakes) for name, entry in node.items())


def _crm(name: str, entry: Node, mistakes: Mistakes) -> Crm:
    what = f"crm {name}"
    reading = Reading(entry, what, mistakes)
    kind = reading.text("kind", "hubspot", required=True, one_of=KINDS)
    is_hubspot = kind == "hubspot"
    secrets = {
        each: read_secret(f"{what}: {each}", held, mistakes)
        for each in (("token",) if is_hubspot else ("client_id", "client_secret"))
        if (held := reading.node_of(each, required=True)) is not None
    }
    url = reading.text("url", HUBSPOT_URL if is_hubspot else "", required=not is_hubspot)
    parts = urlsplit(url)
    url_node = reading.node_of("url")
    schemes = ("https", "http") if is_hubspot else ("https",)  # the package of Salesforce knows no other
    if url_node is not None and (parts.scheme not in schemes or not parts.hostname):
        mistakes.add(url_node, f"{what}: this is no address of {kind}", "https://HOST")
    fields = {each: _source(f"{what}: {each}", node, mistakes) for each, node in reading.entries("map")}
    id_field = reading.text("id", "email" if is_hubspot else "", required=not is_hubspot)
    if id_field and id_field not in fields:
        mistakes.add(entry, f"{what}: nothing is mapped to {id_field}, its id", f"map: {{{id_field}: values.email}}")
    for each in (*fields, id_field):
        if each and not _NAME.fullmatch(each):
            mistakes.add(entry, f"{what}: {each!r} is no field", "letters, digits and _")
    its = reading.text("object", "Lead")
    if not _NAME.fullmatch(its):
        mistakes.add(entry, f"{what}: {its!r} is no object", "letters, digits and _")
    made = Crm(
        name, kind, url.rstrip("/"), MappingProxyType(fields), id_field, its, secrets.get("token"), secrets.get("client_id"),
        secrets.get("client_secret"), reading.text("ca_file"), min(30_000, reading.duration_ms("timeout", 10_000)) / 1_000,
    )  # fmt: skip
    reading.finish()
    return made


def _source(what: str, node: Node, mistakes: Mistakes) -> Source:
    if isinstance(node.value, str):
        return _path(what, node, node.value, None, mistakes)
    reading = Reading(node, what, mistakes)
    path = reading.text("from")
    default = reading.node_of("default") or reading.node_of("value")
    reading.finish()
    value = None if default is None else default.value
    if isinstance(value, (dict, list)) or (not path and value is None):
        mistakes.add(node, f"{what} has no value", "{from: PATH, default: VALUE} or {value: VALUE}")
        return Source(())
    return _path(what, node, path, value, mistakes) if path else Source((), value)


def _path(what: str, node: Node, text: str, default: Any, mistakes: Mistakes) -> Source:
    path = tuple(text.split("."))
    if path[0] not in ROOTS or not all(path):
        mistakes.add(node, f"{what}: {text!r} leads nowhere", f"it begins with one of {', '.join(ROOTS)}")
    return Source(path, default)
