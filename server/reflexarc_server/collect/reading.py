"""Bodies of requests: bytes in, a JSON document of a declared shape out, whatever bytes came.

Owns the limits of a body, its decompression and the two roads of reading: the compiled decoder, which takes the whole body or
nothing, and a patient one, behind which a mistake costs the event that holds it and no other. Must never raise anything but
Unreadable, nor keep more of a body than the limit.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any, Final, TypeVar

import msgspec

from reflexarc_core.errors import InvalidEventError
from reflexarc_server.collect.front import Refused

BODY_BYTES_MAX: Final = 512 * 1_024
"""Of one request, as it came and decompressed."""
DEPTH_MAX: Final = 32
"""Levels of lists and objects in one event."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKET: Final = re.compile(r"[][{}]")
T = TypeVar("T")


class Unreadable(Exception):
    """A body that is refused as a whole. status: of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def too_large() -> Refused:
    """The refusal of a body that is larger."""
    return Refused(413, "body_too_large", f"at most {BODY_BYTES_MAX} bytes; send smaller batches")


def decompressed(body: bytes, encoding: str, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The body itself. encoding: its Content-Encoding, lower case. Raises Unreadable, and makes no more of it than the limit."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise Unreadable(415, "an encoding that is not read here; send gzip, or none")
    reader = zlib.decompressobj(_GZIP)
    try:
        content = reader.decompress(body, bytes_max + 1)
    except zlib.error:
        raise Unreadable(400, "the body is no gzip") from None
    if len(content) > bytes_max or reader.unconsumed_tail:
        raise Unreadable(413, f"a body of more than {bytes_max} bytes; send smaller batches")
    if not reader.eof:
        raise Unreadable(400, "the gzip ends too early")
    return content


def read_quick(body: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """The whole body by the compiled decoder; None when anything in it is not as declared."""
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return None


def read_patient(body: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises Unreadable when it is none.

    A number that no float holds is infinite, NaN is NaN, half a character is still in its text: whoever takes an event looks, and
    mends. Of equal names the last one counts.
    """
    try:
        found = json.loads(body.decode())
    except UnicodeDecodeError:
        raise Unreadable(400, "the body is no UTF-8 text") from None
    except ValueError:
        raise Unreadable(400, "the body is no JSON") from None
    except RecursionError:
        raise Unreadable(400, f"nested deeper than {DEPTH_MAX} levels") from None
    if not isinstance(found, dict):
        raise Unreadable(400, "the body is no JSON object")
    return found


def check_depth(text: str, depth_max: int = DEPTH_MAX) -> None:
    """Raises InvalidEventError where JSON nests deeper; brackets inside of its texts are none."""
    if text.count("[") + text.count("{") <= depth_max:
        return
    depth = 0
    for bracket in _BRACKET.findall(_TEXT.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > depth_max:
            raise InvalidEventError("a value that nests too deep", hint=f"at most {depth_max} levels")


def mended(value: Any) -> Any:
    """The value with U+FFFD in place of each half of a character, as a browser's own `toWellFormed` does."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value
    if isinstance(value, list):
        return [mended(item) for item in value]
    if isinstance(value, dict):
        return {mended(name): mended(item) for name, item in value.items()}
    return value
