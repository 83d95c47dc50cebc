"""What happens to the world: every step that is drawn, how often, and to which kind of fault it belongs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from reflexarc_core.errors import TransportError
from reflexarc_core.event import Event
from reflexarc_proto.v1 import event_service_pb2
from reflexarc_proto.wire import event_to_proto
from tests.simulation.catalogs import catalogs
from tests.simulation.device import SUBJECTS, SimulatedDevice
from tests.simulation.still import Killed

if TYPE_CHECKING:
    from tests.simulation.world import World

DEVICES_MAX = 5


def _disturb_clock(world: World, device: SimulatedDevice, luck: float) -> None:
    world.say(f"  {device.name}: {device.clock.disturb(device.draw)}")


def _boot(world: World, device: SimulatedDevice, luck: float) -> None:
    """A machine loses its process and its monotonic clock, and may wake up in another year."""
    if device.client is not None:
        device.kill()
    device.clock.boot()
    if "clock" not in world.without and luck < 0.5:
        world.say(f"  {device.name} boots: {device.clock.disturb(device.draw)}")


def _disk(world: World, device: SimulatedDevice, luck: float) -> None:
    """Somebody fills the disk below a device, or makes room on it. What was laid out before stays."""
    device.is_full = not device.is_full
    world.say(f"  the disk of {device.name} {'is full' if device.is_full else 'has room'}")


def _cut_off(world: World, device: SimulatedDevice, luck: float) -> None:
    cut = world.network.cut_off
    cut ^= {device.name}
    world.say(f"  {device.name} is {'cut off' if device.name in cut else 'back'}")


def _kill_device(world: World, device: SimulatedDevice, luck: float) -> None:
    if device.client is not None:
        world.say(f"  {device.name} is killed")
        world.counts["kills"] += 1
        device.kill()


def _kill_server(world: World, device: SimulatedDevice, luck: float) -> None:
    if world.server.is_up:
        world.server.kill()
        world.counts["server kills"] += 1


def _fold(world: World, device: SimulatedDevice, luck: float) -> None:
    if not world.server.is_up:
        return
    if luck < 0.1 and "server" not in world.without:
        world.server_doom.arm(1 + int(luck * 60), lambda: None)
    try:
        world.fold_some()
        if luck > 0.8:
            world.server.fold._keep(force=True)
    except Killed as killed:
        world.say(f"  the server is killed {killed} of the fold")
        world.counts["server kills"] += 1
        world.server.abandon()
    world.server_doom.disarm()
    if luck > 0.97 and world.server.is_up:
        while world.server.fold._advance():
            pass
        world.checks.fold()


def _back_up(world: World, device: SimulatedDevice, luck: float) -> None:
    if world.server.is_up:
        world.server.back_up()


def _restore(world: World, device: SimulatedDevice, luck: float) -> None:
    if world.server.backups and luck < 0.3:
        world.say("  the server goes back to a backup")
        world.counts["restores"] += 1
        world.server.restore()


def _copy(world: World, device: SimulatedDevice, luck: float) -> None:
    device.keep_copy()


def _roll_back(world: World, device: SimulatedDevice, luck: float) -> None:
    if device.copies and luck < 0.3:
        world.say(f"  {device.name} goes back to a snapshot")
        world.counts["rollbacks"] += 1
        device.roll_back()


def _clone(world: World, device: SimulatedDevice, luck: float) -> None:
    if luck < 0.5 and len(world.devices) < DEVICES_MAX:
        other = SimulatedDevice(
            world, f"device{len(world.devices)}", device.place, is_tight=device.is_tight, drift_ppm=int(luck * 100)
        )
        world.say(f"  {other.name} begins with a copy of {device.name}")
        world.counts["clones"] += 1
        device.clone_onto(other)
        world.devices.append(other)


def _operator(world: World, device: SimulatedDevice, luck: float) -> None:
    if world.server.is_up:
        names = sorted(catalogs()[0].triggers)
        chosen = () if luck < 0.4 else ("*",) if luck < 0.5 else (names[int(luck * 1000) % len(names)],)
        world.say(f"  the operator pauses {chosen}")
        world.server.switch.pause(chosen)


def _backend(world: World, device: SimulatedDevice, luck: float) -> None:
    """A backend sends an event, and the last one once more: it does not know whether it arrived."""
    if not world.server.is_up:
        return
    serial = world.next_serial()
    event = Event(
        f"backend-{serial}", "support_ticket", SUBJECTS[int(luck * len(SUBJECTS))], world.time.now, {"ticket_id": str(serial)}, {}
    )
    again = list(world.server.tracked.values())[-1:]
    request = event_service_pb2.TrackRequest(events=[event_to_proto(one) for one in (*again, event)])
    world.server_doom.disarm()
    try:
        world.server.track(request.SerializeToString())
    except TransportError:
        return
    world.server.tracked[serial] = event
    world.backend.add(serial)


def _switch_catalog(world: World, device: SimulatedDevice, luck: float) -> None:
    """A new version is rolled out: to a device with its next start, to the server with its next."""
    if luck < 0.3:
        world.server_catalog = 1 - world.server_catalog
    elif device.client is not None:
        device.catalog = 1 - device.catalog
        device.close()


def _burst(world: World, device: SimulatedDevice, luck: float) -> None:
    """A busy hour."""
    if device.client is not None:
        for _ in range(10 + int(luck * 40)):
            world.time.pass_by(50)
            device.track()


def _carry(world: World, device: SimulatedDevice, luck: float) -> None:
    if luck < 0.1 and "server" not in world.without:
        world.server_doom.arm(1 + int(luck * 60), lambda: None)
    world.courier.turn(device)
    world.server_doom.disarm()


def _end_sibling(world: World, device: SimulatedDevice, luck: float) -> None:
    device.end_sibling()


def _forget(world: World, device: SimulatedDevice, luck: float) -> None:
    if device.client is not None and luck < 0.3:
        device.forget()


Act = Callable[["World", SimulatedDevice, float], None]
"""(world, device, luck between 0 and 1)."""

_ALL: tuple[tuple[str, int, Act | None], ...] = (
    ("track", 60, None),
    ("sync", 30, None),
    ("drain", 8, None),
    ("keep house", 5, None),
    ("run due", 5, None),
    ("hand over", 10, None),
    ("sibling track", 4, None),
    ("adopt", 4, None),
    ("sibling ends", 1, _end_sibling),
    ("answer", 8, None),
    ("close", 3, None),
    ("fold", 12, _fold),
    ("clock", 4, _disturb_clock),
    ("disk", 3, _disk),
    ("kill and boot", 2, _boot),
    ("kill", 4, _kill_device),
    ("network", 3, _cut_off),
    ("server", 2, _kill_server),
    ("backup", 3, _back_up),
    ("backup restored", 3, _restore),
    ("rollback copy", 3, _copy),
    ("rollback", 3, _roll_back),
    ("clone", 1, _clone),
    ("operator", 2, _operator),
    ("burst", 2, _burst),
    ("files", 6, _carry),
    ("backend", 3, _backend),
    ("catalog", 2, _switch_catalog),
    ("forget", 1, _forget),
)
ACTS = tuple((name, act) for name, _, act in _ALL)
WEIGHTS = tuple(weight for _, weight, _ in _ALL)
