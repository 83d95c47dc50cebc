"""reflexarc: behavioural triggers decided at the edge.

`from reflexarc import Client` is the front door. Importing this package loads the standard library only; the rest
comes on first use.
"""

from __future__ import annotations

# Read as true by type checkers; `typing` itself would be half of what this import costs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from reflexarc.client import Client
    from reflexarc.config import Config
    from reflexarc.receipt import FlushResult, Receipt
    from reflexarc_core.decision import Decision, Reason
    from reflexarc_core.errors import ReflexArcError

__version__ = "0.1.0"
__all__ = ["Client", "Config", "Decision", "FlushResult", "Reason", "Receipt", "ReflexArcError", "__version__"]

_HOMES = {
    "Client": "reflexarc.client",
    "Config": "reflexarc.config",
    "Decision": "reflexarc_core.decision",
    "FlushResult": "reflexarc.receipt",
    "Reason": "reflexarc_core.decision",
    "Receipt": "reflexarc.receipt",
    "ReflexArcError": "reflexarc_core.errors",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'reflexarc' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
