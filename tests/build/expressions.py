"""Random typed expressions and contexts for the differential test. Seeded; makes only what profile 1 allows."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
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
    "features.f": "double",
    "features.g": "double",
    "segments.v": "bool",
    "risk": "double",
    "factors": "map(string,double)",
    "subject.known": "bool",
}

INTS = [0, 1, -1, 2, 3, 7, 10, -7, 60, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 1_700_000_000]
DOUBLES = [
    0.0,
    -0.0,
    0.5,
    1.0,
    -1.0,
    0.7,
    3.25,
    1e18,
    9.3e18,
    -9.223372036854775808e18,
    1.8e308 / 10,
    math.inf,
    -math.inf,
    math.nan,
]
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
]
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
]
DURATIONS_MS = [0, 1, -1, 999, 1_500, -3_600_001, 86_400_000, 90_061_001, -(2**40)]
DURATION_TEXTS = ["0s", "1h30m", "250ms", "-1.5s", "1.000000001s", "24h", "2000000h", "1us", "3ns"]
TIMESTAMP_TEXTS = [
    "2026-01-31T08:00:00Z",
    "1970-01-01T00:00:00.123456789Z",
    "2000-02-29T23:59:59+02:00",
    "1969-12-31T23:59:59.5Z",
]
KEYS = ["a", "b", "recency", ""]

Make = Callable[["Maker", int], str]


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
        "bytes": lambda: rng.choice([b"", b"a", b"\xff\xc3", "é".encode()]),
        "map(string,double)": lambda: {key: rng.choice(DOUBLES) for key in few(KEYS)},
    }
    return {name: drawn[kind]() for name, kind in OPERANDS.items() if rng.random() > 0.12}


class Maker:
    """Draws one expression at a time."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.locals: list[tuple[str, str]] = []

    def make(self, kind: str, depth: int) -> str:
        """Text of an expression of this type."""
        rng = self.rng
        leaves = [name for name, of in (*OPERANDS.items(), *self.locals) if of == kind]
        if depth <= 0 or rng.random() < 0.15:
            return rng.choice(leaves) if leaves and rng.random() < 0.7 else self.literal(kind, depth)
        if rng.random() < 0.08:
            return f"({self.make('bool', depth - 1)} ? {self.make(kind, depth - 1)} : {self.make(kind, depth - 1)})"
        forms = FORMS[kind]
        return rng.choice(forms)(self, depth - 1)

    def literal(self, kind: str, depth: int) -> str:
        """A literal, or for uint a conversion: no operand has that type."""
        rng = self.rng
        if kind == "bool":
            return rng.choice(["true", "false"])
        if kind == "int":
            return str(rng.choice([i for i in INTS if i > -(2**63)]))
        if kind == "uint":
            return rng.choice(["0u", "1u", "7u", "18446744073709551615u", "uint(event.i)"])
        if kind == "double":
            return repr(rng.choice([d for d in DOUBLES if math.isfinite(d)]))
        if kind == "string":
            return quoted(rng.choice(STRINGS))
        if kind == "bytes":
            return rng.choice(["b'a'", "b''", "b'\\xff'"])
        if kind == "timestamp":
            return f"timestamp('{rng.choice(TIMESTAMP_TEXTS)}')"
        if kind == "duration":
            return f"duration('{rng.choice(DURATION_TEXTS)}')"
        if kind.startswith("list("):
            return "[" + ", ".join(self.make(kind[5:-1], depth - 1) for _ in range(rng.choice([1, 2, 3]))) + "]"
        return "{" + ", ".join(f"'{key}': {self.make('double', depth - 1)}" for key in rng.sample(KEYS, 2)) + "}"

    def element(self, kind: str, over: str, depth: int, macro: str) -> str:
        """`LIST.macro(x, EXPRESSION of kind)`."""
        name = f"x{len(self.locals)}"
        items = self.make(f"list({over})", depth)
        self.locals.append((name, over))
        body = self.make(kind, depth)
        self.locals.pop()
        return f"{items}.{macro}({name}, {body})"


def quoted(text: str) -> str:
    """A CEL string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _forms(*templates: str) -> list[Make]:
    def form(template: str) -> Make:
        parts = template.split("@")

        def make(maker: Maker, depth: int) -> str:
            return "".join(part if i % 2 == 0 else maker.make(part, depth) for i, part in enumerate(parts))

        return make

    return [form(template) for template in templates]


def _compared(maker: Maker, depth: int) -> str:
    kind = maker.rng.choice(["bool", "int", "uint", "double", "double", "string", "bytes", "timestamp", "duration"])
    sign = maker.rng.choice(["<", "<=", ">", ">=", "==", "!="])
    return f"({maker.make(kind, depth)} {sign} {maker.make(kind, depth)})"


def _equal(maker: Maker, depth: int) -> str:
    kind = maker.rng.choice(["list(string)", "list(int)", "list(double)", "map(string,double)"])
    return f"({maker.make(kind, depth)} {maker.rng.choice(['==', '!='])} {maker.make(kind, depth)})"


def _in(maker: Maker, depth: int) -> str:
    kind = maker.rng.choice(["string", "int", "double"])
    return f"({maker.make(kind, depth)} in {maker.make(f'list({kind})', depth)})"


def _macro(maker: Maker, depth: int) -> str:
    over = maker.rng.choice(["string", "int", "double"])
    return maker.element("bool", over, min(depth, 2), maker.rng.choice(["exists", "all", "exists_one"]))


def _pattern(maker: Maker, depth: int) -> str:
    pattern = quoted(maker.rng.choice(PATTERNS)) if maker.rng.random() < 0.9 else "event.s"
    return f"{maker.make('string', depth)}.matches({pattern})"


def _has(maker: Maker, _: int) -> str:
    return f"has({maker.rng.choice([name for name in OPERANDS if '.' in name])})"


def _filtered(over: str) -> Make:
    return lambda maker, depth: maker.element("bool", over, min(depth, 2), "filter")


def _mapped(over: str) -> Make:
    return lambda maker, depth: maker.element(over, maker.rng.choice(["string", "int"]), min(depth, 2), "map")


_BOOL = _forms(
    "(@bool@ && @bool@)",
    "(@bool@ && @bool@)",
    "(@bool@ || @bool@)",
    "!(@bool@)",
    "(@bool@ && @bool@ && @bool@)",
    "@string@.contains(@string@)",
    "@string@.startsWith(@string@)",
    "@string@.endsWith(@string@)",
    "(@string@ in @map(string,double)@)",
    "bool(@string@)",
)
FORMS: dict[str, list[Make]] = {
    "bool": [*_BOOL, *([_compared] * 5), _equal, _in, _in, _macro, _macro, _pattern, _has, _has],
    "int": _forms(
        "(@int@ + @int@)",
        "(@int@ - @int@)",
        "(@int@ * @int@)",
        "(@int@ / @int@)",
        "(@int@ % @int@)",
        "-(@int@)",
        "size(@string@)",
        "@list(string)@.size()",
        "size(@bytes@)",
        "size(@map(string,double)@)",
        "int(@double@)",
        "int(@string@)",
        "int(@uint@)",
        "int(@timestamp@)",
        "@list(int)@[@int@]",
        "@timestamp@.getFullYear()",
        "@timestamp@.getMonth()",
        "@timestamp@.getDate()",
        "@timestamp@.getDayOfMonth()",
        "@timestamp@.getDayOfWeek()",
        "@timestamp@.getDayOfYear()",
        "@timestamp@.getHours()",
        "@timestamp@.getMinutes()",
        "@timestamp@.getSeconds()",
        "@timestamp@.getMilliseconds()",
        "@duration@.getHours()",
        "@duration@.getMinutes()",
        "@duration@.getSeconds()",
        "@duration@.getMilliseconds()",
        "@string@.indexOf(@string@)",
        "@string@.indexOf(@string@, @int@)",
        "@string@.lastIndexOf(@string@)",
        "@string@.lastIndexOf(@string@, @int@)",
    ),
    "uint": _forms(
        "(@uint@ + @uint@)",
        "(@uint@ - @uint@)",
        "(@uint@ * @uint@)",
        "(@uint@ / @uint@)",
        "(@uint@ % @uint@)",
        "uint(@int@)",
        "uint(@double@)",
        "uint(@string@)",
    ),
    "double": _forms(
        "(@double@ + @double@)",
        "(@double@ - @double@)",
        "(@double@ * @double@)",
        "(@double@ / @double@)",
        "-(@double@)",
        "double(@int@)",
        "double(@uint@)",
        "double(@string@)",
        "@map(string,double)@[@string@]",
        "factors.recency",
        "@list(double)@[@int@]",
    ),
    "string": _forms(
        "(@string@ + @string@)",
        "string(@int@)",
        "string(@bool@)",
        "string(@bytes@)",
        "string(@uint@)",
        "string(@timestamp@)",
        "string(@duration@)",
        "@string@.charAt(@int@)",
        "@string@.lowerAscii()",
        "@string@.upperAscii()",
        "@string@.replace(@string@, @string@)",
        "@string@.replace(@string@, @string@, @int@)",
        "@string@.substring(@int@)",
        "@string@.trim()",
        "@list(string)@.join()",
        "@list(string)@.join(@string@)",
        "@list(string)@[@int@]",
        "@string@.reverse()",
    ),
    "bytes": _forms("(@bytes@ + @bytes@)", "bytes(@string@)"),
    "timestamp": _forms(
        "(@timestamp@ + @duration@)", "(@timestamp@ - @duration@)", "(@duration@ + @timestamp@)", "timestamp(@int@)"
    ),
    "duration": _forms("(@duration@ + @duration@)", "(@duration@ - @duration@)", "(@timestamp@ - @timestamp@)"),
    "list(string)": [
        *_forms(
            "(@list(string)@ + @list(string)@)",
            "@string@.split(@string@)",
            "@string@.split(@string@, @int@)",
            "[@string@, @string@]",
        ),
        _filtered("string"),
        _mapped("string"),
    ],
    "list(int)": [*_forms("(@list(int)@ + @list(int)@)", "[@int@, @int@]"), _filtered("int"), _mapped("int")],
    "list(double)": [*_forms("(@list(double)@ + @list(double)@)", "[@double@]"), _filtered("double"), _mapped("double")],
    "map(string,double)": _forms("{'a': @double@, 'b': @double@}", "{@string@: @double@}"),
}
