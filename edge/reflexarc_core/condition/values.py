"""What CEL's functions do to values, with CEL's errors: the one implementation both tiers use.

Sources: the CEL language definition (standard functions) and the CEL strings extension, held to the reference
implementation by a differential test. Must never return a wrong value where CEL has an error.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from reflexarc_core.condition import evaluation_error as kinds
from reflexarc_core.condition.evaluation_error import EvaluationError

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1
TEXT_LENGTH_MAX: Final = 1_048_576  # of a string or bytes an expression builds
LIST_LENGTH_MAX: Final = 65_536  # of a list an expression builds
DIGITS_BEFORE_EXPONENT: Final = 6  # a double of a million is written 1e+06
PATTERN_LENGTH_MAX: Final = 1_000
PATTERN_STATE_COUNT_MAX: Final = 2_000  # of a compiled pattern: a search may take as many steps for every character
PATTERN_BYTES_MAX: Final = 1 << 19  # while RE2 compiles it: a few milliseconds at worst, where its own limit allows 170

_INT_TEXT = re.compile(r"[+-]?[0-9]+\Z")
_DOUBLE_TEXT = re.compile(r"[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?|inf(inity)?|nan)\Z", re.I)
_HEX_TEXT = re.compile(r"[+-]?0x([0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(p[+-]?[0-9]+)?\Z", re.I)
_ASCII_BLANKS: Final = " \t\n\v\f\r"
_BLANKS: Final = _ASCII_BLANKS + "\x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
_ESCAPES: Final = {ord(character): f"\\{letter}" for character, letter in zip('\a\b\f\n\r\t\v\\"', 'abfnrtv\\"', strict=True)}
_TO_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_TO_UPPER: Final = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}


def _arithmetic(message: str) -> EvaluationError:
    return EvaluationError(kinds.ARITHMETIC, None, message)


def _range(message: str) -> EvaluationError:
    return EvaluationError(kinds.RANGE, None, message)


def _conversion(message: str) -> EvaluationError:
    return EvaluationError(kinds.CONVERSION, None, message)


# -- numbers: Python's do not overflow, and divide otherwise -------------------------------------------------------


def in_int(value: int) -> int:
    """The value, or an error where 64 bits would overflow."""
    if INT_MIN <= value <= INT_MAX:
        return value
    raise _arithmetic("integer overflow")


def in_uint(value: int) -> int:
    """The value, or an error where 64 unsigned bits would overflow."""
    if 0 <= value <= UINT_MAX:
        return value
    raise _arithmetic("unsigned integer overflow")


def divide_int(a: int, b: int) -> int:
    """Truncates towards zero."""
    if b == 0:
        raise _arithmetic("division by zero")
    quotient = abs(a) // abs(b)
    return in_int(quotient if (a < 0) == (b < 0) else -quotient)


def modulo_int(a: int, b: int) -> int:
    """Takes the sign of the dividend."""
    if b == 0:
        raise _arithmetic("modulus by zero")
    if a == INT_MIN and b == -1:
        raise _arithmetic("integer overflow")
    rest = abs(a) % abs(b)
    return -rest if a < 0 else rest


def divide_uint(a: int, b: int) -> int:
    """Whole part."""
    if b == 0:
        raise _arithmetic("division by zero")
    return a // b


def modulo_uint(a: int, b: int) -> int:
    """Rest."""
    if b == 0:
        raise _arithmetic("modulus by zero")
    return a % b


def divide_double(a: float, b: float) -> float:
    """IEEE 754: by zero gives an infinity or NaN, no error."""
    if b != 0.0:
        return a / b
    if a == 0.0 or a != a:
        return math.nan
    return math.copysign(math.inf, math.copysign(1.0, a) * math.copysign(1.0, b))


def double_to_int(value: float) -> int:
    """Truncates; an error outside 64 bits."""
    if -9223372036854775808.0 < value < 9223372036854775808.0:
        return int(value)
    raise _arithmetic("double out of int range")


def double_to_uint(value: float) -> int:
    """Truncates; an error outside 64 unsigned bits."""
    if 0.0 <= value < 18446744073709551616.0:
        return int(value)
    raise _arithmetic("double out of uint range")


def string_to_int(text: str) -> int:
    """Decimal digits with an optional sign; blanks around them are allowed, as the reference does."""
    stripped = text.strip(_ASCII_BLANKS)
    if len(stripped) > 64 or not _INT_TEXT.match(stripped):
        raise _conversion(f"{_shown(text)} is no int")
    return in_int(int(stripped))


def string_to_uint(text: str) -> int:
    """As `string_to_int`, not negative."""
    stripped = text.strip(_ASCII_BLANKS)
    if len(stripped) > 64 or not _INT_TEXT.match(stripped) or stripped.startswith("-"):
        raise _conversion(f"{_shown(text)} is no uint")
    return in_uint(int(stripped))


def string_to_double(text: str) -> float:
    """Decimal or hexadecimal notation, inf, infinity or nan."""
    stripped = text.strip(_ASCII_BLANKS)
    if len(stripped) <= 400 and _DOUBLE_TEXT.match(stripped):
        return float(stripped)
    if len(stripped) <= 400 and _HEX_TEXT.match(stripped):
        try:
            return float.fromhex(stripped)
        except OverflowError:
            return -math.inf if stripped.startswith("-") else math.inf
    raise _conversion(f"{_shown(text)} is no double")


def double_to_string(value: float) -> str:
    """The shortest digits that mean this very double; with an exponent below 0.0001 and from a million on."""
    if not math.isfinite(value):
        return "nan" if value != value else "inf" if value > 0 else "-inf"
    whole, _, after = repr(value).lstrip("-").partition("e")
    before, _, fraction = whole.partition(".")
    digits = (before + fraction).lstrip("0")
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    if not digits:
        return f"{sign}0"
    # Where the point stands: how many digits are in front of it, negative for zeros behind it.
    point = (len(before) if before.strip("0") else len(digits) - len(fraction)) + int(after or "0")
    digits = digits.rstrip("0")
    if not -4 <= point - 1 < DIGITS_BEFORE_EXPONENT:
        rest = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{rest}e{'-' if point < 1 else '+'}{abs(point - 1):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if len(digits) <= point:
        return sign + digits.ljust(point, "0")
    return f"{sign}{digits[:point]}.{digits[point:]}"


def string_to_bool(text: str) -> bool:
    """true, false and their short forms."""
    if text in ("true", "True", "TRUE", "t", "1"):
        return True
    if text in ("false", "False", "FALSE", "f", "0"):
        return False
    raise _conversion(f"{_shown(text)} is no bool")


def bytes_to_string(value: bytes) -> str:
    """UTF-8, strictly."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise _conversion("the bytes are no UTF-8") from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


# -- equality and containers: `==` on containers looks at identity first, so NaN would equal itself ----------------


def equal_deep(a: Any, b: Any) -> bool:
    """Lists by element, maps by key and value, NaN equal to nothing."""
    if isinstance(a, Mapping):
        return len(a) == len(b) and all(key in b and equal_deep(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(equal_deep(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def unequal_deep(a: Any, b: Any) -> bool:
    """The negation."""
    return not equal_deep(a, b)


def in_deep(value: Any, items: Sequence[Any]) -> bool:
    """Membership by `equal_deep`."""
    return any(equal_deep(value, item) for item in items)


def in_doubles(value: float, items: Sequence[float]) -> bool:
    """NaN is in no list."""
    return value == value and value in items


def index_list(items: Sequence[Any], index: int) -> Any:
    """A negative index is an error, not the end of the list."""
    if 0 <= index < len(items):
        return items[index]
    raise _range(f"index {index} of a list of {len(items)}")


def index_map(held: Mapping[Any, Any], key: Any) -> Any:
    """The value, or the error that there is no such key."""
    if key in held:
        return held[key]
    raise EvaluationError(kinds.NO_KEY, None, f"no such key: {_shown(str(key))}")


def make_map(pairs: Sequence[Any]) -> dict[Any, Any]:
    """A map literal; the same key twice is an error."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise EvaluationError(kinds.NO_KEY, None, "a map literal has the same key twice")
    return made


def add_text(a: Any, b: Any) -> Any:
    """Strings or bytes, within TEXT_LENGTH_MAX."""
    if len(a) + len(b) > TEXT_LENGTH_MAX:
        raise _too_long()
    return a + b


def add_list(a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
    """Within LIST_LENGTH_MAX."""
    if len(a) + len(b) > LIST_LENGTH_MAX:
        raise _too_long()
    return [*a, *b]


def _too_long() -> EvaluationError:
    return EvaluationError(kinds.LIMIT, None, "an expression builds something too long")


# -- strings -------------------------------------------------------------------------------------------------------


def char_at(text: str, index: int) -> str:
    """Empty at the very end."""
    if 0 <= index <= len(text):
        return text[index : index + 1]
    raise _range(f"charAt({index}) of {len(text)} characters")


def index_of(text: str, part: str, start: int = 0) -> int:
    """-1 when it is not there."""
    if 0 <= start <= len(text):
        return text.find(part, start)
    raise _range(f"indexOf from {start} of {len(text)} characters")


def last_index_of(text: str, part: str, last: int | None = None) -> int:
    """The last place at or before `last`; -1 when there is none."""
    if last is None:
        return text.rfind(part)
    if 0 <= last <= len(text):
        return text.rfind(part, 0, last + len(part))
    raise _range(f"lastIndexOf up to {last} of {len(text)} characters")


def lower_ascii(text: str) -> str:
    """Letters outside ASCII stay."""
    return text.lower() if text.isascii() else text.translate(_TO_LOWER)


def upper_ascii(text: str) -> str:
    """Letters outside ASCII stay."""
    return text.upper() if text.isascii() else text.translate(_TO_UPPER)


def replace(text: str, old: str, new: str, limit: int = -1) -> str:
    """At most `limit` times when it is not negative."""
    if len(text) + text.count(old) * len(new) > TEXT_LENGTH_MAX:
        raise _too_long()
    return text.replace(old, new, limit if limit >= 0 else -1)


def split(text: str, separator: str, limit: int = -1) -> list[str]:
    """At most `limit` pieces when it is not negative; an empty separator gives the characters."""
    if limit == 0:
        return []
    if separator:
        if text.count(separator) >= LIST_LENGTH_MAX:
            raise _too_long()
        return text.split(separator, limit - 1 if limit > 0 else -1)
    if len(text) > LIST_LENGTH_MAX:
        raise _too_long()
    if not text:  # one empty piece, as the reference gives
        return [""]
    if limit < 0 or limit >= len(text):
        return list(text)
    return [*text[: limit - 1], text[limit - 1 :]]


def substring(text: str, start: int, end: int | None = None) -> str:
    """From start up to end; an error when they are not in order within the text.

    As the definition has it: cel-expr-python 0.1.3 alone refuses an end that is the text's own end.
    """
    stop = len(text) if end is None else end
    if 0 <= start <= stop <= len(text):
        return text[start:stop]
    raise _range(f"substring({start}, {stop}) of {len(text)} characters")


def trim(text: str) -> str:
    """Unicode white space at both ends goes."""
    return text.strip(_BLANKS)


def quote(text: str) -> str:
    """As a literal in double quotes; control characters that have a letter are escaped, the others stay."""
    if len(text) > TEXT_LENGTH_MAX // 2:
        raise _too_long()
    return f'"{text.translate(_ESCAPES)}"'


def join(items: Sequence[str], separator: str = "") -> str:
    """Within TEXT_LENGTH_MAX."""
    if sum(len(item) for item in items) + len(separator) * len(items) > TEXT_LENGTH_MAX:
        raise _too_long()
    return separator.join(items)


# -- patterns: RE2, so the time a pattern takes is linear in the text ----------------------------------------------


@functools.lru_cache(maxsize=512)
def search_of(pattern: str) -> Callable[[str], Any]:
    """The search function of an RE2 pattern. Raises EvaluationError when RE2 refuses it, when it is too large to be
    searched for quickly, or when RE2 is not installed."""
    if len(pattern) > PATTERN_LENGTH_MAX:
        raise EvaluationError(kinds.PATTERN, None, f"a pattern is longer than {PATTERN_LENGTH_MAX}")
    try:
        import re2
    except ImportError:
        raise EvaluationError(kinds.PATTERN, None, "patterns need reflexarc[edge], which brings google-re2") from None
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_BYTES_MAX
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise EvaluationError(kinds.PATTERN, None, f"no RE2 pattern: {reason}") from None
    if compiled.programsize > PATTERN_STATE_COUNT_MAX:
        raise EvaluationError(
            kinds.PATTERN, None, f"a pattern of {compiled.programsize} states, more than {PATTERN_STATE_COUNT_MAX}"
        )
    search: Callable[[str], Any] = compiled.search
    return search


def matches(text: str, pattern: str) -> bool:
    """Whether the pattern is found anywhere in the text."""
    return search_of(pattern)(text) is not None
