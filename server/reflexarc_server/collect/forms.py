"""Forms over HTTP: the declaration for browsers, and what they send, as JSON or as a page without script posts it.

Owns the form of both. A page without script is answered with a redirect, or with its mistakes as a plain page. Must never log
what was sent, nor put it into an answer.
"""

from __future__ import annotations

import html
import json
import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import is_storable
from reflexarc_server.collect.callers import Callers, is_proven
from reflexarc_server.collect.front import Refused
from reflexarc_server.collect.identities import ID_LENGTH_MAX
from reflexarc_server.collect.times import corrected
from reflexarc_server.forms import declared
from reflexarc_server.forms.words import language_of
from reflexarc_server.leads import Leads, Submission
from reflexarc_server.leads.taking import URL_LENGTH_MAX
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site
from reflexarc_server.site.forms import Form

FIELDS_MAX: Final = 200
_JSON: Final = "application/json"
_OWN: Final = ("key", "id", "anonymous_id", "known_id", "known_proof")
_PLAIN: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


def routes(parts: Parts, site: Site) -> list[BaseRoute]:
    """The paths of a site's forms. Raises DefinitionError when one goes to a channel that is not there."""
    its = _Forms(parts, site)
    return [
        Route("/forms/{form_id}.json", its.declaration, methods=["GET"]),
        Route("/forms/{form_id}", its.sent, methods=["POST"]),
        Route("/forms/{form_id}", its.asked, methods=["OPTIONS"]),
    ]


class _Forms:
    def __init__(self, parts: Parts, site: Site) -> None:
        self._parts = parts
        self._forms = site.forms
        self._callers = Callers(site.web)
        internal = site.enrichment.internal if site.enrichment is not None else frozenset()
        self._leads = Leads(parts, internal, site.identity.secret)
        for form in site.forms.values():
            for missing in sorted(set(form.to) - parts.outbox.channels):
                hint = f"the site has: {', '.join(sorted(parts.outbox.channels)) or 'none'}"
                raise DefinitionError(f"form {form.form_id} goes to {missing}, which is no channel", hint=hint)

    async def declaration(self, request: Request) -> Response:
        form = self._form(request)
        language = language_of(request.headers.get("accept-language", ""))
        headers = {"access-control-allow-origin": "*", "cache-control": "public, max-age=300", "vary": "accept-language"}
        return JSONResponse(declared(form, language), headers=headers)

    async def asked(self, request: Request) -> Response:
        headers = self._callers.preflight(request.headers.get("origin", ""))
        return Response(status_code=204, headers=_text(headers))

    async def sent(self, request: Request) -> Response:
        form = self._form(request)
        self._callers.take_address(request.client.host if request.client else "", 0)  # before anything of it is read
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_plain = kind in _PLAIN
        given = await _plain(request) if is_plain else await _body(request, kind)
        origin = request.headers.get("origin", "")
        key = self._callers.known(_id(given, "key"), "" if origin == "null" and is_plain else origin)
        self._callers.take_key(key, 0)
        now = self._parts.clock.now_ms()
        language = language_of(request.headers.get("accept-language", ""))
        submission = Submission(
            form, key.name, _id(given, "id") or secrets.token_hex(16), _id(given, "anonymous_id"), given["values"],
            _url(given.get("page_url") or (request.headers.get("referer", "") if is_plain else "")),
            corrected(_time(given.get("time")), 0, now), given.get("partial") is True, language,
            _id(given, "known_id"), partial(is_proven, key, proof=_id(given, "known_proof")),
        )  # fmt: skip
        filled = await run_in_threadpool(self._leads.take, submission)
        errors = {} if filled.is_spam else dict(filled.errors)
        if is_plain:
            return _page(form, submission.page_url, errors, language)
        headers = _text(self._callers.cors(origin))
        return JSONResponse({"errors": errors}, 422, headers) if errors else JSONResponse({"ok": True}, 200, headers)

    def _form(self, request: Request) -> Form:
        form = self._forms.get(request.path_params["form_id"])
        if form is None:
            raise Refused(404, "unknown_form", "the site file has no form of this name")
        return form


async def _body(request: Request, kind: str) -> dict[str, Any]:
    if kind not in (_JSON, "text/plain"):  # a beacon may not name JSON
        raise Refused(415, "unknown_content_type", f"send {_JSON}, or post the form")
    try:
        given = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise Refused(400, "no_json", "send a JSON object") from None
    if not isinstance(given, dict) or not isinstance(given.get("values"), dict) or len(given["values"]) > FIELDS_MAX:
        raise Refused(400, "no_submission", "an object with key, id and values")
    return given


async def _plain(request: Request) -> dict[str, Any]:
    """A posted form: its own fields, and `_key`, `_id`, `_anonymous_id`, `_known_id`, `_known_proof` in hidden ones."""
    try:
        async with request.form(max_files=0, max_fields=FIELDS_MAX) as posted:
            values = {name: value for name, value in posted.items() if isinstance(value, str)}
    except Refused:
        raise
    except Exception:  # whatever a parser says of hostile bytes
        raise Refused(400, "no_form", "post the form's fields, without files") from None
    return {name: values.pop(f"_{name}", "") for name in _OWN} | {"values": values}


def _id(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > ID_LENGTH_MAX or not is_storable(value):
        raise Refused(400, "no_id", f"{name} is a text of at most {ID_LENGTH_MAX} characters")
    return value


def _time(value: Any) -> float:
    """A sender's time, 0 where it said none or one that no clock has."""
    try:
        return float(value) if isinstance(value, (int, float)) else 0.0
    except OverflowError:
        return 0.0


def _url(value: Any) -> str:
    return value[:URL_LENGTH_MAX] if isinstance(value, str) and is_storable(value) else ""


def _page(form: Form, page_url: str, errors: Mapping[str, str], language: str) -> Response:
    """What a page without script sees: thanks, by a redirect that a reload does not send again, or its mistakes."""
    if errors:
        labels = {each["name"]: each.get("label", each["name"]) for each in declared(form, language)["fields"]}
        lines = "".join(f"<li>{html.escape(labels[name])}: {html.escape(text)}</li>" for name, text in errors.items())
        return HTMLResponse(f'<!doctype html><html lang="{language}"><meta charset="utf-8"><ul>{lines}</ul></html>', 422)
    back = page_url if urlsplit(page_url).scheme in ("http", "https") else ""
    where = form.thanks or back
    return RedirectResponse(where, 303) if where else Response(status_code=204)


def _text(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
