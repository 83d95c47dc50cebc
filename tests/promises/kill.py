"""Promise 1: a killed process loses nothing it acknowledged and doubles nothing, whatever it was in the middle of."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from reflexarc_core.record import DecisionOutput, EventInput, LossOutput
from tests.conftest import ROOT
from tests.promises import kit
from tests.promises.kill_child import HOOKS, REPAIR_HOOKS, ROOM_BYTES, ROOM_HOOKS, ROOMY_BYTES
from tests.promises.outcome import Outcome

KILLS_PER_STORE = 8
KINDS = ("plain", "plain", "plain", "plain", "room", "repair")
HOOKS_OF = {"plain": HOOKS, "room": ROOM_HOOKS, "repair": REPAIR_HOOKS}


class Host:
    """The process that forks the children."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.promises.kill_host"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def live(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the host ended with {self._process.wait(5)} at {order}"
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(20)


def run(count: int, seed: int) -> Outcome:
    """count kills over stores of KILLS_PER_STORE lives each; every third by a hook."""
    outcome = Outcome(0)
    host = Host()
    try:
        kills = store = 0
        while kills < count:
            store_seed = seed * 100_000 + store
            with kit.scratch("kill") as place:
                kills += _one_store(
                    host, place, KINDS[store % len(KINDS)], store_seed, min(KILLS_PER_STORE, count - kills), outcome
                )
            store += 1
            if len(outcome.wrong) > 20:
                break
        outcome.runs = kills
        outcome.details["stores"] = store
    finally:
        host.close()
    return outcome


def _one_store(host: Host, place: Path, kind: str, seed: int, kills_wanted: int, outcome: Outcome) -> int:
    draw = random.Random(seed)
    (place / "catalog.json").write_bytes(kit.catalog().to_bytes())
    kills = lives = 0
    hooks_of = HOOKS_OF[kind]
    turns = itertools.cycle(draw.sample(sorted(hooks_of), len(hooks_of)))
    while kills < kills_wanted and lives < 4 * kills_wanted:
        hooked = draw.random() < 0.5 or (kind == "repair" and lives > 0)
        hook = next(turns) if hooked and (kind != "repair" or lives) else ""
        order = {
            "place": str(place), "kind": kind, "seed": seed * 100 + lives, "serial": lives * 10_000,
            "threads": 2 if kind == "plain" and draw.random() < 0.3 else 1,
            "hook": hook, "nth": draw.randint(1, hooks_of[hook][0]) if hook else 0,
            "spoil": kind == "repair" and lives > 0,
            "wait_ms": 20_000 if hook else draw.randint(10, 150),
        }  # fmt: skip
        answer = host.live(order)
        if answer["failed"]:
            outcome.wrong.append(f"seed {seed} life {lives} hook {hook!r}: {answer['failed'].strip()[-800:]}")
            return max(kills, 1)
        kills += answer["killed"]
        lives += 1
        if hook and answer["by_itself"]:
            outcome.add(f"in {hook}")
    _verify(place, kind, f"store seed {seed} ({kind})", outcome)
    return max(kills, 1)


def _verify(place: Path, kind: str, where: str, outcome: Outcome) -> None:
    """Every acknowledged event is in the log or at the server, once; every event that fires has its decision, once."""
    numbers: dict[str, set[int]] = defaultdict(set)
    serials: dict[str, set[str]] = defaultdict(set)
    decisions: dict[str, set[int]] = defaultdict(set)
    causes: set[str] = set()
    must_fire: set[str] = set()
    page_views = 0
    for name, what, number, cause in _server_lines(place):
        if name == "E":
            numbers[what].add(number)
        else:
            decisions[what].add(number)
            causes.add(cause)
    explained: dict[int, str] = {}
    bounds = ROOM_BYTES if kind == "room" else ROOMY_BYTES
    with kit.open_client(place / "store", store_bytes_max=bounds, history_rows=300) as client:
        given_up = client.stats()["given_up"]
        for seq, record in client.log.records(0):
            if isinstance(record, EventInput):
                numbers[record.event.event_id].add(seq)
                serials[str(kit.serial_of(record))].add(record.event.event_id)
                if str(record.event.properties.get("page_url", "")).startswith(("/act", "/lives")):
                    must_fire.add(record.event.event_id)
            elif isinstance(record, DecisionOutput) and record.decision.record == 0:
                decisions[record.decision.decision_id].add(seq)
                causes.add(record.decision.cause_id)
            elif isinstance(record, LossOutput):
                explained.update(dict.fromkeys(range(record.first_seq, record.last_seq + 1), record.reason))
        features = client.runtime.engine.feature_values("known:1", client.moment().now)
        page_views = int(features.get("page_views", 0)) + int(features.get("content_views", 0))
    acknowledged = _ledger(place)
    for event_id, seq in acknowledged.items():
        if event_id in numbers:
            continue
        if kind == "room" and explained.get(seq) == "evicted":
            outcome.add("evicted")
            continue
        outcome.lost += 1
        outcome.wrong.append(f"{where}: {event_id} was acknowledged as {seq} and is gone ({explained.get(seq)}, {given_up})")
    twice = [event_id for event_id, held in numbers.items() if len(held) > 1]
    twice += [serial for serial, held in serials.items() if len(held) > 1]
    twice += [decision_id for decision_id, held in decisions.items() if len(held) > 1]
    twice += _handed_twice(place)
    outcome.duplicated += len(twice)
    outcome.wrong += [f"{where}: {name} is there twice" for name in twice]
    outcome.check(must_fire <= causes, f"{where}: {len(must_fire - causes)} events fired nothing")
    torn = sorted(n for n, reason in explained.items() if not (kind == "room" and reason == "evicted"))
    outcome.check(not torn, f"{where}: numbers {torn[:5]} are losses ({given_up})")
    if kind != "room":
        # Every event was folded exactly once: the counts of the state are the counts of the log.
        outcome.check(page_views == len(numbers), f"{where}: the state counts {page_views} of {len(numbers)} events")
    outcome.add("acknowledged", len(acknowledged))


def _ledger(place: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in (place / "ledger").read_text().splitlines():
        parts = line.split()
        if len(parts) == 4 and parts[0] == "A":
            found[parts[1]] = int(parts[3])
    return found


def _handed_twice(place: Path) -> list[str]:
    handed = [line.split()[1] for line in (place / "ledger").read_text().splitlines() if line.startswith("H ")]
    return [decision_id for decision_id in set(handed) if handed.count(decision_id) > 1]


def _server_lines(place: Path) -> list[tuple[str, str, int, str]]:
    if not (place / "server").exists():
        return []
    found = []
    for line in (place / "server").read_text().splitlines():
        parts = line.split()
        if len(parts) == 4 and parts[0] == "E":
            found.append(("E", parts[1], int(parts[3]), ""))
        elif len(parts) == 5 and parts[0] == "D" and parts[2] == "0":
            found.append(("D", parts[1], int(parts[3]), parts[4]))
    return found
