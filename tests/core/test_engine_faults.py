"""The state machine can fail: each planted fault is found, within a stated number of examples."""

from __future__ import annotations

import pytest
from hypothesis import Phase
from hypothesis.stateful import run_state_machine_as_test

from tests.core.engine_faults import FAULTS, Fault
from tests.core.test_engine_machine import EngineMachine, NarrowMachine, searching


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_planted_fault_is_found(fault: Fault) -> None:
    # Found is enough: nothing is made shorter.
    quickly = searching(fault.examples_max, derandomize=True, phases=(Phase.generate,), report_multiple_bugs=False)
    with fault.within(), pytest.raises((AssertionError, KeyError)):
        run_state_machine_as_test(NarrowMachine if fault.narrow else EngineMachine, settings=quickly)
