"""One event of the open side, enriched: what its call and addresses say is added, what is personal is taken.

Owns the order: addresses are read, then cleaned; what a sender said itself is never replaced. Only what the event type declares
is added. Pure; must never raise for what a sender sent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event, EventType, Value
from reflexarc_server.collect.rest import REST, SENT, joined, packed
from reflexarc_server.enrichment.campaign import campaign_of, parameters_of
from reflexarc_server.enrichment.personal import cleaned, swept, treated
from reflexarc_server.enrichment.referrer import read_referrer
from reflexarc_server.enrichment.rules import Rules
from reflexarc_server.enrichment.user_agent import read_user_agent

PAGE_VIEW: Final = "page_view"
CONTENT_VIEW: Final = "content_view"
_ADDRESSES: Final = ("page_url", "referrer", "url", "target")
_REST: Final = (REST, SENT)
_TEXT_MAX: Final = 2_000


class WebCall(NamedTuple):
    """What a request says beside its events. received_time: ms. page_url: of the page that sent it, where an event names none.
    country: two letters, from a header the site believes."""

    user_agent: str = ""
    address: str = ""
    received_time: int = 0
    page_url: str = ""
    country: str = ""


class _Call(Protocol):
    @property
    def user_agent(self) -> str: ...


def enrich(event: Event, call: _Call, rules: Rules, catalog: Catalog) -> Event:
    """The event with what can be said of it, without what is personal."""
    declared = catalog.event_types.get(event.event_type)
    properties: dict[str, Value] = dict(event.properties)
    context: dict[str, Value] = dict(event.context)
    agent = read_user_agent(call.user_agent)
    if agent.device_class and "device_class" not in context:
        context["device_class"] = agent.device_class
    if declared is not None:
        said = {"browser": agent.browser, "os": agent.os, "bot": agent.bot, **_of_page(properties, rules)}
        if "referrer_medium" in declared.properties:
            said |= _of_referrer(properties, rules)
        _add(properties, said, declared)
    _take_personal(properties, rules)
    return dataclasses.replace(event, properties=properties, context=context)


def enriched(event: Event, call: _Call, rules: Rules, catalog: Catalog) -> tuple[Event, ...]:
    """The event as `enrich` has it, and behind a view of a page that a rule says is a piece of content the view of that piece,
    which feeds interest. A page that names its content itself tells of that view itself."""
    found = enrich(event, call, rules, catalog)
    content_id = found.properties.get("content_id")
    declared = catalog.event_types.get(CONTENT_VIEW)
    if event.event_type != PAGE_VIEW or not content_id or "content_id" in event.properties or declared is None:
        return (found,)
    properties: dict[str, Value] = {"content_id": content_id}
    if "category" in found.properties:
        properties["category"] = found.properties["category"]
    try:
        conformed, _ = declared.conform(properties)
    except InvalidEventError:  # a catalog of the site's own asks for more than a page says
        return (found,)
    view = dataclasses.replace(found, event_id=f"{event.event_id}#content", event_type=CONTENT_VIEW, properties=conformed)
    return (found, view)


def _of_page(properties: Mapping[str, Value], rules: Rules) -> dict[str, str]:
    try:
        page = urlsplit(str(properties.get("page_url") or ""))
        host = page.hostname or ""
    except ValueError:
        return {}
    if not page.path and not host:
        return {}
    path = cleaned(page.path or "/", rules.parameters)
    content = rules.content_of(path)
    said = {"page_host": host, "page_path": path, "category": content.category, "section": content.section}
    return {**said, "content_id": content.content_id, **campaign_of(parameters_of(page.query))}


def _of_referrer(properties: Mapping[str, Value], rules: Rules) -> dict[str, str]:
    try:
        host = urlsplit(str(properties.get("page_url") or "")).hostname or ""
    except ValueError:
        host = ""
    found = read_referrer(str(properties.get("referrer") or ""), host, rules.internal)
    return {"referrer_medium": found.medium, "referrer_source": found.source, "referrer_term": found.term}


def _add(properties: dict[str, Value], said: Mapping[str, str], declared: EventType) -> None:
    for name, value in said.items():
        of = declared.properties.get(name)
        if value and of is not None and of.type == "string" and not properties.get(name) and not of.values:
            properties[name] = value[:_TEXT_MAX]


def _take_personal(properties: dict[str, Value], rules: Rules) -> None:
    for name in _ADDRESSES:
        address = properties.get(name)
        if isinstance(address, str):
            properties[name] = cleaned(address, rules.parameters)
    for name, way in rules.fields.items():
        if name in properties:
            held = treated(properties[name], way, rules.secret)
            if held is None:
                del properties[name]
            else:
                properties[name] = held
    for name in _REST:
        if name in properties:
            properties[name] = _swept(properties[name], rules)


def _swept(value: Value, rules: Rules) -> Value:
    held: Any = joined(value)
    return packed(swept(held, rules.fields, rules.secret, rules.parameters, rules.ip))
