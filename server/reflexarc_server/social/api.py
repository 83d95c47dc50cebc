"""Posting an answer on a platform: one small port, an adapter each.

Owns the platforms' calls and what their answers mean: posted, surely not posted and to be tried again, refused for good, or not
to be known. Speaks HTTP by the standard library, to a base address that a test may set. Must never be called twice for one
response without a person's word where the first call's end is not known.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from reflexarc_server.site.social import Platform, Social
from reflexarc_server.social.post import FACEBOOK, LINKEDIN, TWITTER

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 1 << 20
LINKEDIN_VERSION: Final = "202506"


class NotPosted(Exception):
    """Surely not posted, and another try may do. retry_after_ms: when, 0 for the caller's own pace."""

    def __init__(self, reason: str, retry_after_ms: int = 0) -> None:
        super().__init__(reason)
        self.retry_after_ms = retry_after_ms


class RefusedForGood(Exception):
    """The platform does not take it, and never will."""


class NotKnown(Exception):
    """It may have been posted: the call began and its end was not heard."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is posted. post_id: what it answers. account: ours that answers, where the platform wants one."""

    post_id: str
    text: str
    account: str = ""


class SocialApi(Protocol):
    """One platform's. Raises NotPosted, RefusedForGood or NotKnown."""

    def reply(self, answer: Answer) -> str:
        """Post it; the id the platform gave it."""
        ...


class XApi:
    """X, API v2: POST /2/tweets."""

    def __init__(self, base: str, token: str) -> None:
        self._base, self._token = base, token

    def reply(self, answer: Answer) -> str:
        """See SocialApi."""
        body = {"text": answer.text, "reply": {"in_reply_to_tweet_id": answer.post_id}}
        _, made = _post(f"{self._base}/2/tweets", json.dumps(body).encode(), _bearer(self._token))
        data = made.get("data")
        return str(data.get("id", "")) if isinstance(data, dict) else ""


class FacebookApi:
    """The Graph API of a page: POST /{post or comment}/comments."""

    def __init__(self, base: str, token: str) -> None:
        self._base, self._token = base, token

    def reply(self, answer: Answer) -> str:
        """See SocialApi."""
        form = urllib.parse.urlencode({"message": answer.text}).encode()
        headers = {**_bearer(self._token), "Content-Type": "application/x-www-form-urlencoded"}
        _, made = _post(f"{self._base}/{urllib.parse.quote(answer.post_id, safe='')}/comments", form, headers)
        return str(made.get("id", ""))


class LinkedInApi:
    """Community Management: POST /rest/socialActions/{urn}/comments, as the organization."""

    def __init__(self, base: str, token: str) -> None:
        self._base, self._token = base, token

    def reply(self, answer: Answer) -> str:
        """See SocialApi."""
        urn = urllib.parse.quote(answer.post_id, safe="")
        body = {"actor": answer.account, "object": answer.post_id, "message": {"text": answer.text}}
        headers = {**_bearer(self._token), "LinkedIn-Version": LINKEDIN_VERSION, "X-Restli-Protocol-Version": "2.0.0"}
        named, made = _post(f"{self._base}/rest/socialActions/{urn}/comments", json.dumps(body).encode(), headers)
        return named or str(made.get("id", ""))


_MAKERS: Final[dict[str, Callable[[str, str], SocialApi]]] = {TWITTER: XApi, FACEBOOK: FacebookApi, LINKEDIN: LinkedInApi}


def apis_of(social: Social) -> dict[str, SocialApi]:
    """An API for every platform that has a token."""
    return {name: _MAKERS[name](said.base, _token(said)) for name, said in social.platforms.items() if said.token is not None}


def _token(said: Platform) -> str:
    assert said.token is not None
    return said.token.text


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take our token elsewhere."""

    def redirect_request(self, *given: Any, **named: Any) -> None:
        return None


_opener: Final = urllib.request.build_opener(_NoRedirect)


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """(x-restli-id, the answer's JSON object)."""
    request = urllib.request.Request(url, body, dict(headers), method="POST")
    try:
        with _opener.open(request, timeout=TIMEOUT_S) as answer:
            content = answer.read(ANSWER_BYTES_MAX)
            named = str(answer.headers.get("x-restli-id", ""))
    except urllib.error.HTTPError as error:
        with error:
            raise _meaning(error.code, error.headers) from None
    except urllib.error.URLError as error:
        # Only a connection that was never made is sure to have brought nothing.
        if isinstance(error.reason, (ConnectionRefusedError,)) or "getaddrinfo" in type(error.reason).__name__.lower():
            raise NotPosted("the platform cannot be reached") from None
        raise NotKnown("the connection broke") from None
    except (OSError, http.client.HTTPException):
        raise NotKnown("no whole answer came") from None
    try:
        made = json.loads(content) if content else {}
    except ValueError:
        made = {}
    return named, made if isinstance(made, dict) else {}


def _meaning(status: int, headers: Any) -> Exception:
    if status in (429, 503):
        after = headers.get("retry-after", "")
        return NotPosted(f"status {status}", int(after) * 1_000 if after.isdecimal() and len(after) < 7 else 0)
    if status >= 500 or status == 408:
        return NotKnown(f"status {status}")
    return RefusedForGood(f"status {status}")
