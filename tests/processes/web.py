"""An application behind a WSGI host, with its client made where the module is loaded: a GET of /N tracks event N."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from reflexarc import Client, Config
from tests.processes.kit import writes
from tests.processes.worker import track

_FOLDER = Path(os.environ["REFLEXARC_WEB_FOLDER"])
_write = writes(_FOLDER / "ledger")
client = Client(
    _FOLDER / "store",
    catalog=_FOLDER / "catalog.json",
    server=os.environ.get("REFLEXARC_WEB_SERVER") or None,
    insecure=True,
    config=Config(flush_interval_ms=1, batch_records_max=20),
    on_error=lambda error: _write(f"error {os.getpid()} {error!r}"),
)


def app(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    position = int(environ["PATH_INFO"].strip("/"))
    receipt = track(client, position)
    _write(f"kept {position} {receipt.event_id}" if receipt.accepted else f"refused {receipt.reason}")
    body = f"{os.getpid()} {receipt.engine}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
