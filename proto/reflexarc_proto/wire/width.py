"""How many parts a message has, seen in its bytes before anything is made of them.

Two bytes on the wire become a hundred in memory once decoded, so a message within its size may still be a flood. Owns the bound
on parts. Must never decode more than tags and lengths, nor look at more parts than the bound allows.

The form: protobuf's encoding, https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from typing import Final

LOOK_AT_BYTES: Final = 524_288
"""A smaller message cannot hold enough parts to matter."""
PARTS_MAX: Final = 20_000
PART_BYTES_MAX: Final = 1_048_576
"""One record, and more than twice what the largest event needs: what it holds may be small parts again."""


def is_too_wide(content: bytes) -> bool:
    """Whether a message has more than PARTS_MAX parts, or one of more than PART_BYTES_MAX bytes. What is no message is not."""
    end = len(content)
    if end < LOOK_AT_BYTES:
        return False
    at = parts = 0
    try:
        while at < end:
            parts += 1
            tag, at = _varint(content, at)
            wire_type = tag & 7
            if wire_type == 2:
                length, at = _varint(content, at)
                if parts > PARTS_MAX or length > PART_BYTES_MAX:
                    return True
                at += length
            elif wire_type == 0:
                _, at = _varint(content, at)
            elif wire_type in (1, 5):
                at += 8 if wire_type == 1 else 4
            else:
                return False
    except IndexError:  # it ends in the middle: the decoder says so
        return False
    return parts > PARTS_MAX


def _varint(content: bytes, at: int) -> tuple[int, int]:
    byte = content[at]
    if byte < 128:
        return byte, at + 1
    value, shift = byte & 127, 7
    while True:
        at += 1
        byte = content[at]
        value |= (byte & 127) << shift
        if byte < 128 or shift > 63:
            return value, at + 1
        shift += 7
