"""What is stilled is the simulation, and nobody beside it."""

from __future__ import annotations

import threading
import time

from tests.simulation.still import still


def test_a_thread_that_ran_before_keeps_its_own_time() -> None:
    begin = threading.Event()
    passed: list[int] = []
    seen: list[float] = []

    def beside() -> None:
        begin.wait(10)
        threading.Event().wait(0.001)
        seen.append(time.time())

    thread = threading.Thread(target=beside)
    thread.start()
    with still(lambda: 7_000, passed.append, "seed", lambda *_: None):
        time.sleep(0.25)  # of virtual time
        assert (time.time(), threading.Event().wait(0.5)) == (7.0, False)
        begin.set()
        thread.join(10)
    assert (passed, len(seen)) == ([250, 500], 1), "another's waits are no time of the simulation's"
    assert seen[0] > 1_000_000_000
