"""How a command asks a server over HTTP: the address, the key, one JSON object back.

Owns the option and the mapping of what may go wrong. A key never leaves the machine unencrypted, nor follows a redirect.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

import click

from reflexarc_cli.access import Access
from reflexarc_core.errors import InvalidEventError, PermissionDeniedError, TransportError, UnauthenticatedError

HTTP: Final = click.option(
    "--http", "address", required=True, envvar="REFLEXARC_HTTP", metavar="URL", help="Where the server speaks HTTP."
)
TIMEOUT_S: Final = 20.0
ANSWER_BYTES_MAX: Final = 64 << 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given: Any, **named: Any) -> None:
        return None


def ask(access: Access, address: str, method: str, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The answer to one request.

    Raises UnauthenticatedError, PermissionDeniedError, InvalidEventError as the server says, TransportError for anything else.
    """
    headers = {}
    if not access.insecure:
        headers["Authorization"] = f"Bearer {access.key()}"
    target = path + (f"?{urllib.parse.urlencode(query)}" if query else "")
    return _sent(access, address, method, target, b"" if method == "POST" else None, headers)


def post(access: Access, address: str, path: str, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    """The answer to a POST that shows who sends it in its own headers, and no key. Raises as `ask`."""
    return _sent(access, address, "POST", path, body, headers)


def _sent(
    access: Access, address: str, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
) -> dict[str, Any]:
    parts = urllib.parse.urlsplit(address if "://" in address else f"http://{address}")
    try:
        _ = parts.port
    except ValueError:
        raise TransportError(f"{address!r} is no address", hint="write http://127.0.0.1:8080 or https://host") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TransportError(f"{address!r} is no address", hint="write http://127.0.0.1:8080 or https://host")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise TransportError(f"plaintext to {parts.hostname}", hint="write https://, or ask on the server's own machine")
    url = f"{parts.scheme}://{parts.netloc}{target}"
    context = ssl.create_default_context(cafile=str(access.ca_file) if access.ca_file else None)
    opener = urllib.request.build_opener(
        _NoRedirect, urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({})
    )
    request = urllib.request.Request(url, body, {"Accept": "application/json", **headers}, method=method)
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            told = json.loads(answer.read(ANSWER_BYTES_MAX))
    except urllib.error.HTTPError as error:
        with error:
            raise _meant(error) from None
    except http.client.HTTPException:
        raise TransportError(
            f"{parts.netloc} does not speak HTTP", hint="give the address after --http, not that of gRPC"
        ) from None
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        why = getattr(reason, "strerror", None) or reason
        raise TransportError(f"{parts.netloc} cannot be asked: {why}", hint="is it serving --http there?") from None
    except ValueError:
        raise TransportError(f"{parts.netloc} answers something else", hint="is that a reflexarc server?") from None
    return dict(told) if isinstance(told, dict) else {}


def _meant(error: urllib.error.HTTPError) -> Exception:
    try:
        told = json.loads(error.read(65_536))
        code, hint = str(told["error"]), str(told.get("hint", ""))
        message = str(told.get("message") or f"the server says {code}")
    except (ValueError, KeyError, TypeError, OSError):
        message, hint = f"the server says status {error.code}", ""
    if error.code == 404:
        message, hint = "the server has nothing there", "does its site file have the section for that (docs/site.md)?"
    kinds = {400: InvalidEventError, 401: UnauthenticatedError, 403: PermissionDeniedError}
    return kinds.get(error.code, TransportError)(message, hint=hint)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
