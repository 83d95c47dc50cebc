"""Policies as authors write them: what may hold a trigger back, its own and what several share."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Final

from reflexarc_build.names import is_name
from reflexarc_build.source import Mistakes, Node, Reading, shown
from reflexarc_core.event import EventType
from reflexarc_core.hours import STRETCH_COUNT_MAX, Hours, waits
from reflexarc_core.policy import CAP_COUNT_MAX, HOLD_MS, REENTRIES, UNITS, Cap, Group, Holdout, Policy, Variant, Variants
from reflexarc_core.soundness import PRIORITY_MAX

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)|24:00")


def read_cap(what: str, node: Node, mistakes: Mistakes, *, shared: Mapping[str, Collection[str]] | None = None) -> Cap | None:
    """One cap; None when it is too broken. shared: names of `triggers` and `channels`; None for a trigger's own cap."""
    reading = Reading(node, what, mistakes)
    if not isinstance(node.value, dict):
        return None
    count = reading.number("count", 0, low=1, high=CAP_COUNT_MAX)
    if reading.node_of("count", required=True) is not None and count != int(count):
        mistakes.add(reading.node_of("count") or node, f"{what}: count is {count:g}", "a whole number")
    window_ms = reading.duration_ms("within", required="within" in node.value)
    calendar = reading.text("each", one_of=("day", "week"))
    said = (reading.node_of("within") is not None) + (reading.node_of("each") is not None)
    if said != 1:
        mistakes.add(node, f"{what} says {'both within and each' if said else 'not in which time'}",
                     "write within: 7d (rolling), or each: day or each: week (of the subject's local time)")  # fmt: skip
    scope = reading.text("scope", "device", one_of=("device", "global"))
    if scope == "global" and shared is None:
        mistakes.add(node, f"{what} is of one trigger, and global", "write it under caps:, with triggers: [...]")
    elif scope == "global" and calendar:
        mistakes.add(node, f"{what} is global, and each {calendar}", "a global cap rolls: write within: 7d")
    channels: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    if shared is not None:
        channels = reading.names("channels")
        triggers = reading.names("triggers")
        reading.known("triggers", triggers, shared["triggers"], "trigger")
        reading.known("channels", channels, shared["channels"], "channel of an action")
    reading.finish()
    return (
        Cap(int(count), window_ms, calendar, channels, triggers, scope) if count and bool(window_ms) != bool(calendar) else None
    )


BEST_HOURS: Final = "optimal_purchase_window"
"""In place of hours: those of the week in which the subject itself buys."""


class PolicyReader:
    """Reads the policy fields of one trigger."""

    def __init__(
        self, event_types: Mapping[str, EventType], caps: Mapping[str, Cap], actions: Collection[str], mistakes: Mistakes
    ) -> None:
        self.event_types = event_types
        self.caps = caps
        self.actions = actions
        self.mistakes = mistakes

    def read(self, reading: Reading) -> Policy:
        """The trigger's policy; what is wrong is noted."""
        unit = reading.text("holdout_unit", "subject", one_of=UNITS)
        share = reading.number("holdout", 0.0, high=1.0)
        salt = reading.text("holdout_group")
        exit_ = reading.names("exit")
        reading.known("exit", exit_, self.event_types, "event type")
        exempt = reading.names("exempt")
        reading.known("exempt", exempt, self.caps, "cap")
        quiet, quiet_then = self._quiet(reading)
        node = reading.node_of("window")
        best_hours = node is not None and node.value == BEST_HOURS
        policy = Policy(
            cooldown_ms=reading.duration_ms("cooldown"),
            purpose=reading.text("purpose"),
            holdout=Holdout(share, unit, salt) if share > 0 else None,
            max_age_ms=reading.duration_ms("max_age"),
            reentry=self._reentry(reading, exit_),
            exit=exit_,
            cap=self._own_cap(reading),
            exempt=exempt,
            slot=reading.text("slot"),
            priority=self._priority(reading),
            quiet=quiet,
            quiet_then=quiet_then,
            window=() if best_hours else self._hours(reading, "window"),
            best_hours=best_hours,
            hold_ms_max=reading.duration_ms("hold", HOLD_MS),
            variants=self._variants(reading, unit),
            group=self._group(reading, unit),
        )
        if (policy.quiet or policy.window) and None in waits(policy.quiet, policy.window):
            self.mistakes.add(
                reading.node_of("quiet") or reading.node_of("window") or reading.node,
                f"{reading.what}: quiet hours and window leave no moment to act", "make one of them shorter",
            )  # fmt: skip
        return policy

    def _reentry(self, reading: Reading, exit_: tuple[str, ...]) -> str:
        reentry = reading.text("reentry", "always", one_of=REENTRIES)
        if reentry in ("after_exit", "until_exit") and not exit_:
            self.mistakes.add(
                reading.node_of("reentry") or reading.node, f"{reading.what}: reentry {reentry}, and nothing is an exit",
                "write exit: [EVENT TYPES]",
            )  # fmt: skip
        return reentry

    def _own_cap(self, reading: Reading) -> Cap | None:
        node = reading.node_of("cap")
        return None if node is None else read_cap(f"{reading.what}: cap", node, self.mistakes)

    def _priority(self, reading: Reading) -> int:
        priority = reading.number("priority", 0, low=-PRIORITY_MAX, high=PRIORITY_MAX)
        if priority != int(priority):
            self.mistakes.add(
                reading.node_of("priority") or reading.node, f"{reading.what}: priority is {priority:g}", "a whole number"
            )
        return int(priority)

    def _quiet(self, reading: Reading) -> tuple[tuple[Hours, ...], str]:
        found = self._hours(reading, "quiet", then=("hold", "drop"))
        node = reading.node_of("quiet")
        stretches = [] if node is None else node.value if isinstance(node.value, list) else [node]
        dicts = [item.value for item in stretches if isinstance(item.value, dict)]
        said = {str(held["then"].value) if "then" in held else "hold" for held in dicts}
        if len(said) > 1 and node is not None:
            self.mistakes.add(node, f"{reading.what}: quiet hours that hold and others that drop", "write the same `then` in all")
        return found, next(iter(said), "hold")

    def _hours(self, reading: Reading, field: str, then: tuple[str, ...] = ()) -> tuple[Hours, ...]:
        node = reading.node_of(field)
        if node is None:
            return ()
        stretches = node.value if isinstance(node.value, list) else [node]
        if len(stretches) > STRETCH_COUNT_MAX:
            message = f"{reading.what}: {field} has {len(stretches)} stretches"
            self.mistakes.add(node, message, f"at most {STRETCH_COUNT_MAX}: one may be on several days")
            return ()
        return tuple(hours for item in stretches if (hours := self._stretch(f"{reading.what}: {field}", item, then)) is not None)

    def _stretch(self, what: str, node: Node, then: tuple[str, ...]) -> Hours | None:
        inner = Reading(node, what, self.mistakes)
        if not isinstance(node.value, dict):
            return None
        ends = [self._minute(inner, name) for name in ("from", "to")]
        days = inner.names("days")
        inner.known("days", days, DAYS, "day")
        if then:
            inner.text("then", then[0], one_of=then)
        inner.finish()
        begin, end = ends
        if begin is None or end is None:
            return None
        return Hours(begin % 1_440, end % 1_440, tuple(sorted(DAYS.index(day) for day in days if day in DAYS)))

    def _minute(self, reading: Reading, name: str) -> int | None:
        text = reading.text(name, required=True)
        if not text:
            return None
        found = _TIME.fullmatch(text)
        if found is None:
            self.mistakes.add(
                reading.node_of(name) or reading.node, f"{reading.what}: {name} is {shown(text)}", 'a time of day such as "22:00"'
            )
            return None
        return 1_440 if found[1] is None else int(found[1]) * 60 + int(found[2])

    def _variants(self, reading: Reading, unit: str) -> Variants | None:
        entries = reading.entries("variants")
        ways: list[Variant] = []
        for name, node in entries:
            inner = Reading(node, f"{reading.what}: variant {name}", self.mistakes)
            if not is_name(name):
                self.mistakes.add(node, f"{reading.what}: variant {shown(name)} is no name", "letters, digits and _ only")
            action = inner.text("action")
            if action:
                inner.known("action", (action,), self.actions, "action")
            inner.node_of("share", required=True)
            ways.append(Variant(name, inner.number("share", 0.0, high=1.0), action))
            inner.finish()
        shared = all(isinstance(node.value, dict) and "share" in node.value for _, node in entries)
        if entries and shared and not math.isclose(sum(way.share for way in ways), 1.0, abs_tol=1e-9):
            self.mistakes.add(
                reading.node_of("variants") or reading.node,
                f"{reading.what}: the shares of its variants add up to {sum(way.share for way in ways):g}", "they must make 1",
            )  # fmt: skip
        return Variants(tuple(ways), unit) if ways else None

    def _group(self, reading: Reading, unit: str) -> Group | None:
        node = reading.node_of("group")
        if node is None:
            return None
        inner = Reading(node, f"{reading.what}: group", self.mistakes)
        name = inner.text("name", required=True)
        low, high = inner.number("from", 0.0, high=1.0), inner.number("to", 1.0, high=1.0)
        if low >= high:
            self.mistakes.add(node, f"{reading.what}: group: from {low:g} to {high:g} holds nobody", "from must be under to")
        inner.finish()
        return Group(name, low, high, unit)
