"""The checkers: what must hold at every moment, and what must hold once everything is healed.

Owns no state of the system, only what was seen of it. Every figure comes from the stores themselves or from what a host was
told, never from the code under test's own idea of how it is doing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision, Reason
from reflexarc_core.engine import Engine
from reflexarc_core.record import DecisionOutput, EventInput, LossOutput, Record
from reflexarc_core.replay import decisions
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_from_proto
from reflexarc_server.deliveries import NOT_FETCHED
from tests.simulation.catalogs import COOLDOWN_MS, catalogs
from tests.simulation.policy_checks import check_act, check_caps, check_timers
from tests.simulation.server import ANYBODY, Numbering, Row, state_of

if TYPE_CHECKING:
    from tests.simulation.device import SimulatedDevice
    from tests.simulation.world import World

EVENT, LOSS, DECISION = 1, 18, 16
SLACK_BYTES = 2**20


class Checks:
    """Looks at one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._handed: dict[str, set[str]] = {}
        """Decision -> installations that showed it."""
        self._looks: dict[str, tuple[int, int, int]] = {}
        """Device -> (engine time, monotonic time, how often the server had told it the time)."""

    # -- at every step --------------------------------------------------------------------------------------------

    def device(self, device: SimulatedDevice) -> None:
        """After a step of this device."""
        client = device.client
        if client is None:
            return
        self._clock(device)
        log = client.log
        check = self._world.check
        check(0 <= log.acked_seq <= log.last_seq, f"{device.name} has {log.last_seq} records and {log.acked_seq} acknowledged")
        ever = self._world.server.acknowledged.ever.get((log.installation, log.incarnation), 0)
        floor = int(log.meta("numbered_from", 0))
        check(
            log.acked_seq <= max(ever, floor),
            f"{device.name} believes {log.acked_seq} records are stored; the server never said more than {ever}",
        )

    def device_after_sync(self, device: SimulatedDevice) -> None:
        """After an exchange: nothing that the server may not hold has been deleted."""
        log = device.up.log
        self._unsent_is_held(device)
        if device.is_tight:
            self._world.check(
                log.stats()["bytes"] <= log.spool.bounds.bytes_max + SLACK_BYTES, f"{device.name} is too large: {log.stats()}"
            )

    def server_restarted(self) -> None:
        """What was acknowledged before a kill is there after it."""
        streams = self._world.server.streams()
        for key, upto in self._world.server.acknowledged.now.items():
            held = streams.get(key, 0)
            self._world.check(held >= upto, f"the server acknowledged {upto} of {_name(key)} and holds {held} after a restart")

    def fold(self) -> None:
        """The state that grew through kills and snapshots is the state of one fold from the beginning."""
        server = self._world.server
        self._world.check(server.fold.unfoldable_count == 0, f"{server.fold.unfoldable_count} records could not be folded")
        erased = self._world.forgotten
        anew, want = server.folded_anew(erased)
        self._world.check(server.state(erased) == anew, "the server's state is not the fold of its log")
        ours = [(row, _decision(row)) for row in server.rows() if row.kind == DECISION and row.installation == ""]
        # What no device came for ends without the fold.
        held = {row.record_id for row, one in ours if one.subject not in erased and one.detail != NOT_FETCHED}
        self._world.check(held == want, f"the server's decisions differ from its log's: {len(held)} held, {len(want)} wanted")

    def handed(self, device: SimulatedDevice, decision: Decision) -> None:
        """A decision of the server's reaches one device. One that was copied, or a server put back, may have told two."""
        if decision.placement != "server":
            return
        self._world.counts["server decisions shown"] += 1
        others = self._handed.setdefault(decision.decision_id, set())
        others.add(device.installation)
        if not self._world.server.was_restored and not any(one.was_forked for one in self._world.devices):
            self._world.check(
                len(others) == 1, f"{decision.decision_id} of {decision.trigger_id} was shown by {len(others)} devices"
            )

    # -- at the end -----------------------------------------------------------------------------------------------

    def everything(self) -> None:
        """After healing, with every late message delivered."""
        rows = self._world.server.rows()
        self._events(rows)
        self._numbering(rows)
        self._cooldowns(rows)
        self._policies(rows)
        self._counters(rows)
        self.fold()
        for device in self._world.devices:
            self._replay(device)

    def _events(self, rows: list[Row]) -> None:
        world = self._world
        held: Counter[str] = Counter()
        serials: Counter[int] = Counter()
        for row in rows:
            if row.kind == EVENT:
                held[row.record_id] += 1
                serial = _serial(row)
                if serial is not None:
                    serials[serial] += 1
        known = {one.serial for device in world.devices for one in device.accepted}
        known |= {serial for device in world.devices for serial in device.unsure} | world.backend
        for serial, count in serials.items():
            world.check(count == 1, f"event {serial} is at the server {count} times")
            is_plain = not world.server.was_restored and not any(device.was_forked or device.is_tight for device in world.devices)
            world.check(serial not in world.erased or not is_plain, f"event {serial} was erased and is at the server")
            world.check(serial in known, f"event {serial} was refused and is at the server all the same")
        losses = _losses(rows)
        for device in world.devices:
            for one in device.accepted:
                if held[one.event_id] or one.serial in device.rolled_back or one.subject in world.forgotten:
                    continue
                reasons = {
                    loss.reason
                    for loss in losses[device.installation]
                    if loss.first_seq <= one.last and one.first <= loss.last_seq and loss.reason != "renumbered"
                }
                world.counts["lost with a reason"] += 1
                allowed = world.reasons_allowed(device)
                if not one.incarnation:  # whose number nobody was told: of every loss one may be about it
                    reasons = reasons & allowed or reasons
                world.check(
                    bool(reasons) and reasons <= allowed,
                    f"event {one.serial} of {device.name}, acknowledged as {one.first}..{one.last} of {one.incarnation[:6]}, is"
                    f" not at the server ({', '.join(reasons) or 'no loss says why'})",
                )
        for serial, event in world.server.tracked.items():
            if event.subject in world.forgotten:
                continue
            world.check(serials[serial] == 1, f"event {serial} of the backend is at the server {serials[serial]} times")
        world.counts["events"] += sum(held.values())

    def _numbering(self, rows: list[Row]) -> None:
        """Every number up to a cursor is a record, or in a loss, or the server had that record already, or erased it."""
        world = self._world
        numbers: dict[Numbering, set[int]] = defaultdict(set)
        once: dict[Numbering, set[int]] = defaultdict(set)
        upto = world.server.streams()
        # Of two copies each may send its own important event ahead of its turn, under the same number.
        forked = {device.installation for device in world.devices if device.was_forked}
        ids = {(row.kind, row.record_id) for row in rows if row.record_id}
        for row in rows:
            if row.kind == LOSS:
                loss = _loss(row)
                numbers[row.installation, row.incarnation].update(range(loss.first_seq, loss.last_seq + 1))
            elif row.seq and not (row.record_id and row.seq > upto.get((row.installation, row.incarnation), 0)):
                key = (row.installation, row.incarnation)
                if not (row.record_id and row.installation in forked):
                    world.check(row.seq not in once[key], f"record {row.seq} of {_name(key)} is there twice")
                    once[key].add(row.seq)
                numbers[key].add(row.seq)
        if (
            not world.server.was_restored and not world.forgotten
        ):  # else a device may tell of the server's decisions that the server no longer knows
            refused = {key: reasons for key, reasons in world.server.sent.rejected.items() if reasons}
            world.check(not refused, f"records of sound devices were refused: {refused}")
        for key, cursor in upto.items():
            missing = [number for number in range(1, cursor + 1) if number not in numbers[key]]
            sent = world.server.sent.records.get(key, {})
            about = world.server.sent.subjects.get(key, {})
            erased = world.forgotten | {ANYBODY} if world.forgotten else set()
            rejected = world.server.sent.rejected.get(key, {})
            unexplained = [
                number
                for number in missing
                if number not in rejected and not sent.get(number, frozenset()) & ids and not about.get(number, set()) & erased
            ]
            world.check(
                not unexplained, f"the cursor of {_name(key)} is at {cursor}; {unexplained[:8]} are neither stored nor explained"
            )
            beyond = [number for number in numbers[key] if number > cursor]
            world.check(not beyond, f"the cursor of {_name(key)} is at {cursor}; {sorted(beyond)[:8]} are stored beyond it")

    def _cooldowns(self, rows: list[Row]) -> None:
        """Between two fires of one engine for one subject lies its cooldown, whatever the clocks did."""
        last: dict[tuple[str, str, str, str], int] = {}
        seen: set[str] = set()
        decided = [(row, _decision(row)) for row in rows if row.kind == DECISION]
        forked = {device.installation for device in self._world.devices if device.was_forked}
        for row, decision in sorted(decided, key=lambda pair: (pair[0].installation, pair[0].incarnation, pair[0].seq)):
            if row.installation in forked or decision.reason not in (Reason.FIRED, Reason.HOLDOUT):
                continue
            if decision.decision_id in seen or decision.trigger_id not in COOLDOWN_MS:
                continue
            seen.add(decision.decision_id)
            key = (row.installation, row.incarnation, decision.trigger_id, decision.subject)
            before = last.get(key)
            if before is not None:
                after = decision.decision_time - before
                self._world.check(
                    after >= COOLDOWN_MS[decision.trigger_id],
                    f"{decision.trigger_id} fired for {decision.subject} {after} ms after the last time",
                )
            last[key] = decision.decision_time

    def _policies(self, rows: list[Row]) -> None:
        """No cap exceeded, nothing in quiet hours, nothing for who is held out."""
        forked = {device.installation for device in self._world.devices if device.was_forked}
        by_stream: dict[Numbering, list[tuple[int, Decision]]] = defaultdict(list)
        for row in rows:
            if row.kind != DECISION:
                continue
            decision = _decision(row)
            if decision.reason is Reason.FIRED:
                check_act(self._world.check, decision)
            # Who was erased begins anew: a cap that remembered them would be what is left of them.
            begins_anew = decision.subject in self._world.forgotten
            if row.installation and row.installation not in forked and decision.placement == "edge" and not begins_anew:
                by_stream[row.installation, row.incarnation].append((row.seq, decision))
        for key, made in by_stream.items():
            in_order = [decision for _, decision in sorted(made, key=lambda pair: pair[0])]
            check_caps(self._world.check, _name(key), in_order)

    def _counters(self, rows: list[Row]) -> None:
        counters = self._world.server.store.counters()
        for name, held in (("events", sum(1 for row in rows if row.kind == EVENT)), ("records", len(rows))):
            # They count what was stored: what was erased since was stored all the same.
            is_right = counters[name] >= held if self._world.forgotten else counters[name] == held
            self._world.check(is_right, f"the server counts {counters[name]} {name} and holds {held}")

    # -- of a device ----------------------------------------------------------------------------------------------

    def _clock(self, device: SimulatedDevice) -> None:
        """Engine time never goes back, and is never faster than time that passed, unless the server said so."""
        engine = device.up.moment().now
        monotonic = device.clock.monotonic_ms()
        before = self._looks.get(device.name)
        self._looks[device.name] = (engine, monotonic, device.opened_count * 1_000_000 + device.told_count)
        if before is None:
            return
        then, elapsed, told = before
        if told == self._looks[device.name][2]:
            went, passed = engine - then, monotonic - elapsed
            self._world.check(
                0 <= went <= passed + 1, f"{device.name}: engine time went {went} ms in {passed} ms that nobody told it about"
            )

    def reopened(self, device: SimulatedDevice) -> None:
        """After a start: engine time goes on from the log's."""
        newest = device.up.runtime.engine_time
        now = device.up.moment().now
        self._world.check(now >= newest, f"{device.name} begins at {now}, behind its log at {newest}")

    def _unsent_is_held(self, device: SimulatedDevice) -> None:
        log = device.up.log
        with log.spool.store.reading() as db:
            held = dict(db.execute("SELECT seq, kind FROM log WHERE seq > ?", (log.acked_seq,)).fetchall())
        if not device.is_tight and not self._world.forgotten:
            newest = log.spool.store.last_seq
            missing = [number for number in range(log.acked_seq + 1, newest + 1) if number not in held]
            self._world.check(not missing, f"{device.name} deleted {missing[:8]}, which the server does not hold")
            lost = [number for number, kind in held.items() if kind == LOSS]
            self._world.check(not lost, f"{device.name} gave up {lost[:8]} without need")

    def _replay(self, device: SimulatedDevice) -> None:
        """The log's inputs lead to the decisions that stand in it, byte for byte, and to the state that is kept."""
        if device.is_tight or self._world.forgotten:
            return
        log = device.up.log
        pairs = list(log.records(0))
        records = [record for _, record in pairs]
        self._world.check(
            [seq for seq, _ in pairs] == list(range(1, len(pairs) + 1)), f"{device.name}: its log is not whole: {len(pairs)}"
        )
        times = [record.moment.now for record in records if isinstance(record, EventInput)]
        self._world.check(times == sorted(times), f"{device.name}: engine time goes back in its log")
        engine = Engine(Catalog(), "edge", device_id=log.installation)
        known = {catalog.digest: catalog for catalog in catalogs()}
        found = [repr(decision) for decision in decisions(engine, records, known)]
        held = [repr(record.decision) for record in records if isinstance(record, DecisionOutput) and _is_own(record)]
        for number, (want, have) in enumerate(zip(found, held, strict=False)):
            self._world.check(want == have, f"{device.name}: decision {number} of its log is {have}, replayed it is {want}")
        self._world.check(len(found) == len(held), f"{device.name}: {len(held)} decisions, replayed {len(found)}")
        self._world.check(state_of(engine) == state_of(device.up.runtime.engine), f"{device.name}: its state is not its log's")
        self._world.counts["decisions replayed"] += len(found)
        self._world.counts["patterns completed"] += check_timers(self._world.check, device.name, records, log.installation)


ENDS = ("at delivery", "the session ended", "nobody took it", "not handed over before a restart")


def _is_own(record: DecisionOutput) -> bool:
    """The engine's: not the server's, nor written by the shell when an action could not be handed over."""
    return record.decision.placement == "edge" and not (record.decision.record > 0 and record.decision.detail in ENDS)


def _record(row: Row) -> Record:
    return record_from_proto(record_pb2.LogRecord.FromString(row.body))[1]


def _loss(row: Row) -> LossOutput:
    found = _record(row)
    assert isinstance(found, LossOutput)
    return found


def _decision(row: Row) -> Decision:
    found = _record(row)
    assert isinstance(found, DecisionOutput)
    return found.decision


def _losses(rows: list[Row]) -> dict[str, list[LossOutput]]:
    """By installation, whatever the numbering: a new one goes on with the numbers of the old."""
    found: dict[str, list[LossOutput]] = defaultdict(list)
    for row in rows:
        if row.kind == LOSS:
            found[row.installation].append(_loss(row))
    return found


def _serial(row: Row) -> int | None:
    found = _record(row)
    assert isinstance(found, EventInput)
    for name in ("title", "content_id", "form_id", "order_id", "product_id", "ticket_id"):
        text = found.event.properties.get(name)
        if text is not None:
            return int(str(text))
    return None


def _name(key: Numbering) -> str:
    return f"{key[0][:6]}/{key[1][:6]}"
