"""A backend service: events from a help desk, a trigger that the server decides, results against the holdout.

    python examples/backend_service.py [FOLDER]

Starts a server of its own on a free port, with its data in FOLDER (a temporary one without), tracks events and reads
what came of them. Needs the extra [server].
"""

import sys
import tempfile
import time
import uuid
from pathlib import Path

from reflexarc.backend import Backend
from reflexarc_build.reader import build_text
from reflexarc_core.event import Event, Value
from reflexarc_server.app import start_server

CATALOG = """
include: standard
version: "1"
triggers:
  call_back:
    description: Somebody asked for help twice within 90 days, and it is urgent now.
    placement: server
    condition: event.severity == "high" && features.support_tickets > 1.0
    on: [support_ticket]
    cooldown: 7d
    holdout: 0.2
    goal: {events: [purchase], within: 14d}
    action: phone
actions:
  phone: {channel: webhook, payload: {topic: "${event.topic}"}}
"""
CUSTOMERS = 200


def event(customer: int, event_type: str, **properties: Value) -> Event:
    return Event(uuid.uuid4().hex, event_type, f"known:{customer}", time.time_ns() // 1_000_000, properties)


def send(backend: Backend, events: list[Event]) -> dict[str, int]:
    """Verdicts counted. An event sent again under the same id is a duplicate, never a second one."""
    counts: dict[str, int] = {}
    for verdict, _ in backend.track(events):
        counts[verdict] = counts.get(verdict, 0) + 1
    return counts


def wait_until_folded(backend: Backend) -> None:
    """The server answers once an event is stored, and decides a moment later."""
    deadline = time.monotonic() + 10.0
    while backend.status()["fold_lag"]:
        if time.monotonic() > deadline:
            raise TimeoutError("the server is still busy")
        time.sleep(0.02)


def main(folder: str) -> None:
    server = start_server(Path(folder), "127.0.0.1:0", build_text(CATALOG), insecure=True)
    backend = Backend(server.address, insecure=True)
    try:
        first = [event(c, "support_ticket", severity="normal", topic="delivery") for c in range(CUSTOMERS)]
        again = [event(c, "support_ticket", severity="high", topic="delivery") for c in range(CUSTOMERS)]
        print(f"tickets: {send(backend, first + again)}")
        print(f"the same tickets once more: {send(backend, again)}")
        print(f"one that does not fit its type: {backend.track([event(1, 'support_ticket', severity='urgent')])[0]}")
        wait_until_folded(backend)
        send(backend, [event(c, "purchase", amount=20.0) for c in range(CUSTOMERS) if c % 3])

        found = backend.results()["triggers"]["call_back"]
        print(f"decided: {found['reasons']}")
        print(f"called back: {found['treated_goals']} of {found['treated']} bought")
        print(f"held out:    {found['held_out_goals']} of {found['held_out']} bought")
        print(f"lift: {found['lift']:+.2f}, 95 % interval {found['lift_low']:+.2f} to {found['lift_high']:+.2f}")
    finally:
        backend.close()
        server.stop()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory(prefix="backend-") as made:
            main(made)
