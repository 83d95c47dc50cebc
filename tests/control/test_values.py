"""Values down: what happens elsewhere reaches the device that asked last, long before it polls, and outlives a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc_core.event import Event
from reflexarc_server.app import Server, start_server
from tests.control.kit import Kiosk, catalog
from tests.server.kit import T0, ManualClock, Stubs, wait_for


@pytest.fixture
def server(data: Path, clock: ManualClock) -> Iterator[Server]:
    started = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    yield started
    started.stop()


def test_what_a_service_says_reaches_a_device_that_polls_once_a_minute(tmp_path: Path, server: Server, stubs: Stubs) -> None:
    kiosk = Kiosk(tmp_path / "device", server.address)
    kiosk.client.identify("1")
    kiosk.pages(1)
    for number in range(1, 4):
        stubs.track(Event(f"o{number}", "email_open", "known:1", T0, {"message_id": "m"}))  # no trigger listens to it
        wait_for(lambda: value(kiosk) == (float(number), T0))  # noqa: B023  # called at once
    kiosk.close()
    again = Kiosk(tmp_path / "device", None)
    assert value(again) == (3.0, T0), "with the time at which it was true"
    again.close()


def value(kiosk: Kiosk) -> tuple[float, int] | None:
    held = kiosk.client.runtime.engine.state.subjects.get("known:1")
    return None if held is None else held.values.get("email_engagement")
