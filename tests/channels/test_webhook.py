"""Webhooks: any Standard Webhooks library verifies them, under each secret; what the receiver says decides what becomes of
them."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks.webhooks import Webhook as Verifier

from reflexarc_build.source import parse
from reflexarc_core.errors import DefinitionError
from reflexarc_server.channels import Outgoing, Refused, Unreachable
from reflexarc_server.channels.webhook import WebhookChannel
from reflexarc_server.clock import SystemClock
from reflexarc_server.site.reader import site_of
from reflexarc_server.site.secret import Secret
from reflexarc_server.site.webhooks import Webhook

NEW, OLD, OTHER = ("whsec_" + base64.b64encode(letter * 24).decode() for letter in (b"n", b"o", b"x"))
LEAD = Outgoing("hook", "lead/1", "lead/1", {"kind": "lead", "time": 1_700_000_000_000, "values": {"name": "Zoë"}})


class Endpoint:
    """A local receiver of webhooks that answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status, self.headers = 204, dict[str, str]()
        self.drip = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                if outer.status == 0:
                    outer.drip.wait(20)
                    return
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/in?x=1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    started = Endpoint()
    yield started
    started.drip.set()
    started.server.shutdown()
    started.server.server_close()


def channel(endpoint: Endpoint, **more: Any) -> WebhookChannel:
    secrets = (Secret("env:NEW", NEW), Secret("env:OLD", OLD))
    return WebhookChannel(Webhook("hook", endpoint.url, secrets, private=more.pop("private", True), **more), SystemClock())


def test_a_library_of_the_standard_verifies_it_under_either_secret(endpoint: Endpoint) -> None:
    channel(endpoint).send(LEAD)
    ((headers, body),) = endpoint.got
    for secret in (NEW, OLD):
        assert Verifier(secret).verify(body, headers)["data"] == LEAD.body
    with pytest.raises(Exception, match="matching"):
        Verifier(OTHER).verify(body, headers)
    with pytest.raises(Exception, match="matching"):
        Verifier(NEW).verify(body.replace(b"lead", b"lean"), headers)
    assert headers["webhook-id"] == "lead/1"
    assert json.loads(body)["timestamp"] == "2023-11-14T22:13:20.000Z"


def test_a_cloudevent_is_one_for_its_own_library_and_signed_too(endpoint: Endpoint) -> None:
    channel(endpoint, envelope="cloudevents", source="/shop").send(LEAD)
    ((headers, body),) = endpoint.got
    event = from_structured(HTTPMessage(headers, body), JSONFormat(), CloudEvent)
    assert (event.get_id(), event.get_source(), event.get_type()) == ("lead/1", "/shop", "reflexarc.lead")
    assert event.get_data() == LEAD.body
    assert Verifier(OLD).verify(body, headers)


def test_a_second_attempt_is_the_same_message(endpoint: Endpoint) -> None:
    its = channel(endpoint)
    its.send(LEAD)
    its.send(LEAD)
    (first, again) = endpoint.got
    assert first[1] == again[1] and first[0]["webhook-id"] == again[0]["webhook-id"]


@pytest.mark.parametrize(
    ("status", "headers", "wanted", "retry_after_ms"),
    [
        (429, {"retry-after": "7"}, Unreachable, 7_000), (503, {}, Unreachable, None), (500, {"retry-after": "soon"},
        Unreachable, None), (401, {}, Unreachable, None), (400, {}, Refused, None), (410, {}, Refused, None), (302, {"location":
        "http://127.0.0.1:1/"}, Refused, None),
    ],
)  # fmt: skip
def test_what_the_receiver_says_decides(
    endpoint: Endpoint, status: int, headers: dict[str, str], wanted: type[Exception], retry_after_ms: int | None
) -> None:
    endpoint.status, endpoint.headers = status, headers
    with pytest.raises(wanted) as raised:
        channel(endpoint).send(LEAD)
    assert len(endpoint.got) == 1  # a redirect is not followed
    assert getattr(raised.value, "retry_after_ms", None) == retry_after_ms


def test_nobody_waits_for_an_answer_for_ever(endpoint: Endpoint) -> None:
    endpoint.status = 0
    with pytest.raises(Unreachable):
        channel(endpoint, timeout_s=0.2).send(LEAD)


def test_a_private_address_is_refused_unless_the_site_says_so(endpoint: Endpoint) -> None:
    with pytest.raises(Refused, match="private address"):
        channel(endpoint, private=False).send(LEAD)
    assert not endpoint.got


def test_nobody_there_is_later(endpoint: Endpoint) -> None:
    nobody = WebhookChannel(Webhook("hook", "http://127.0.0.1:9/", (Secret("env:NEW", NEW),), private=True), SystemClock())
    with pytest.raises(Unreachable):
        nobody.send(LEAD)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{url: 'ftp://x', secrets: env:HOOK}", "no URL"),
        ("{url: 'https://user:pw@x/', secrets: env:HOOK}", "no URL"),
        ("{url: 'http://x/', secrets: env:HOOK}", "without encryption"),
        ("{url: 'https://x/', secrets: s3cret}", "no reference to a secret"),
        ("{url: 'https://x/'}", "has no secrets"),
        ("{url: 'https://x/', secrets: env:HOOK, envelope: soap}", "envelope"),
    ],
)
def test_a_wrong_section_names_its_line(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    monkeypatch.setenv("HOOK", NEW)
    with pytest.raises(DefinitionError, match=message) as raised:
        site_of(parse(f"webhooks:\n  sales: {text}\n", "site.yaml"), Path())
    assert "site.yaml:2" in str(raised.value) and "s3cret" not in str(raised.value)
