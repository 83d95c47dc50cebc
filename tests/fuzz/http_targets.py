"""The HTTP intake, fuzzed: whatever bytes come as a body, one answer of the documented kinds goes out, a verdict an event in it.

The application is called as uvicorn calls it, in a loop of its own, on a real store.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

NAMES: Final = ("http /e", "http /v1/batch", "http /v1/track")
STATUSES: Final = frozenset((200, 400, 401, 403, 413, 415, 429))
TIMEOUT_S: Final = 10.0


def opened(stack: ExitStack, folder: Path, name: str, broken: type[Exception]) -> Any:
    """The target of a name. broken: raised when something happens that may not."""
    from reflexarc_server.collect.rooms import front_of
    from reflexarc_server.collect.usual_body import load
    from tests.collect.kit import site, started

    load()  # what is compiled is fuzzed too, and takes its memory before that is looked at

    server = started(folder / "server")
    stack.callback(server.stop)
    front = front_of(server.parts, site())
    stack.callback(front.close)
    loop = asyncio.new_event_loop()
    stack.callback(loop.close)
    path = name.partition(" ")[2]

    def target(content: bytes) -> None:
        said: list[Any] = []
        head = [(b"authorization", b"Basic d2tfYmFjazo=")] if path != "/e" else []
        # The first byte chooses how it comes: in one piece or two, packed or not.
        way, body = (content[0], content[1:]) if content else (0, b"")
        if way & 1:
            head.append((b"content-encoding", b"gzip"))
        parts = [body[: len(body) // 2], body[len(body) // 2 :]] if way & 2 else [body]
        if way & 4:
            head.append((b"origin", body[:40]))
        messages = [
            {"type": "http.request", "body": part, "more_body": place + 1 < len(parts)} for place, part in enumerate(parts)
        ]
        scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"verdicts=1", "headers": head,
            "client": ("127.0.0.1", 1),
        }  # fmt: skip

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            said.append(message)

        async def called() -> None:
            await asyncio.wait_for(front(scope, receive, send), TIMEOUT_S)

        try:
            loop.run_until_complete(called())
        except Exception as error:
            raise broken(f"{name} raises {type(error).__name__}: {error}") from error
        if [message["type"] for message in said] != ["http.response.start", "http.response.body"]:
            raise broken(f"{name} sends {len(said)} messages")
        if said[0]["status"] not in STATUSES:
            raise broken(f"{name} answers {said[0]['status']}")
        answer = json.loads(said[1]["body"])
        if said[0]["status"] == 200:
            _check(answer, body, way, broken)

    return target


def _check(answer: Any, body: bytes, way: int, broken: type[Exception]) -> None:
    """As many verdicts as there are events, as the standard library reads the body; of a field that nobody asked for the intake
    does not look at what is in its texts."""
    if way & 1:
        return
    batch = json.loads(body.decode(errors="replace"), strict=False).get("batch")
    if isinstance(batch, list) and "decisions" in answer and len(answer["verdicts"]) != len(batch):
        raise broken(f"{len(batch)} events and {len(answer['verdicts'])} verdicts")
    if any(one[1] not in ("stored", "duplicate", "rejected") for one in answer.get("verdicts", ())):
        raise broken("a verdict that is none")


def seeds(name: str) -> list[bytes]:
    """Bodies that mean something."""
    view = {
        "id": "1",
        "type": "page_view",
        "time": 1,
        "properties": {"page_url": "/", "time_on_page": 2},
        "context": {"locale": "x"},
    }
    page = {"key": "wk_shop", "anonymous_id": "a", "known_id": "k", "sent": 5, "batch": [view, {"id": "2"}, 5], "handed": ["d"]}
    call = {
        "type": "track",
        "event": "Order Completed",
        "userId": "u",
        "messageId": "m",
        "timestamp": "2024-01-01T00:00:00Z",
        "properties": {"total": 1, "products": [{"quantity": 2}]},
        "context": {"page": {"url": "/"}, "screen": {"width": 1}},
    }
    batch = {"batch": [call, {"type": "identify", "userId": 1, "anonymousId": "a"}, None], "sentAt": "2024-01-01T00:00:01Z"}
    body = {"http /e": page, "http /v1/batch": batch, "http /v1/track": call}[name]
    text = json.dumps(body).encode()
    hostile = (b"\\ud800", b"NaN", b"1e999", b"9" * 400, b"[" * 900)
    return [b"", b"\x00" + text, b"\x02" + text, b"\x04" + text, *(b"\x00" + text.replace(b"2", bad, 1) for bad in hostile)]
