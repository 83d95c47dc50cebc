"""What was filled in, judged: each value in its one form, each mistake said in a person's own language.

Owns what a value must be. A value that is wrong is kept as it was typed, so that nothing is lost by a mistake; one that no field
declares is not kept at all. The patterns are RE2: no text makes them slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from reflexarc_core.event import is_storable
from reflexarc_server.forms.words import word
from reflexarc_server.site.forms import LENGTH_MAX, Form, FormField

_YES: Final = frozenset(("on", "true", "1", "yes"))
Value = str | bool


@dataclass(frozen=True, slots=True)
class Filled:
    """values: by field, without those left empty. errors: field -> what is wrong. is_spam: the honeypot was filled in."""

    values: Mapping[str, Value]
    errors: Mapping[str, str]
    is_spam: bool


class _Wrong(Exception):
    """name: of words.WORDS. values: that stand in it."""

    def __init__(self, name: str, *values: int) -> None:
        super().__init__(name)
        self.name = name
        self.values = values


def judge(form: Form, given: Mapping[str, Any], language: str) -> Filled:
    """The values of a form as they came, JSON or text. Never raises for what a caller can send."""
    values: dict[str, Value] = {}
    errors: dict[str, str] = {}
    for each in form.fields:
        raw = given.get(each.name)
        try:
            value = _value(each, raw)
        except _Wrong as wrong:
            errors[each.name] = word(wrong.name, language, *wrong.values)
            value = raw.strip()[:LENGTH_MAX] if isinstance(raw, str) and is_storable(raw) else ""
        if value != "":
            values[each.name] = value
    bait = given.get(form.honeypot) if form.honeypot else None
    return Filled(values, errors, is_spam=bait not in (None, "", False))


def _value(each: FormField, raw: Any) -> Value:
    if each.type == "checkbox":
        is_on = raw is True or (isinstance(raw, str) and raw.strip().lower() in _YES)
        if each.required and not is_on:
            raise _Wrong("consent")
        return is_on
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        raw = str(raw)
    if raw is None:
        raw = ""
    if not isinstance(raw, str) or not is_storable(raw):
        raise _Wrong("text")
    text = raw.strip()
    if not text:
        if each.required:
            raise _Wrong("required")
        return ""
    if len(text) > each.max_length:
        raise _Wrong("max_length", each.max_length)
    if len(text) < each.min_length:
        raise _Wrong("min_length", each.min_length)
    if each.type == "select" and text not in each.options:
        raise _Wrong("options")
    if each.type == "email":
        text = _email(text)
    elif each.type == "phone":
        text = _phone(text, each.region)
    if each.pattern and not _pattern(each.pattern).fullmatch(text):
        raise _Wrong("pattern")
    return text


def _email(text: str) -> str:
    """In its one form: host in lower case and punycode undone, no look at the network."""
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        raise _Wrong("email") from None


def _phone(text: str, region: str) -> str:
    """In E.164."""
    import phonenumbers

    try:
        number = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException:
        raise _Wrong("phone") from None
    if not phonenumbers.is_valid_number(number):
        raise _Wrong("phone")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@lru_cache(maxsize=1_024)
def _pattern(pattern: str) -> Any:
    import re2

    return re2.compile(pattern)
