"""Engines that are broken in one place each: what the state machine must find, or it is none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from reflexarc_core import conclude, engine
from reflexarc_core.chain import Follower
from reflexarc_core.conclude import Case
from reflexarc_core.ledger import Lease, Ledger
from reflexarc_core.timers import Timers


@dataclass(frozen=True)
class Fault:
    """name: what is wrong. within: makes it so. examples_max: by how many of the machine's examples it has to be found.
    narrow: whether by the narrow machine."""

    name: str
    within: Callable[[], AbstractContextManager[Any]]
    examples_max: int = 120
    narrow: bool = False


def _instead(owner: Any, name: str, make: Callable[[Any], Any]) -> Callable[[], AbstractContextManager[Any]]:
    """Something of the engine, in place of which there is what `make` makes of it."""
    return lambda: mock.patch.object(owner, name, make(getattr(owner, name)))


def _kept_without(section: str) -> Callable[[], AbstractContextManager[Any]]:
    """Snapshots of a ledger that leave something out."""
    return _instead(Ledger, "to_plain", lambda real: lambda ledger: {**real(ledger), section: {}})


def _leases_unused(real: Any) -> Any:
    def to_plain(ledger: Ledger) -> dict[str, Any]:
        kept: dict[str, Any] = real(ledger)
        kept["leases"] = {cap: [{**lease, "used": 0} for lease in leases] for cap, leases in kept["leases"].items()}
        return kept

    return to_plain


FAULTS: tuple[Fault, ...] = (
    Fault("what a decision leaves is not waited for", _instead(Timers, "set_for", lambda real: lambda *_: None)),
    Fault(
        "an event undoes what was over when it happened",
        _instead(engine, "waits_of", lambda real: lambda subject, ledger, upto: real(subject, ledger, upto - 1)),
    ),
    Fault("nothing ends a wait before its time", _instead(Follower, "_ends_wait", lambda real: lambda *_: False)),
    Fault("a snapshot forgets sequences", _kept_without("journeys")),
    Fault("a snapshot forgets what is held", _kept_without("held")),
    Fault("a slot is nobody's", _instead(Case, "slot", lambda real: lambda self: None)),
    Fault(
        "a cooldown lasts a millisecond longer",
        _instead(conclude, "cooldown_left_ms", lambda real: lambda policy, fired, now: real(policy, fired, now - 1)),
    ),
    Fault(
        "consent is not looked at again when the server answers",
        _instead(Case, "consent", lambda real: lambda self: None if self.record_number else real(self)),
        narrow=True,
    ),
    Fault("a snapshot forgets what was used of a lease", _instead(Ledger, "to_plain", _leases_unused), narrow=True),
    Fault(
        "a lease gives one use too many",
        _instead(Lease, "is_open", lambda real: lambda self, now: self.used <= self.tokens),
        narrow=True,
    ),
    Fault(
        "a lease holds at its very end",
        _instead(Lease, "is_open", lambda real: lambda self, now: real(self, now - 1)),
        narrow=True,
    ),
)
