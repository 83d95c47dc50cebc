"""A form as browsers get it: the fields and their bounds, in one language.

Owns the form of that JSON. Must never say where a lead goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reflexarc_server.site.forms import Form, FormField


def declared(form: Form, language: str) -> dict[str, Any]:
    """What `GET /forms/FORM_ID.json` answers."""
    fields = [_field(each, language) for each in form.fields]
    return {"form_id": form.form_id, "form_type": form.form_type, "fields": fields, "honeypot": form.honeypot}


def _field(each: FormField, language: str) -> dict[str, Any]:
    said: dict[str, Any] = {"name": each.name, "type": each.type}
    label = in_language(each.label, language)
    if label:
        said["label"] = label
    for name in ("required", "min_length", "pattern", "consent", "region"):
        if getattr(each, name):
            said[name] = getattr(each, name)
    if each.type not in ("checkbox", "select"):
        said["max_length"] = each.max_length
    if each.options:
        said["options"] = list(each.options)
    return said


def in_language(texts: Mapping[str, str], language: str) -> str:
    """A text of several languages in this one, else in the one for all, else in English, else in any."""
    for tag in (language, "", "en", *texts):
        if tag in texts:
            return texts[tag]
    return ""
