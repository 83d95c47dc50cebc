"""Random typed expressions and contexts for the differential test. Seeded; makes only what profile 1 allows.

Every expression is made as one text with alternatives, `differing(ours, the reference's)`, for the few places where the two
are not asked the same question; `both` takes it apart. What they differ in on purpose: `has()` (the reference gets a bool
instead, so that an absent operand is an error in both), `substring` with an end (the reference wrongly refuses the text's own
end, so its text gets one character more), and `string()` of NaN, whose sign the reference writes out.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable

from tests.build.inputs import DOUBLES, DURATION_TEXTS, INTS, KEYS, OFFSETS, OPERANDS, PATTERNS, STRINGS, TIMESTAMP_TEXTS

LISTS = ("string", "int", "double", "uint", "bool", "bytes", "timestamp", "duration")
MAPS = ("map(string,double)", "map(int,string)", "map(uint,int)", "map(bool,double)", "map(string,list(string))")
_START, _OR, _END = "\ue001", "\ue002", "\ue003"
_ALTERNATIVES = re.compile(f"{_START}([^{_START}{_OR}{_END}]*){_OR}([^{_START}{_OR}{_END}]*){_END}")

Make = Callable[["Maker", int], str]


def differing(ours: str, theirs: str) -> str:
    """A part that the reference is given as another text."""
    return f"{_START}{ours}{_OR}{theirs}{_END}"


def both(text: str) -> tuple[str, str]:
    """The text for us, and the text for the reference."""
    sides = []
    for side in (r"\1", r"\2"):
        whole, count = text, 1
        while count:
            whole, count = _ALTERNATIVES.subn(side, whole)
        sides.append(whole)
    return sides[0], sides[1]


def flag(name: str) -> str:
    """The reference's variable that says whether an operand is there."""
    return "has_" + name.replace(".", "_")


def key_and_value(kind: str) -> tuple[str, str]:
    """The types of a map's keys and values."""
    key, _, value = kind[4:-1].partition(",")
    return key, value


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
            return rng.choice([str(rng.choice(INTS)), str(rng.choice(INTS)), "0x1F", "-0xA"])
        if kind == "uint":
            return rng.choice(["0u", "1u", "7u", "18446744073709551615u", "0xFFu", "uint(event.i)"])
        if kind == "double":
            finite = repr(rng.choice([d for d in DOUBLES if math.isfinite(d)]))
            return rng.choice([finite, finite, ".5", "1e-7", "123456.789", "double('nan')", "(1.0 / 0.0)"])
        if kind == "string":
            return rng.choice(
                [quoted(rng.choice(STRINGS)), quoted(rng.choice(STRINGS)), r"r'\d'", "'''a'b'''", r"'\u00e9\141\x61'"]
            )
        if kind == "bytes":
            return rng.choice(["b'a'", "b''", "b'\\xff'", "b'\\303\\251'", "b'é'"])
        if kind == "timestamp":
            return f"timestamp('{rng.choice(TIMESTAMP_TEXTS)}')"
        if kind == "duration":
            return f"duration('{rng.choice(DURATION_TEXTS)}')"
        if kind.startswith("list("):
            return "[" + ", ".join(self.make(kind[5:-1], depth - 1) for _ in range(rng.choice([1, 2, 3]))) + "]"
        key_kind, value = key_and_value(kind)
        pool = {"string": [f"'{key}'" for key in KEYS], "int": ["-1", "0", "3"], "uint": ["0u", "1u"], "bool": ["true", "false"]}
        keys = rng.sample(pool[key_kind], 2) if rng.random() < 0.8 else ["event.s"] if key_kind == "string" else ["event.i"]
        if key_kind in ("uint", "bool") and keys == ["event.i"]:
            keys = ["event.u" if key_kind == "uint" else "event.b"]
        return "{" + ", ".join(f"{key}: {self.make(value, depth - 1)}" for key in keys) + "}"

    def element(self, kind: str, over: str, depth: int, macro: str) -> str:
        """`LIST.macro(x, EXPRESSION of kind)`."""
        name = f"x{len(self.locals)}"
        items = self.make(over if over.startswith("map(") else f"list({over})", depth)
        self.locals.append((name, key_and_value(over)[0] if over.startswith("map(") else over))
        body = self.make(kind, depth)
        if macro == "map" and self.rng.random() < 0.3:
            body = f"{self.make('bool', depth - 1)}, {body}"
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
    kind = maker.rng.choice([*(f"list({kind})" for kind in LISTS), *MAPS, "list(list(int))"])
    return f"({maker.make(kind, depth)} {maker.rng.choice(['==', '!='])} {maker.make(kind, depth)})"


def _in(maker: Maker, depth: int) -> str:
    if maker.rng.random() < 0.3:
        held = maker.rng.choice(MAPS)
        return f"({maker.make(key_and_value(held)[0], depth)} in {maker.make(held, depth)})"
    kind = maker.rng.choice([*LISTS, "string", "int", "double", "list(int)"])
    return f"({maker.make(kind, depth)} in {maker.make(f'list({kind})', depth)})"


def _macro(maker: Maker, depth: int) -> str:
    over = maker.rng.choice([*LISTS, "string", "int", "double", "list(int)", *MAPS])
    return maker.element("bool", over, min(depth, 2), maker.rng.choice(["exists", "all", "exists_one"]))


def _pattern(maker: Maker, depth: int) -> str:
    pattern = quoted(maker.rng.choice(PATTERNS)) if maker.rng.random() < 0.9 else "event.s"
    text = maker.make("string", depth)
    return f"{text}.matches({pattern})" if maker.rng.random() < 0.8 else f"matches({text}, {pattern})"


def _has(maker: Maker, _: int) -> str:
    if maker.rng.random() < 0.2:
        return maker.rng.choice(["has(factors.recency)", "has(tags.a)", "has({'a': 1}.b)"])
    name = maker.rng.choice([name for name in OPERANDS if "." in name])
    return differing(f"has({name})", flag(name))


def _local_time(maker: Maker, depth: int) -> str:
    get = maker.rng.choice(["FullYear", "Month", "DayOfMonth", "Date", "DayOfWeek", "DayOfYear", "Hours", "Minutes",
                            "Seconds", "Milliseconds"])  # fmt: skip
    return f"{maker.make('timestamp', depth)}.get{get}('{maker.rng.choice(OFFSETS)}')"


def _part(maker: Maker, depth: int) -> str:
    text, start, end = maker.make("string", depth), maker.make("int", min(depth, 1)), maker.make("int", min(depth, 1))
    if maker.rng.random() < 0.6:
        start, end = str(maker.rng.choice([0, 1, 2])), maker.rng.choice([str(maker.rng.choice([1, 2, 3, 5])), f"size({text})"])
    theirs = f"({end} <= size({text}) ? ({text} + '.').substring({start}, {end}) : [''][1])"
    return differing(f"{text}.substring({start}, {end})", theirs)


def _number_text(maker: Maker, depth: int) -> str:
    number = maker.make("double", min(depth, 1))
    return differing(f"string({number})", f"({number} == {number} ? string({number}) : 'nan')")


def _filtered(over: str) -> Make:
    return lambda maker, depth: maker.element("bool", over, min(depth, 2), "filter")


def _mapped(over: str) -> Make:
    return lambda maker, depth: maker.element(over, maker.rng.choice([*LISTS, "list(int)"]), min(depth, 2), "map")


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
    "bool(@bool@)",
    "(@map(bool,double)@[@bool@] > @double@)",
    "@list(bool)@[@int@]",
)
FORMS: dict[str, list[Make]] = {
    "bool": [*_BOOL, *([_compared] * 5), _equal, _in, _in, _macro, _macro, _pattern, _has, _has],
    "int": [
        _local_time,
        _local_time,
        _local_time,
        *_forms(
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
            "int(@int@)",
            "@map(uint,int)@[@uint@]",
            "@list(list(int))@[@int@][@int@]",
            "size(@list(list(int))@)",
            "size(@list(bool)@)",
            "@list(duration)@.size()",
            "tags.a.size()",
        ),
    ],
    "uint": _forms(
        "(@uint@ + @uint@)",
        "(@uint@ - @uint@)",
        "(@uint@ * @uint@)",
        "(@uint@ / @uint@)",
        "(@uint@ % @uint@)",
        "uint(@int@)",
        "uint(@double@)",
        "uint(@string@)",
        "uint(@uint@)",
        "@list(uint)@[@int@]",
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
        "double(@double@)",
        "@map(bool,double)@[@bool@]",
    ),
    "string": [
        _part,
        _part,
        _number_text,
        _number_text,
        *_forms(
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
            "strings.quote(@string@)",
            "string(@string@)",
            "@map(int,string)@[@int@]",
            "tags.a[@int@]",
        ),
    ],
    "bytes": _forms("(@bytes@ + @bytes@)", "bytes(@string@)", "bytes(@bytes@)", "@list(bytes)@[@int@]"),
    "timestamp": _forms(
        "(@timestamp@ + @duration@)",
        "(@timestamp@ - @duration@)",
        "(@duration@ + @timestamp@)",
        "timestamp(@int@)",
        "timestamp(@timestamp@)",
        "@list(timestamp)@[@int@]",
    ),
    "duration": _forms(
        "(@duration@ + @duration@)",
        "(@duration@ - @duration@)",
        "(@timestamp@ - @timestamp@)",
        "duration(@duration@)",
        "@list(duration)@[@int@]",
    ),
    "list(string)": [
        *_forms(
            "(@list(string)@ + @list(string)@)",
            "@string@.split(@string@)",
            "@string@.split(@string@, @int@)",
            "[@string@, @string@]",
            "@map(string,list(string))@[@string@]",
        ),
        _filtered("string"),
        _mapped("string"),
    ],
    "list(int)": [
        *_forms("(@list(int)@ + @list(int)@)", "[@int@, @int@]", "@list(list(int))@[@int@]"),
        _filtered("int"),
        _mapped("int"),
    ],
    "list(list(int))": [*_forms("(@list(list(int))@ + @list(list(int))@)", "[@list(int)@]"), _mapped("list(int)")],
    **{
        f"list({kind})": [
            *_forms(f"(@list({kind})@ + @list({kind})@)", f"[@{kind}@]", f"([] + [@{kind}@])"),
            _filtered(kind),
            _mapped(kind),
        ]
        for kind in LISTS
        if kind not in ("string", "int")
    },
    **{kind: [lambda maker, depth, kind=kind: maker.literal(kind, depth)] for kind in MAPS},  # type: ignore[misc]
}
