"""A host application in which everything a person gave carries a canary, and everything the product says is searched for it.

Runs in a process of its own, with logging at DEBUG on the standard error. Writes what it found as JSON into the file named
last. A canary names what it was: `subject`, `property`, `url`, `key`, ...
"""

from __future__ import annotations

import json
import logging
import random
import re
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reflexarc import Client
from reflexarc.testing import TableScorer
from reflexarc_build.reader import build_text
from reflexarc_edge.capture import CAPTURE_KIND, Capture, encode_capture
from reflexarc_edge.owners import CaptureJournal
from tests.promises import kit

TRIGGERS = """
  number:
    condition: int(event.title) > 3
    on: [page_view]
    action: offer
  twice:
    condition: event.title.substring(5, 1) == "x" || event.category.charAt(900) == "y"
    on: [page_view]
    action: offer
  pattern:
    condition: event.title.matches(event.category)
    on: [page_view]
    action: offer
  intent:
    condition: purchase_intent_score > 0.8
    escalate: never
    action: offer
actions:"""

CANARY = re.compile(r"canary[0-9a-f]{8,16}")


class Search:
    """What was said, and by which scenario."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._made: dict[str, str] = {}
        self.scenario = ""
        self.found: dict[str, str] = {}
        self.looked = 0
        self.errors: list[Exception] = []

    def canary(self, what: str, tail: str = "") -> str:
        """A text nobody else writes."""
        made = f"canary{self._draw.getrandbits(64):016x}"
        self._made[made] = what
        return made + tail

    def look(self, where: str, said: object) -> bool:
        """Search one thing the product said; also for a canary that was cut off. Whether one was found."""
        self.looked += 1
        text = said if isinstance(said, str) else repr(said)
        if not CANARY.search(text):
            return False
        shown = CANARY.sub(lambda m: f"<{self._what(m[0])}>", text).removeprefix("invalid_event: ")
        self.found.setdefault(shown[:300], f"{where}, {self.scenario}")
        return True

    def _what(self, text: str) -> str:
        return next((what for made, what in self._made.items() if made.startswith(text)), "the host's model")

    def look_at_error(self, where: str, error: BaseException) -> None:
        """Its text, its repr, and what a log would print of it and of what it came from."""
        name = type(error).__name__
        said = (str(error), repr(error), str(getattr(error, "hint", "")), "".join(traceback.format_exception(error)))
        any(self.look(f"{where} {name}", text) for text in said)

    def on_error(self, error: Exception) -> None:
        self.errors.append(error)

    def after(self, client: Client | None) -> None:
        """Search everything that can be asked for."""
        for error in list(self.errors):
            self.look_at_error("on_error", error)
        self.errors.clear()
        if client is not None:
            self.look("stats()", json.dumps(client.stats(), ensure_ascii=False))
            self.look("repr(client)", repr(client))

    def attempt(self, name: str, client: Client | None, act: Callable[[], object]) -> None:
        """One scenario: what it returned, what it raised, what was told on the side."""
        self.scenario = name
        try:
            given = act()
        except Exception as error:
            self.look_at_error("raised", error)
        else:
            if not self.look("reason", str(getattr(given, "reason", ""))):
                self.look("repr(result)", repr(given))
        self.after(client)


def main(folder: Path, seed: int, out: Path) -> None:
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    search = Search(seed)
    threading.excepthook = lambda args: search.look_at_error("thread", args.exc_value) if args.exc_value else None
    catalog = build_text(kit.YAML.replace("\nactions:", TRIGGERS))
    scorer = TableScorer({"purchase_intent": (("page_views",), _refusing)}, {"purchase_intent": (0.8,)})
    c = search.canary
    client = Client(
        folder, catalog=catalog, on_error=search.on_error, scorer=scorer, models=scorer.live_models, config=kit.config(),
        server="127.0.0.1:9", insecure=True,
    )  # fmt: skip
    client.on("offer", lambda decision: None)
    for name, act in _calls(client, c).items():
        search.attempt(name, client, act)
    client.settle(5)
    client.log.drain()
    connection = sqlite3.connect(folder / "store.db", timeout=10)
    connection.execute("UPDATE log SET crc = crc + 1 WHERE seq % 5 = 1")
    connection.execute("UPDATE log SET body = substr(body, 1, length(body) - 9), crc = 0 WHERE seq % 5 = 2")
    connection.commit()
    connection.close()
    search.attempt("rows that rotted", client, lambda: [type(record).__name__ for _, record in client.log.records(0)])
    search.attempt("sync", client, lambda: client.flush(0.5))
    search.attempt("forget", client, lambda: client.forget(f"known:{c('subject')}"))
    search.attempt("close", None, client.close)
    search.attempt("a closed client", None, lambda: client.track("content_view", {"content_id": c("property")}))
    _strangers(folder, c)
    with (folder / "journal").open("r+b") as file:
        file.seek(30_000)
        file.write(c("journal").encode() * 20)
    for name, key in (("a key for an open store", c("key")[:32]), ("a short key", c("key")[:20])):
        search.attempt(name, None, lambda key=key: Client(folder, key=key.encode()))  # type: ignore[misc]
    with Client(folder, catalog=catalog, on_error=search.on_error) as again:
        search.attempt("captures of another process", again, lambda: again.track("content_view", {"content_id": c("property")}))
        search.attempt("a second client", None, lambda: Client(folder, share=False))
        sealed = folder.with_name("sealed")
        Client(sealed, key=b"k" * 32).close()
        search.attempt("another key", None, lambda: Client(sealed, key=c("key", "0123456789")[:32].encode()))
    out.write_text(
        json.dumps({"found": search.found, "looked": search.looked, "canaries": len(search._made), "made": search._made})
    )


def _refusing(vector: Any) -> tuple[float, float]:
    raise ValueError(f"a host's own model, given {'canary' + '0' * 16}")


def _calls(client: Client, c: Callable[..., str]) -> dict[str, Callable[[], object]]:
    """Calls that fail and calls that work, by name."""
    track = client.track
    subject = f"known:{c('subject')}"
    return {
        "a working event": lambda: track("content_view", {"content_id": c("property")}, subject=subject),
        "a working page": lambda: client.page(f"/act/{c('url')}", title=c("property"), referrer=f"https://{c('url')}/"),
        "a page that lives": lambda: client.page(f"/lives/{c('url')}", title=c("property"), category="("),
        "an id of the caller's": lambda: track("page_view", {"page_url": c("url")}, event_id=c("id"), subject=subject),
        "an inert id of the caller's": lambda: track("content_view", {"content_id": c("property")}, event_id=c("id")),
        "a number that is none": lambda: track("page_view", {"page_url": "/", "time_on_page": c("property")}),
        "a text that is none": lambda: track("page_view", {"page_url": [c("property")]}),
        "a text too long": lambda: track("page_view", {"page_url": c("property", "x" * 9_000)}),
        "no Unicode": lambda: track("page_view", {"page_url": c("property", "\ud800")}),
        "a value outside its set": lambda: track("form_submit", {"form_id": "f", "form_type": c("property")}),
        "a bool that is none": lambda: track("email_open", {"message_id": "m", "machine": c("property")}),
        "an int that is none": lambda: track("purchase", {"item_count": c("property")}),
        "a nested value": lambda: track("page_view", {"page_url": {c("property name"): c("property")}}),
        "an undeclared property": lambda: track("page_view", {"page_url": "/", c("property name"): c("property")}),
        "an undeclared type": lambda: track("no_such_type", {"page_url": c("url")}),
        "properties that are a text": lambda: track("page_view", c("property")),  # type: ignore[arg-type]
        "a property name that is no text": lambda: track("page_view", {(c("property name"),): 1}),  # type: ignore[dict-item]
        "a subject without a kind": lambda: track("page_view", {"page_url": "/"}, subject=c("subject")),
        "a subject of no kind": lambda: track("page_view", {"page_url": "/"}, subject=f"nobody:{c('subject')}"),
        "a subject too long": lambda: track("page_view", {"page_url": "/"}, subject=f"known:{c('subject', 'x' * 600)}"),
        "a subject that is no text": lambda: track("page_view", {"page_url": "/"}, subject=[c("subject")]),  # type: ignore[arg-type]
        "an id too long": lambda: track("page_view", {"page_url": "/"}, event_id=c("id", "x" * 600)),
        "an id that is no text": lambda: track("page_view", {"page_url": "/"}, event_id=[c("id")]),  # type: ignore[arg-type]
        "a time that is none": lambda: track("page_view", {"page_url": "/"}, event_time=c("time")),  # type: ignore[arg-type]
        "a position that is none": lambda: track("page_view", {"page_url": "/"}, position=c("position")),  # type: ignore[arg-type]
        "a durability that is none": lambda: track("page_view", {"page_url": "/"}, durability="for ever"),
        "a priority that is none": lambda: track("page_view", {"page_url": "/"}, priority=7),
        "identify": lambda: client.identify(c("subject")),
        "identify too long": lambda: client.identify(c("subject", "x" * 9_000)),
        "consent": lambda: client.consent(c("purpose"), True),
        "consent that is none": lambda: client.consent(c("purpose"), c("property")),  # type: ignore[arg-type]
        "outcome of no decision": lambda: client.outcome(c("decision id"), "click"),
        "outcome of no kind": lambda: client.outcome(c("decision id"), c("property")),
        "explain of no decision": lambda: client.explain(decision_id=c("decision id")),
        "forget nobody": lambda: client.forget(c("subject")),
        "forget of no kind": lambda: client.forget(f"nobody:{c('subject')}"),
        "reset": client.reset,
        "due": client.run_due,
    }


def _strangers(folder: Path, c: Callable[..., str]) -> None:
    """Another process left captures: of a type nobody declared, with a property that is none, of bytes that say nothing."""
    journal = CaptureJournal(folder)
    for event_type, properties in (
        ("no_such_type", {"page_url": c("url")}),
        ("page_view", {"page_url": 7, "title": c("property")}),
    ):
        capture = Capture(event_type, f"known:{c('subject')}", c("id"), 1, -1, False, False, 1, -1, properties)
        journal.append(CAPTURE_KIND, encode_capture(capture))
    outside = {"form_id": "f", "form_type": c("property")}
    capture = Capture("form_submit", f"known:{c('subject')}", "", 1, -1, False, False, 1, -1, outside)
    journal.append(CAPTURE_KIND, encode_capture(capture))
    journal.append(CAPTURE_KIND, c("capture").encode())
    journal.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
