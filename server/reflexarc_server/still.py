"""A server that does not run, opened for one import of sync files.

Owns what such an opening leaves alone: nothing is written into the log but what the files hold, and what is live stays live.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from reflexarc_core.catalog import Catalog
from reflexarc_server.clock import SystemClock
from reflexarc_server.identity.registry import Registry
from reflexarc_server.parts import put_together
from reflexarc_server.store.sqlite import SqliteStore
from reflexarc_server.sync_files import SyncFiles


@contextmanager
def still_sync_files(data: Path, catalog: Catalog) -> Iterator[SyncFiles]:
    """data: the server's folder. catalog: what is live when the server never ran with one.

    Raises StorageError when the folder cannot be used, or a server runs on it.
    """
    with ExitStack() as open_parts:
        store = SqliteStore(data)
        open_parts.callback(store.close)
        registry = Registry(data)
        open_parts.callback(registry.close)
        said = store.kept("engine", None)
        built = store.catalogs().get(said[0]) if said else None
        live = Catalog.from_bytes(built) if built is not None else catalog
        parts = put_together(data, store, registry, live, SystemClock(), hint=lambda installation: None)
        parts.fold.start()
        open_parts.callback(parts.fold.stop)
        yield parts.sync_files
