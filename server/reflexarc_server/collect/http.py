"""The HTTP port: uvicorn on a thread of its own, beside gRPC.

Owns the socket, who ends TLS and which proxies are believed about a caller's address. Plaintext stays on the loopback unless a
proxy in front of it is named.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import uvicorn

from reflexarc_core.errors import TransportError
from reflexarc_server.certificates import TlsFiles
from reflexarc_server.collect.connections import Watch, connection_class
from reflexarc_server.collect.exchange import Take
from reflexarc_server.collect.front import App

BACKLOG: Final = 2_048
IDLE_S: Final = 15
STOP_GRACE_S: Final = 2


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """host, port: where to listen, 0 for any free port. tls: None for plaintext.

    proxies: addresses or networks that end TLS in front of it, and whose word on a caller's address is taken.
    """

    host: str
    port: int
    tls: TlsFiles | None = None
    proxies: tuple[str, ...] = ()


class HttpServer:
    """A running port. address: host:port."""

    def __init__(
        self,
        front: App,
        options: HttpOptions,
        on_close: Callable[[], None] = lambda: None,
        direct: Mapping[str, Take] | None = None,
    ) -> None:
        """direct: path -> who takes a POST without ASGI. on_close: called once nothing is served any more.

        Raises TransportError when the port cannot be had.
        """
        self._socket = _listen(options)
        self._on_close = on_close
        self.watch: Final = Watch()
        host, port = options.host, self._socket.getsockname()[1]
        self.address: Final = f"{host}:{port}"
        config = uvicorn.Config(
            front, lifespan="off", access_log=False, log_config=None, log_level="warning", server_header=False,
            date_header=False, timeout_keep_alive=IDLE_S, backlog=BACKLOG, http=connection_class(self.watch, direct),
            timeout_graceful_shutdown=STOP_GRACE_S, ws="none",
            proxy_headers=bool(options.proxies), forwarded_allow_ips=list(options.proxies) or None,
            ssl_certfile=options.tls.cert if options.tls else None, ssl_keyfile=options.tls.key if options.tls else None,
        )  # fmt: skip
        self._uvicorn = _Threaded(config)
        self._thread = threading.Thread(target=self._run, name="reflexarc-http", daemon=True)
        self._thread.start()
        self._uvicorn.is_up.wait()

    def stop(self) -> None:
        """Let open requests finish (STOP_GRACE_S), then close. A second call does nothing."""
        self._uvicorn.should_exit = True
        self._thread.join()
        self._socket.close()
        self._on_close()

    def _run(self) -> None:
        try:
            self._uvicorn.run(sockets=[self._socket])
        except SystemExit:  # uvicorn's way to say that it could not start
            logging.getLogger(__name__).error("the HTTP port %s did not start", self.address)
        finally:
            self._uvicorn.is_up.set()


class _Threaded(uvicorn.Server):
    """uvicorn's server, saying when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


def _listen(options: HttpOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((options.host.strip("[]"), options.port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise TransportError(
            f"cannot listen on {options.host}:{options.port}: {error.strerror or error}",
            hint="choose another port, or stop what uses this one",
        ) from None
    return bound
