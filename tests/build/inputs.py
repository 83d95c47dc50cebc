"""Operands, the values they are drawn from, and literals of the same kinds, for the differential test.

Extremes are among them. Times stay a second and more within 292 years of each other: there the reference's difference of two
timestamps overflows a fraction of a second too early. Bytes have no NUL: its Python binding cuts there.
"""

from __future__ import annotations

import math
import random
from typing import Any

OPERANDS = {
    "event.s": "string",
    "event.s2": "string",
    "event.i": "int",
    "event.i2": "int",
    "event.d": "double",
    "event.b": "bool",
    "event.t": "timestamp",
    "event.t2": "timestamp",
    "event.r": "duration",
    "event.ls": "list(string)",
    "event.li": "list(int)",
    "event.ld": "list(double)",
    "event.y": "bytes",
    "event.u": "uint",
    "event.lt": "list(timestamp)",
    "event.lr": "list(duration)",
    "event.lb": "list(bool)",
    "event.lu": "list(uint)",
    "event.ly": "list(bytes)",
    "event.mi": "map(int,string)",
    "event.mu": "map(uint,int)",
    "event.mb": "map(bool,double)",
    "grid": "list(list(int))",
    "tags": "map(string,list(string))",
    "features.f": "double",
    "features.g": "double",
    "segments.v": "bool",
    "risk": "double",
    "factors": "map(string,double)",
    "subject.known": "bool",
}

UINTS = [0, 1, 2, 7, 2**31, 2**53 + 1, 2**63, 2**64 - 1]
INTS = [0, 1, -1, 2, 3, 7, 10, -7, 60, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 1_700_000_000]
DOUBLES = [
    0.0, -0.0, 0.5, 1.0, -1.0, 0.7, 3.25, 1e18, 9.3e18, -9.223372036854775808e18, 1.8e308 / 10, math.inf, -math.inf, math.nan,
]  # fmt: skip
STRINGS = [
    "",
    "a",
    "b",
    "ab",
    "aab",
    " 1",
    "(",
    "12",
    "-3",
    "1.5",
    "true",
    "/pricing?x=1",
    "Straße",
    "ÀB\n",
    "été a",
    "１",
    "\u2003x ",
    "a,b,,c",
    "😀z",
    "0x1F",
    "-0x.8p1",
    "1e400",
    " -inf\t",
    "nAn",
    "9223372036854775807",
    "18446744073709551616",
    "+7",
    "-0",
    "T",
    '\u0001"\\',
    "aAbBzZ",
    "TRUE",
]
OFFSETS = ["+02:00", "-03:30", "+14:00", "-23:59", "00:00", "05:45", "UTC"]
PATTERNS = ["^a", "b$", "a.*b", "[0-9]+", r"\d", r"\bx", "(?i)PRIC", "^$", r"\w+\s\w", "z|/p", "(a|b)+c?"]
TIMES_MS = [
    0,
    1,
    -1,
    999,
    1_700_000_000_123,
    -62_000_000_000_000,
    86_400_000 * 59,
    951_782_400_000,
    4_102_444_800_000,
    8_999_999_999_999,
    -62_135_510_400_000,
    253_402_300_799_999,
]
DURATIONS_MS = [0, 1, -1, 999, 1_500, -3_600_001, 86_400_000, 90_061_001, -(2**40), 9_223_371_000_000, -9_223_371_000_000]
DURATION_TEXTS = ["0s", "1h30m", "250ms", "-1.5s", "1.000000001s", "24h", "2000000h", "1us", "3ns"]
TIMESTAMP_TEXTS = [
    "2026-01-31T08:00:00Z",
    "1970-01-01T00:00:00.123456789Z",
    "2000-02-29T23:59:59+02:00",
    "1969-12-31T23:59:59.5Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "2262-04-11T23:40:00.854775807Z",
    "1677-09-21T00:12:43.145224192-00:30",
]
KEYS = ["a", "b", "recency", ""]
BYTES = [b"", b"a", b"\xff\xc3", "é".encode(), b"12"]  # no NUL: the reference's Python binding cuts there


def context(rng: random.Random) -> dict[str, Any]:
    """Operand values by dotted name; each is absent now and then. Times in milliseconds."""
    few = lambda pool: [rng.choice(pool) for _ in range(rng.choice([0, 1, 2, 3, 5]))]  # noqa: E731
    drawn = {
        "string": lambda: rng.choice(STRINGS),
        "int": lambda: rng.choice(INTS),
        "double": lambda: rng.choice(DOUBLES),
        "bool": lambda: rng.random() < 0.5,
        "timestamp": lambda: rng.choice(TIMES_MS),
        "duration": lambda: rng.choice(DURATIONS_MS),
        "list(string)": lambda: few(STRINGS),
        "list(int)": lambda: few(INTS),
        "list(double)": lambda: few(DOUBLES),
        "bytes": lambda: rng.choice(BYTES),
        "uint": lambda: rng.choice(UINTS),
        "list(timestamp)": lambda: few(TIMES_MS),
        "list(duration)": lambda: few(DURATIONS_MS),
        "list(bool)": lambda: few([True, False]),
        "list(uint)": lambda: few(UINTS),
        "list(bytes)": lambda: few(BYTES),
        "list(list(int))": lambda: [few(INTS) for _ in range(rng.choice([0, 1, 2]))],
        "map(string,double)": lambda: {key: rng.choice(DOUBLES) for key in few(KEYS)},
        "map(int,string)": lambda: {key: rng.choice(STRINGS) for key in few(INTS)},
        "map(uint,int)": lambda: {key: rng.choice(INTS) for key in few(UINTS)},
        "map(bool,double)": lambda: {key: rng.choice(DOUBLES) for key in few([True, False])},
        "map(string,list(string))": lambda: {key: few(STRINGS) for key in few(KEYS)},
    }
    return {name: drawn[kind]() for name, kind in OPERANDS.items() if rng.random() > 0.12}
