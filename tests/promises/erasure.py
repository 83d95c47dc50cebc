"""Promise 26: after `forget()` no byte of a person is left in any file of the store, and everybody else's records are."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import quote

from reflexarc import Client
from reflexarc.testing import ManualClock, TableScorer
from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.record import LossOutput, Record, ScoresInput, TickInput
from tests.conftest import ROOT
from tests.promises import kit
from tests.promises.corrupt import meaning
from tests.promises.outcome import Outcome

DAY = 86_400_000
START = 1_700_000_000_000
LEAVING = """
  leaving:
    condition: predicted_churn_risk > 0.7
    escalate: never
    action: offer
actions:"""
OTHERS = 12
CAPTURER = """
import sys
from pathlib import Path
from reflexarc import Client
from reflexarc_core.catalog import Catalog
folder, catalog, subject, marker, count = sys.argv[1:]
client = Client(folder, catalog=Catalog.from_bytes(Path(catalog).read_bytes()))
assert client.engine == "elsewhere", client.engine
for number in range(int(count)):
    who = subject if number % 2 else f"known:other-{number % 5}"
    text = marker if number % 2 else "nothing"
    assert client.track("content_view", {"content_id": text, "category": text}, subject=who).accepted
print("captured", flush=True)
sys.stdin.read()
"""


@cache
def catalog() -> Catalog:
    return build_text(kit.YAML.replace("\nactions:", LEAVING))


def run(count: int, seed: int) -> Outcome:
    """count stores in which somebody is forgotten, each with traces of that person in another choice of places."""
    outcome = Outcome(count)
    for case in range(count):
        with kit.scratch("erase") as place:
            _one_store(place, seed * 100_000 + case, outcome)
    return outcome


class Traces:
    """What a person is known by here, and what a disk may hold of it: SQLite cuts a long value at the end of a page, so
    every half is looked for as well, in each encoding that something on the way might have used."""

    def __init__(self, draw: random.Random) -> None:
        self.marker = f"zz{draw.getrandbits(64):016x}\u00fc{draw.getrandbits(64):016x}zz"
        self.subject = f"known:{self.marker}"
        halves = [self.marker[:16], self.marker[-16:]]
        self.needles = {form: name for half in [*halves, self.marker] for name, form in self._forms(half)}

    @staticmethod
    def _forms(text: str) -> Iterator[tuple[str, bytes]]:
        yield "UTF-8", text.encode()
        yield "UTF-16 LE", text.encode("utf-16-le")
        yield "UTF-16 BE", text.encode("utf-16-be")
        yield "percent", quote(text).encode()
        yield "JSON", text.encode("ascii", "backslashreplace")

    def hits(self, folder: Path) -> list[str]:
        """file: how it is written there, how often; every file below the folder, and their names."""
        found = []
        for place, _, names in os.walk(folder):
            for name in names:
                path = Path(place) / name
                content = path.read_bytes() + name.encode()
                how = {form for needle, form in self.needles.items() if needle in content}
                if how:
                    at = min(content.find(needle) for needle in self.needles if needle in content)
                    found.append(f"{path.relative_to(folder)} ({', '.join(sorted(how))}, at {at})")
        return found


def _open(folder: Path, clock: ManualClock) -> Client:
    scorer = TableScorer({"churn": (("engagement_score", "usage_frequency"), lambda vector: (0.9, 0.99))}, {"churn": (0.7,)})
    config = kit.config(store_bytes_max=8 * kit.MIB)
    return Client(folder, catalog=catalog(), clock=clock, scorer=scorer, models=scorer.live_models, config=config)


def _one_store(place: Path, seed: int, outcome: Outcome) -> None:
    draw = random.Random(seed)
    traces = Traces(draw)
    folder = place / "store"
    clock = ManualClock(START)
    does = {name: draw.random() < 0.5 for name in ("restart", "damage", "identify", "elsewhere", "current", "ended", "many")}
    where = f"seed {seed} ({', '.join(name for name, done in does.items() if done)})"
    client = _open(folder, clock)
    other = None
    try:
        _live(client, clock, draw, traces, does)
        if does["restart"]:
            client.close()
            if does["damage"]:
                _rot_journal(folder)
            client = _open(folder, clock)
            _live(client, clock, draw, traces, does)
        outcome.check(bool(traces.hits(folder)), f"{where}: there was nothing to erase: the test is of no use")
        before = dict(client.log.records(0))
        if does["elsewhere"]:
            other = _capture_elsewhere(place, traces, 1_400 if does["many"] else 60, ended=does["ended"])
        for serial in range(3):
            _event(client, draw, traces, 9_000 + serial)
        client.forget(traces.subject)
        _check(client, folder, traces, before, f"{where}, at once", outcome)
        _end(other)  # before the owner ends: it would take over
        client.close()
        outcome.check(not traces.hits(folder), f"{where}, closed: {traces.hits(folder)}")
        client = _open(folder, clock)
        _check(client, folder, traces, before, f"{where}, restarted", outcome)
    finally:
        client.close()
        _end(other)


def _end(other: subprocess.Popen[str] | None) -> None:
    if other is not None and other.stdin is not None:
        other.stdin.close()
        other.wait(20)


def _event(client: Client, draw: random.Random, traces: Traces, serial: int) -> None:
    """One of the person's: the marker is in the subject, the properties, the address and the id."""
    marker = traces.marker
    kind = draw.randrange(4)
    if kind == 0:
        client.track("content_view", {"content_id": marker, "category": marker * 100}, subject=traces.subject)
    elif kind == 1:
        url = draw.choice(("/act/", "/lives/", "/x/")) + quote(marker)
        client.track("page_view", {"page_url": url, "title": marker}, subject=traces.subject, event_id=f"id-{marker}-{serial}")
    elif kind == 2:
        client.track("page_view", {"page_url": f"/act/{marker}", "referrer": f"https://x/{marker}"}, subject=traces.subject)
    else:
        client.track("content_view", {"content_id": marker}, subject=traces.subject, durability="memory")


def _live(client: Client, clock: ManualClock, draw: random.Random, traces: Traces, does: dict[str, bool]) -> None:
    """Days in which the person and others come, with decisions, ticks, snapshots and rows that rot."""
    if does["identify"]:
        client.identify(traces.marker)
        client.page(f"/act/{traces.marker}")
        if not does["current"]:
            client.reset()
    for day in range(3):
        for serial in range(40):
            if serial % 3 == 0:
                _event(client, draw, traces, day * 1_000 + serial)
            else:
                kit.track(
                    client,
                    draw,
                    day * 1_000 + serial,
                    subject=f"known:other-{draw.randrange(OTHERS)}",
                    size=draw.choice((0, 800)),
                )
        if draw.random() < 0.5:
            client.runtime.keep_snapshot(force=True)
        if draw.random() < 0.3:
            client.log.drain()
            client.log.spool.store.checkpoint(force=True)
        clock.advance(DAY)
        client.run_due()
    if does["damage"]:
        client.log.drain()
        connection = sqlite3.connect(client.log.folder / "store.db", timeout=10)
        connection.execute("PRAGMA secure_delete=ON")  # else this connection itself would leave copies behind
        connection.execute("UPDATE log SET crc = crc + 1 WHERE seq % 17 = 5")
        connection.commit()
        connection.close()


def _rot_journal(folder: Path) -> None:
    """Leave something in the journal that is no frame: it is set aside at the next start."""
    with (folder / "journal").open("r+b") as file:
        file.seek(20_000)
        file.write(b"rot" * 50)


def _capture_elsewhere(place: Path, traces: Traces, count: int, *, ended: bool) -> subprocess.Popen[str]:
    """Another process that captures of the person, too; it has ended, or goes on living."""
    (place / "catalog.json").write_bytes(catalog().to_bytes())
    command = [
        sys.executable,
        "-c",
        CAPTURER,
        str(place / "store"),
        str(place / "catalog.json"),
        traces.subject,
        traces.marker,
        str(count),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "captured\n"
    process.stdout.close()
    if ended:
        process.stdin.close()
        process.wait(20)
    return process


def _check(client: Client, folder: Path, traces: Traces, before: dict[int, Record], where: str, outcome: Outcome) -> None:
    hits = traces.hits(folder)
    outcome.check(not hits, f"{where}: {hits}")
    outcome.check(traces.subject not in client.runtime.engine.state.subjects, f"{where}: the engine knows the person")
    held = dict(client.log.records(0))
    outcome.add("records", len(held))
    for seq, record in before.items():
        now = held.get(seq)
        if not _is_of(record, traces):
            same = now is not None and meaning(now) == meaning(record)
            outcome.lost += not same
            outcome.check(same, f"{where}: {seq}, a record of somebody else's, became {type(now).__name__}")
        elif isinstance(record, ScoresInput) and len(record.scores) > 1:
            left = {subject for subject, _ in record.scores} - {traces.subject}
            kept = {subject for subject, _ in now.scores} if isinstance(now, ScoresInput) else set()
            outcome.check(kept == left, f"{where}: of the scores of {len(left)} others {len(kept)} are left")
            outcome.add("batches of scores")
        else:
            outcome.check(isinstance(now, LossOutput) and now.reason == "erased", f"{where}: {seq} became {type(now).__name__}")
            outcome.add("erased")
    outcome.add("ticks", sum(isinstance(record, TickInput) for record in held.values()))
    connection = sqlite3.connect(folder / "store.db", timeout=10)
    tombstones = connection.execute("SELECT subject_digest, erase_time FROM erased").fetchall()
    dead = connection.execute("SELECT count(*) FROM dead").fetchone()[0]
    connection.close()
    plain = [
        row for row in tombstones if not (len(row[0]) == 64 and set(row[0]) <= set("0123456789abcdef") and type(row[1]) is int)
    ]
    outcome.check(len(tombstones) == 1 and not plain, f"{where}: the tombstones are {tombstones}")
    outcome.check(dead == 0, f"{where}: {dead} dead letters are left")


def _is_of(record: Record, traces: Traces) -> bool:
    """Whether anything of the person is in a record."""
    return traces.marker in repr(record) or quote(traces.marker) in repr(record)
