"""How a command reaches a server: the options that say whom to trust, and with which key.

Owns those options, the same for every command that talks to a server. A secret is never an argument: arguments can be read by
everybody on the machine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reflexarc_cli.misuse import Misused

if TYPE_CHECKING:
    from reflexarc.backend import Backend
    from reflexarc.operator import Operator
    from reflexarc.tls import Trust

NO_KEY: Final = "give --api-key-file FILE, or set REFLEXARC_API_KEY_FILE; where a server here speaks plaintext, give --insecure"


@dataclass(frozen=True, slots=True)
class Access:
    """ca_file: whom to trust, None for the system's authorities. key_file: holds the key, None for what the environment says."""

    ca_file: Path | None = None
    key_file: Path | None = None
    insecure: bool = False

    @property
    def trust(self) -> Trust:
        """The same for a channel."""
        from reflexarc.tls import Trust

        return Trust(self.insecure, str(self.ca_file or ""))

    def backend(self, address: str, **more: Any) -> Backend:
        """A client of the server there. Raises Misused for what is no address, UnauthenticatedError without a key, TransportError
        for plaintext to elsewhere."""
        from reflexarc.backend import Backend

        return Backend(checked(address), **self._given(), **more)

    def operator(self, address: str) -> Operator:
        """The same, for whoever runs the server."""
        from reflexarc.operator import Operator

        return Operator(checked(address), **self._given())

    def key(self) -> str:
        """The key to show. Raises UnauthenticatedError when there is none."""
        from reflexarc.credential import service_key

        return service_key(str(self.key_file or ""), hint=NO_KEY)

    def _given(self) -> dict[str, Any]:
        key = None if self.insecure else self.key()
        return {"key": key, "ca_file": str(self.ca_file or ""), "insecure": self.insecure}


def checked(address: str) -> str:
    """The address. Raises Misused when it is not HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not (port.isascii() and port.isdigit() and 0 < int(port) <= 65_535):
        raise Misused(f"{address!r} is no address", hint="write it as host:port, for example 127.0.0.1:7443")
    return address


def with_access(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, and their values as its argument `access`."""

    @click.option(
        "--ca-file", envvar="REFLEXARC_CA_FILE", type=click.Path(path_type=Path),
        help="PEM of the only authorities to trust; the system's by default.",
    )  # fmt: skip
    @click.option(
        "--api-key-file", envvar="REFLEXARC_API_KEY_FILE", type=click.Path(path_type=Path), help="File that holds the key."
    )
    @click.option("--insecure", is_flag=True, help="Plaintext and no authentication, to this machine only.")
    @functools.wraps(command)
    def called(*given: Any, ca_file: Path | None, api_key_file: Path | None, insecure: bool, **named: Any) -> Any:
        return command(*given, access=Access(ca_file, api_key_file, insecure), **named)

    return called
