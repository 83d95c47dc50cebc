"""The site's `forms` section: which forms there are, what each asks, and where a lead goes.

    forms:
      quote:
        type: lead_gen                    # contact, newsletter, lead_gen, support
        to: [hubspot, sales]              # channels of this site
        identify_by: email                # the browser becomes the person of that address: anybody can type one
        honeypot: website                 # a field that people do not see
        thanks: https://shop.example/thanks
        fields:
          email: {type: email, required: true, label: {en: E-mail, de: E-Mail}}
          phone: {type: phone, region: DE}
          message: {type: textarea, min_length: 10, max_length: 2000}
          plan: {type: select, options: [small, large], in_event: true}
          news: {type: checkbox, consent: newsletter}

The same declaration is given to browsers, which check by it too; what counts is the check here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from reflexarc_build.source import Mistakes, Node, Reading

FORM_TYPES: Final = ("contact", "newsletter", "lead_gen", "support")
FIELD_TYPES: Final = ("text", "email", "phone", "textarea", "checkbox", "select", "hidden")
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_\-]{0,63}")
FIELDS_MAX: Final = 60
LENGTH_MAX: Final = 10_000
_DEFAULT_LENGTH: Final = {"textarea": 5_000}
PATTERN_LENGTH_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class FormField:
    """One field. label: by language, `` for every language. min_length, max_length: characters of what is not empty.

    pattern: RE2, of the whole text. consent: the purpose that a checkbox allows. options: of a select. region: of a phone number
    without a country. in_event: its value goes into the event too; without it only the lead has it.
    """

    name: str
    type: str = "text"
    label: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    required: bool = False
    min_length: int = 0
    max_length: int = 500
    pattern: str = ""
    consent: str = ""
    options: tuple[str, ...] = ()
    region: str = ""
    in_event: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """One form. to: channels. identify_by: the field whose value says who it is, empty for none. thanks: where a page without
    script goes afterwards, empty: back to where it came from."""

    form_id: str
    form_type: str
    fields: tuple[FormField, ...]
    to: tuple[str, ...] = ()
    identify_by: str = ""
    honeypot: str = ""
    thanks: str = ""


Forms = Mapping[str, Form]


def read(node: Node, mistakes: Mistakes) -> Forms:
    """The section: forms by id. What is wrong is noted."""
    if not isinstance(node.value, dict):
        mistakes.add(node, "forms is not a mapping", "write it as FORM_ID: VALUE lines")
    return MappingProxyType({form_id: _form(form_id, entry, mistakes) for form_id, entry in node.items()})


def _form(form_id: str, entry: Node, mistakes: Mistakes) -> Form:
    what = f"form {form_id}"
    reading = Reading(entry, what, mistakes)
    if not NAME.fullmatch(form_id):
        mistakes.add(entry, f"{what}: this is no id of a form", "letters, digits, _ or -, a letter first, at most 64")
    entries = reading.entries("fields")
    if not entries or len(entries) > FIELDS_MAX:
        mistakes.add(entry, f"{what} has {len(entries)} fields", f"1 to {FIELDS_MAX}")
    fields = tuple(_field(what, name, each, mistakes) for name, each in entries[:FIELDS_MAX])
    form = Form(
        form_id, reading.text("type", "contact", required=True, one_of=FORM_TYPES), fields, reading.names("to"),
        reading.text("identify_by"), reading.text("honeypot"), reading.text("thanks"),
    )  # fmt: skip
    types = {each.name: each.type for each in fields}
    if form.identify_by and types.get(form.identify_by) != "email":
        mistakes.add(reading.node_of("identify_by") or entry, f"{what}: {form.identify_by} is no e-mail field", "name one")
    if form.honeypot in types:
        mistakes.add(reading.node_of("honeypot") or entry, f"{what}: {form.honeypot} is a field that people see", "another name")
    if form.thanks and not re.fullmatch(r"(https?://|/)[^\s\\]*", form.thanks):
        mistakes.add(reading.node_of("thanks") or entry, f"{what}: thanks is no address", "https://HOST/PATH or /PATH")
    reading.finish()
    return form


def _field(form: str, name: str, entry: Node, mistakes: Mistakes) -> FormField:
    what = f"{form}: {name}"
    reading = Reading(entry, what, mistakes)
    if not NAME.fullmatch(name):
        mistakes.add(entry, f"{what}: this is no name of a field", "letters, digits, _ or -, a letter first, at most 64")
    kind = reading.text("type", "text", one_of=FIELD_TYPES)
    made = FormField(
        name, kind, _label(reading, what), reading.flag("required"), int(reading.number("min_length", 0, high=LENGTH_MAX)),
        int(reading.number("max_length", _DEFAULT_LENGTH.get(kind, 500), low=1, high=LENGTH_MAX)), reading.text("pattern"),
        reading.text("consent"), reading.names("options"), reading.text("region").upper(), reading.flag("in_event"),
    )  # fmt: skip
    if made.min_length > made.max_length:
        mistakes.add(entry, f"{what}: min_length is over max_length", "turn them round")
    if made.consent and kind != "checkbox":
        mistakes.add(entry, f"{what}: consent of a {kind}", "people say yes in a checkbox")
    if bool(made.options) != (kind == "select"):
        mistakes.add(entry, f"{what}: options {'of' if made.options else 'are missing in'} a {kind}", "a select has options")
    if made.pattern and (len(made.pattern) > PATTERN_LENGTH_MAX or not _is_pattern(made.pattern)):
        mistakes.add(reading.node_of("pattern") or entry, f"{what}: this is no pattern", "RE2 syntax, without look-around")
    reading.finish()
    return made


def _label(reading: Reading, what: str) -> Mapping[str, str]:
    node = reading.node_of("label")
    if node is None:
        return MappingProxyType({})
    if isinstance(node.value, dict) and all(isinstance(each.value, str) for _, each in node.items()):
        return MappingProxyType({language: each.value for language, each in node.items()})
    if not isinstance(node.value, str):
        reading.mistakes.add(node, f"{what}: label is no text", "write text, or {en: ..., de: ...}")
        return MappingProxyType({})
    return MappingProxyType({"": node.value})


def _is_pattern(pattern: str) -> bool:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error:
        return False
    return True
