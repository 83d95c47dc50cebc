"""Actions as authors write them: payload fields that are literals, `${expressions}`, or text with both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from reflexarc_build.cel import check_expression
from reflexarc_build.source import Mistakes, Node, Reading, shown
from reflexarc_core.condition import CheckedExpression
from reflexarc_core.condition.types import CelType
from reflexarc_core.errors import DefinitionError
from reflexarc_core.trigger import Action, Field, Template

_PART = re.compile(r"\$\{([^}]*)\}")
PAYLOAD_FIELDS_MAX: Final = 256
_IN_TEXT = ("string", "int", "uint", "bool")


def read_action(name: str, node: Node, names: Mapping[str, CelType], mistakes: Mistakes) -> Action:
    """One action of the catalog; what is wrong is noted in `mistakes`."""
    reading = Reading(node, f"action {name}", mistakes)
    fallback = reading.text("fallback", "en")
    payload: dict[str, Field] = {}
    entries = reading.entries("payload")
    if len(entries) > PAYLOAD_FIELDS_MAX:
        mistakes.add(entries[-1][1], f"action {name}: a payload of {len(entries)} fields", f"at most {PAYLOAD_FIELDS_MAX}")
    for field_name, field_node in entries[:PAYLOAD_FIELDS_MAX]:
        what = f"action {name}: {field_name}"
        if isinstance(field_node.value, dict):
            languages = {tag: _template(what, inner, names, mistakes) for tag, inner in field_node.items()}
            if fallback not in languages:
                mistakes.add(field_node, f"{what} has no {fallback}, the fallback language", f"write {fallback}: ...")
            payload[field_name] = Field(languages)
        else:
            payload[field_name] = Field({"": _template(what, field_node, names, mistakes)})
    action = Action(
        name=name, channel=reading.text("channel", "in_app"), payload=payload, fallback=fallback,
        description=reading.text("description"),
    )  # fmt: skip
    reading.finish()
    return action


def _template(what: str, node: Node, names: Mapping[str, CelType], mistakes: Mistakes) -> Template:
    text = node.value
    if not isinstance(text, str):
        if isinstance(text, (dict, list)) or text is None or text != text or text in (float("inf"), -float("inf")):
            mistakes.add(
                node, f"{what} is {shown(text)}, which is no value", "write text, a number, true or false, or ${expression}"
            )
            return Template(literal="")
        return Template(literal=text)
    if "${" in _PART.sub("", text):
        mistakes.add(node, f"{what}: a ${{ is never closed", "write ${expression}")
    whole = _PART.fullmatch(text)
    if whole:
        checked = _check(what, whole[1], node, names, mistakes)
        return Template(expression=checked) if checked else Template(literal="")
    if not _PART.search(text):
        return Template(literal=text)
    parts: list[str | CheckedExpression] = []
    for index, piece in enumerate(_PART.split(text)):
        if index % 2 == 0:
            if piece:
                parts.append(piece)
            continue
        checked = _check(what, piece, node, names, mistakes)
        if checked is None:
            continue
        if str(checked.result_type) not in _IN_TEXT:
            mistakes.add(
                node, f"{what}: {piece} is {checked.result_type}, which has no one text form",
                "put it in a field of its own, as the whole value",
            )  # fmt: skip
        parts.append(checked)
    return Template(text=tuple(parts))


def _check(what: str, text: str, node: Node, names: Mapping[str, CelType], mistakes: Mistakes) -> CheckedExpression | None:
    try:
        return check_expression(text, names)
    except DefinitionError as error:
        mistakes.add(node, f"{what}: {error.message}", error.hint)
        return None
