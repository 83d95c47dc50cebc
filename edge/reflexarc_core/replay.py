"""Replay: the fold of a log's inputs through an engine. Recovery, simulation and "why did it fire?" are this function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from reflexarc_core.effect import Effect
from reflexarc_core.effect import Record as RecordEffect
from reflexarc_core.engine import Engine
from reflexarc_core.record import CatalogInput, DecisionOutput, HandedOutput, LossOutput, Record, TombstoneOutput


def fold(engine: Engine, records: Iterable[Record], catalogs: Mapping[str, Catalog]) -> Iterator[list[Effect]]:
    """Feed every input to the engine; the effects of each. Outputs in the log are passed over.

    catalogs: by digest, every one the log names. Raises DefinitionError when one is missing.
    """
    for record in records:
        if isinstance(record, (DecisionOutput, HandedOutput, LossOutput, TombstoneOutput)):
            continue
        catalog = catalogs.get(record.catalog_digest) if isinstance(record, CatalogInput) else None
        yield engine.receive(record, catalog)


def decisions(engine: Engine, records: Iterable[Record], catalogs: Mapping[str, Catalog]) -> Iterator[Decision]:
    """The decisions that the log's inputs lead to, in order."""
    for effects in fold(engine, records, catalogs):
        for effect in effects:
            if isinstance(effect, RecordEffect):
                yield effect.decision
