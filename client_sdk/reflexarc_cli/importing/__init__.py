"""Import: files of any shape to events, by mappings that say how.

mapping (what a mapping is) -> rows (framing) -> conversion (one row, one event) -> reader, ordered (whole files)
-> run (to a sink, with verdicts). The command is `reflexarc import`.
"""

from reflexarc_cli.importing.conversion import Accepted, Rejected, Skipped
from reflexarc_cli.importing.mapping import (
    LabelHorizon,
    Mapping,
    adapted_catalog,
    find_mapping,
    load_mapping,
    shipped_mappings,
    shipped_names,
)  # fmt: skip
from reflexarc_cli.importing.ordered import in_time_order
from reflexarc_cli.importing.reader import choose, read_events, read_rows
from reflexarc_cli.importing.run import MemorySink, Sink, Verdict, run_import
from reflexarc_cli.importing.verdicts import ImportResult

__all__ = [
    "Accepted", "ImportResult", "LabelHorizon", "Mapping", "MemorySink", "Rejected", "Sink", "Skipped", "Verdict",
    "adapted_catalog", "choose", "find_mapping", "in_time_order", "load_mapping", "read_events", "read_rows", "run_import",
    "shipped_mappings", "shipped_names",
]  # fmt: skip
