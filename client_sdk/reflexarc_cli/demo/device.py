"""One device of the demo: a process that owns a client and does what the driver says, line by line.

Reads commands as JSON lines on standard input, answers on standard output. It may be killed at any moment: started
again, it goes on behind the largest position its store kept.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from reflexarc import Client, Config
from reflexarc.testing import ManualClock
from reflexarc_cli.demo.recommended import Sequences
from reflexarc_cli.demo.stream import Item, Stream, open_stream
from reflexarc_core.decision import Decision, Reason
from reflexarc_core.errors import ReflexArcError, StorageError
from reflexarc_core.record import DecisionOutput, EventInput, ScoresInput

PROGRESS_EVERY = 2_000
LOOKS_AFTER_MS = 2_000


class Ledger:
    """What the client acknowledged, kept outside the client: one line per accepted event, in the page cache at once."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, event_id: str) -> None:
        os.write(self._file, event_id.encode() + b"\n")


class Device:
    """The driver's hand on one client."""

    def __init__(self, folder: Path, stream: Stream, server: str, catalog: Path, start_time: int) -> None:
        self.stream = stream
        self.ledger = Ledger(folder / "ledger.txt")
        self.clock = ManualClock(start_time)
        self.errors: list[str] = []
        self.client = Client(
            folder / "store",
            catalog=None if (folder / "store" / "store.db").exists() else catalog,
            server=server,
            insecure=True,
            clock=self.clock,
            config=Config(
                app_version="demo", device_class="simulated", locale="en-GB", offset_minutes=0,
                backoff_ms_min=50, backoff_ms_max=500, poll_ms=60_000, flush_interval_ms=200,
                history_rows=1_000_000,  # the page of results reads the whole log of every device
            ),
            on_error=self._on_error,
        )  # fmt: skip
        self.clock.set(self.client.runtime.engine_time)
        for trigger_id in self.client.catalog.triggers:
            self.client.on(trigger_id, self._acted)

    def history(self, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Capture the stream up to the cut with every trigger paused."""
        self.client.pause()
        self._capture(self.stream.history(self.client.position), tell, settle=False)
        return {"position": self.client.position}

    def update(self, until: int) -> dict[str, Any]:
        """At the cut (ms): take the published bundle, lift the pause, and have this device's subjects' values sent."""
        self.clock.set(until)
        updated = self.client.update(30.0)
        self.client.resume()
        self.client.flush(60.0)
        stats = self.client.stats()
        return {"updated": updated, "models": stats["models"], "catalog": stats["catalog"]}

    def day(self, index: int, until: int, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Replay one day, then run what is due at its end (ms)."""
        treated = self._treated(index)
        items = self.stream.day(index, treated, self.client.position)
        count = self._capture(items, tell, settle=True)
        self.clock.set(until)
        self.client.run_due()
        self.client.settle(30.0)
        return {"events": count, "online": self.client.moment().online}

    def notice(self, online: bool) -> dict[str, Any]:
        """Wait for what a person would call at once and a replayed day is too short for: that the server left."""
        return {"noticed": self.client.wait_online(online, 10.0)}

    def flush(self, timeout_s: float) -> dict[str, Any]:
        """Send everything; what is left when the time is over."""
        result = self.client.flush(timeout_s)
        return {"delivered": result.delivered, "remaining": result.remaining_count, "reason": result.reason}

    def summary(self) -> dict[str, Any]:
        """Counts over the device's own log, and the client's statistics."""
        events = scores = offline_scores = 0
        last: dict[str, Decision] = {}
        escalated: set[str] = set()
        sequences = Sequences()
        for _, record in self.client.log.records(0):
            if isinstance(record, EventInput):
                events += 1
            elif isinstance(record, ScoresInput):
                scores += len(record.scores)
                offline_scores += 0 if record.moment.online else len(record.scores)
            elif isinstance(record, DecisionOutput):
                last[record.decision.decision_id] = record.decision
                sequences.take(record.decision)
                if record.decision.reason is Reason.ESCALATED:
                    escalated.add(record.decision.decision_id)
        reasons: dict[str, int] = {}
        for decision in last.values():
            reasons[decision.reason] = reasons.get(decision.reason, 0) + 1
        stats = self.client.stats()
        return {
            "events": events, "scores": scores, "offline_scored": offline_scores, "decisions": reasons,
            "offline_decisions": sum(1 for decision in last.values() if not decision.online),
            "escalations": len(escalated), "stats": stats, "errors": self.errors[:5],
            "recommended": sequences.found.to_json(),
        }  # fmt: skip

    def close(self) -> dict[str, Any]:
        """Close the client."""
        self.client.close()
        return {}

    def _capture(self, items: Iterator[Item], tell: Callable[[dict[str, Any]], None], *, settle: bool) -> int:
        count = 0
        for item in items:
            self.clock.set(item.event_time)
            if settle:
                self.client.run_due()
            receipt = self.client.track(
                item.event_type, item.properties, subject=item.subject, event_time=item.event_time,
                event_id=item.event_id, position=item.position,
            )  # fmt: skip
            if not receipt.accepted:
                raise StorageError(f"an event was not accepted: {receipt.reason}", hint="is the disk full?")
            self.ledger.add(item.event_id)
            count += 1
            if settle and any(decision.reason is Reason.ESCALATED for decision in receipt.decisions):
                # Engine time stands still while a question is open: its deadline runs in real time.
                self.client.settle(5.0)
            if count % PROGRESS_EVERY == 0:
                tell({"progress": PROGRESS_EVERY})
        tell({"progress": count % PROGRESS_EVERY})
        return count

    def _acted(self, decision: Decision) -> None:
        for kind, after_ms in self.stream.reaction(decision):
            receipt = self.client.track(
                "outcome", {"decision_id": decision.decision_id, "kind": kind}, subject=decision.subject,
                event_time=decision.decision_time + after_ms,
            )  # fmt: skip
            if receipt.accepted:
                self.ledger.add(receipt.event_id)
            item = (decision.payload or {}).get("item")
            if kind == "click" and item:  # whoever clicks on a recommended item looks at it
                receipt = self.client.track(
                    "content_view", {"content_id": item}, subject=decision.subject,
                    event_time=decision.decision_time + after_ms + LOOKS_AFTER_MS,
                )  # fmt: skip
                if receipt.accepted:
                    self.ledger.add(receipt.event_id)

    def _treated(self, index: int) -> dict[str, dict[str, int]]:
        """Trigger -> subject -> when it was first acted on before this day; from the store, so a restart sees the same."""
        treated: dict[str, dict[str, int]] = {}
        if not self.stream.reacts:
            return treated
        start = self.stream.day_start(index)
        for decision in self.client.log.recent_decisions(100_000):
            if decision.reason is Reason.FIRED and decision.decision_time < start:
                treated.setdefault(decision.trigger_id, {})[decision.subject] = decision.decision_time
        return treated

    def _on_error(self, error: Exception) -> None:
        if len(self.errors) < 50:
            self.errors.append(f"{type(error).__name__}: {error}")


def main() -> None:
    """Serve commands until `close` or the end of input. What stops it is told on the line, not only on standard error."""
    try:
        serve()
    except ReflexArcError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else ""))


def fail(text: str) -> None:
    """Tell the driver why this device cannot go on, and end."""
    tell({"failed": text})
    raise SystemExit(1)


def tell(message: dict[str, Any]) -> None:
    """One line to the driver."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def serve() -> None:
    """Carry out one command after the other."""
    settings = json.loads(sys.argv[1])
    folder = Path(settings["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    stream = open_stream(settings["stream"])
    device = Device(folder, stream, settings["server"], Path(settings["catalog"]), settings["start_time"])

    tell({"ready": True, "position": device.client.position})
    for line in sys.stdin:
        command = json.loads(line)
        name = command.pop("do")
        if name in ("history", "day"):
            command["tell"] = tell
        tell({"done": name, **getattr(device, name)(**command)})
        if name == "close":
            return


if __name__ == "__main__":
    main()
