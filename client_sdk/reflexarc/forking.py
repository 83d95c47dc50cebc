"""What a fork leaves behind in a child: connections, mappings and locks that belong to the parent.

Owns the hooks that the interpreter calls around a fork, and a way to keep for good what must never be closed in a child.
`os.register_at_fork` cannot be undone: it holds nothing but weak references.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable
from typing import Any, Protocol


class Quiet(Protocol):
    """Somebody whose threads must not be inside gRPC, or inside SQLite, while the process forks: a child inherits their locks,
    and nobody who would ever open them.
    """

    def before_fork(self) -> None:
        """Get them out of it; bounded in time."""
        ...

    def after_fork_in_parent(self) -> None:
        """Go on."""
        ...


_told: list[weakref.WeakMethod[Callable[[], None]]] = []
_quiet: weakref.WeakSet[Any] = weakref.WeakSet()
_anchor: Any = None
_stores: weakref.WeakSet[Any] = weakref.WeakSet()
_is_around = False


def tell(method: Callable[[], None]) -> None:
    """Call this bound method in every forked child, before any other code of it, for as long as its object lives.

    It must not take a lock that a thread of the parent may hold.
    """
    _told[:] = [known for known in _told if known() is not None]
    _told.append(weakref.WeakMethod(method))


def keep_quiet(channel: Quiet) -> None:
    """Call these around every fork. Said after gRPC is imported: its own hooks find nobody inside it then, and work."""
    global _is_around, _anchor  # noqa: PLW0603  # a hook cannot be taken back, so it is set once
    import grpc

    _quiet.add(channel)
    if not _is_around:
        _is_around = True
        # Behind the last channel gRPC shuts itself down on a thread of its own, and a fork at that moment waits for it
        # for ever. One channel that is never closed and never connects keeps it from that.
        _anchor = grpc.insecure_channel("127.0.0.1:9")
        os.register_at_fork(before=lambda: _before(_quiet), after_in_parent=lambda: _in_parent(_quiet))


def keep_still(store: Quiet) -> None:
    """Call these around every fork, for as long as the object lives."""
    _stores.add(store)


def leave(thing: object) -> None:
    """Never close this here: SQLite would act on locks that are the parent's, at the latest when the child ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _before(everybody: weakref.WeakSet[Any]) -> None:
    for one in list(everybody):
        one.before_fork()


def _in_parent(everybody: weakref.WeakSet[Any]) -> None:
    for one in list(everybody):
        one.after_fork_in_parent()


def _after_fork() -> None:
    for known in _told:
        method = known()
        if method is not None:
            method()


os.register_at_fork(before=lambda: _before(_stores), after_in_parent=lambda: _in_parent(_stores), after_in_child=_after_fork)
