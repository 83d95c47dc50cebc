"""A server with forms, and what a browser sends to it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from reflexarc_build.source import parse
from reflexarc_server.app import Server, start_server
from reflexarc_server.collect.http import HttpOptions
from reflexarc_server.site import Site
from reflexarc_server.site.reader import site_of
from reflexarc_server.testing import Receiver
from tests.server.kit import T0, ManualClock, catalog

SITE = """
web:
  keys:
    shop: {key: wk_shop_1, origins: ["https://shop.example"]}
    other: {key: wk_other_1}
  limits: {address_calls_per_s: 0, key_calls_per_s: 0}
forms:
  quote:
    type: lead_gen
    to: [crm]
    identify_by: email
    honeypot: website
    thanks: https://shop.example/thanks
    fields:
      email: {type: email, required: true, label: {en: E-mail, de: E-Mail-Adresse}}
      name: {max_length: 40}
      phone: {type: phone, region: DE}
      code: {pattern: "[A-Z]{2}[0-9]+"}
      message: {type: textarea, min_length: 5}
      plan: {type: select, options: [small, large], in_event: true}
      news: {type: checkbox, consent: newsletter}
      terms: {type: checkbox, required: true}
  help:
    type: support
    fields:
      topic: {type: select, options: [billing, delivery], in_event: true}
      question: {type: textarea, required: true}
"""
GOOD: Mapping[str, Any] = {
    "email": "Zoe@Shop.EXAMPLE.org", "name": "Zoë", "phone": "030 123456", "code": "AB12", "message": "Hello there", "plan":
    "small", "news": True, "terms": True, "never_declared": "x",
}  # fmt: skip


def site() -> Site:
    """The site of SITE."""
    return site_of(parse(SITE, "site.yaml"), Path())


def started(folder: Path, crm: Receiver, clock: ManualClock | None = None, its_site: Site | None = None) -> Server:
    """A server of its own."""
    return start_server(
        folder, "127.0.0.1:0", catalog(), clock or ManualClock(T0), insecure=True, http=HttpOptions("127.0.0.1", 0),
        site=its_site or site(), channels=[crm],
    )  # fmt: skip


class Page:
    """A page of a browser."""

    def __init__(self, server: Server, anonymous_id: str = "anna", origin: str = "https://shop.example") -> None:
        assert server.http is not None
        self.address = server.http.address
        self.anonymous_id = anonymous_id
        self.origin = origin

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of a call."""
        connection = http.client.HTTPConnection(self.address, timeout=20)
        connection.request(method, path, body, {"origin": self.origin, **(headers or {})} if self.origin else headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def send(self, form: str, values: Mapping[str, Any], its_id: str = "1", language: str = "", **more: Any) -> tuple[int, Any]:
        """A submission by script: (status, answer)."""
        body = {
            "key": "wk_shop_1", "anonymous_id": self.anonymous_id, "id": its_id, "partial": False, "values": values,
            "page_url": "https://shop.example/quote", "time": T0, **more,
        }  # fmt: skip
        headers = {"content-type": "application/json", "accept-language": language}
        status, _, content = self.call("POST", f"/forms/{form}", json.dumps(body).encode(), headers)
        return status, json.loads(content)

    def post(self, form: str, values: Mapping[str, str], **headers: str) -> tuple[int, dict[str, str], bytes]:
        """A submission of a page without script."""
        kind = {"content-type": "application/x-www-form-urlencoded"}
        return self.call("POST", f"/forms/{form}", urlencode(values).encode(), {**kind, **headers})
