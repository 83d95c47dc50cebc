"""One side of `http` in a process of its own: `python -m benchmarks.http_child bare|ours FOLDER`.

Both have the settings that `reflexarc serve` makes for its process. Prints its port; for each line it reads it waits until
nothing is behind and prints what it stored.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reflexarc_server.collect import usual_body
from reflexarc_server.collect.http import HttpOptions, HttpServer
from reflexarc_server.process import calm, settle

SITE = """
web:
  keys:
    shop: {key: wk_shop, origins: ["https://shop.example"]}
  limits: {address_calls_per_s: 1000000, key_calls_per_s: 1000000}
"""
_OPTIONS = HttpOptions("127.0.0.1", 0)
_HEAD = {
    "type": "http.response.start", "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"2")],
}  # fmt: skip
_END = {"type": "http.response.body", "body": b"{}"}


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """The empty route: the whole body is read, nothing is done with it."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    b"".join(parts)
    await send(_HEAD)
    await send(_END)


def _bare(folder: Path) -> tuple[str, Callable[[], dict[str, Any]]]:
    server = HttpServer(bare, _OPTIONS)
    calm()
    return server.address, dict


def _ours(folder: Path) -> tuple[str, Callable[[], dict[str, Any]]]:
    from reflexarc.definitions import load_catalog
    from reflexarc_build.source import parse
    from reflexarc_server.app import start_server
    from reflexarc_server.site.reader import site_of

    site = site_of(parse(SITE, "site.yaml"), folder)
    server = start_server(folder, "127.0.0.1:0", load_catalog(None), insecure=True, http=_OPTIONS, site=site)
    assert server.http is not None
    usual_body.load()  # before it counts: it takes a second, and a minute where nobody has compiled it yet
    settle(server.parts.fold.precedence)

    def settled() -> dict[str, Any]:
        behind = server.parts.fold.lag
        while server.parts.fold.lag:
            time.sleep(0.02)
        return {**server.parts.store.counters(), "behind": behind}

    return server.http.address, settled


def main() -> None:
    """Serve until the input ends."""
    who, folder = sys.argv[1], Path(sys.argv[2])
    address, settled = {"bare": _bare, "ours": _ours}[who](folder)
    print(address.rpartition(":")[2], flush=True)
    for _ in sys.stdin:
        print(json.dumps(settled()), flush=True)


if __name__ == "__main__":
    main()
