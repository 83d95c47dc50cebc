"""CRM channels: a lead becomes one record of HubSpot or Salesforce, through their own client packages (extra `[crm]`).

Owns the upsert by the record's id, so that a second attempt never makes a second record, and what their errors mean: the table is
`answers`'. The packages are imported where they are used. Must never log or repeat what they answer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from reflexarc_core.errors import DefinitionError
from reflexarc_server.channels.answers import judge
from reflexarc_server.channels.channel import Channel, Outgoing, Refused, Unreachable
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site
from reflexarc_server.site.crm import Crm

_HINT: Final = "pip install 'reflexarc[crm]'"
_WORD_MAX: Final = 60


def mapped(crm: Crm, outgoing: Outgoing) -> tuple[str, dict[str, Any]]:
    """(the record's id, the other fields) of a message. Raises Refused when it has no id: it could not be found again."""
    found = {name: value for name, source in crm.fields.items() if (value := source.of(outgoing.body)) is not None}
    record_id = str(found.pop(crm.id_field, "")).strip()
    if not record_id:
        raise Refused(f"{crm.name}: the message has nothing for {crm.id_field}", hint="map it, or require that field in the form")
    return record_id, found


class HubSpotChannel:
    """Contacts of one HubSpot account: one call of their batch upsert."""

    def __init__(self, crm: Crm) -> None:
        """Raises DefinitionError when the package is not there."""
        try:
            import urllib3
            from hubspot import Client
            from hubspot.crm import contacts
        except ImportError:
            raise DefinitionError(f"crm {crm.name} needs the hubspot-api-client package", hint=_HINT) from None
        self.name = crm.name
        self._crm = crm
        self._contacts = contacts
        # The outbox tries again; and whoever answers with a redirect is not the one we know.
        more = {"ssl_ca_cert": crm.ca_file} if crm.ca_file else {}
        token = crm.token.text if crm.token is not None else ""
        client = Client.create(access_token=token, host=crm.url, retry=urllib3.Retry(False), **more)
        self._api = client.crm.contacts.batch_api
        self._no_answer = urllib3.exceptions.HTTPError

    def send(self, outgoing: Outgoing) -> None:
        """See Channel."""
        record_id, fields = mapped(self._crm, outgoing)
        made = self._contacts.SimplePublicObjectBatchInputUpsert(
            id_property=self._crm.id_field, id=record_id, object_write_trace_id=outgoing.key,
            properties={self._crm.id_field: record_id, **{name: _hubspot_text(value) for name, value in fields.items()}},
        )  # fmt: skip
        batch = self._contacts.BatchInputSimplePublicObjectBatchInputUpsert(inputs=[made])
        try:
            answer = self._api.upsert(batch, _request_timeout=self._crm.timeout_s)
        except self._contacts.ApiException as error:
            headers = error.headers or {}
            if not error.status:
                raise Unreachable(f"{self.name} could not be reached: {type(error).__name__}") from None
            judge(self.name, int(error.status), headers.get("Retry-After"), _word(error.body, "category"))
            raise Unreachable(f"{self.name} answered {error.status}, which its package did not understand") from None
        except self._no_answer as error:
            raise Unreachable(f"{self.name} could not be reached: {type(error).__name__}") from None
        if getattr(answer, "num_errors", 0):
            raise Refused(f"{self.name} did not take the record")


class SalesforceChannel:
    """Records of one Salesforce organisation: an upsert by an external id, with a session by the client credentials flow."""

    def __init__(self, crm: Crm) -> None:
        """Raises DefinitionError when the package is not there."""
        try:
            import requests
            import simple_salesforce
        except ImportError:
            raise DefinitionError(f"crm {crm.name} needs the simple-salesforce package", hint=_HINT) from None
        self.name = crm.name
        self._crm = crm
        self._package: Any = simple_salesforce
        self._no_answer = requests.RequestException
        self._make_session = requests.Session
        self._lock = threading.Lock()
        self._token = ""
        self._local = threading.local()

    def send(self, outgoing: Outgoing) -> None:
        """See Channel."""
        record_id, fields = mapped(self._crm, outgoing)
        try:
            self._upsert(record_id, fields)
        except self._package.SalesforceExpiredSession:
            self._forget()
            try:
                self._upsert(record_id, fields)
            except self._package.SalesforceError as error:
                self._judge(error)
        except self._package.SalesforceError as error:
            self._judge(error)
        except self._no_answer as error:
            raise Unreachable(f"{self.name} could not be reached: {type(error).__name__}") from None

    def _upsert(self, record_id: str, fields: dict[str, Any]) -> None:
        token = self._session_token()
        if getattr(self._local, "token", "") != token:
            session = self._new_session()
            client = self._package.Salesforce(instance_url=self._crm.url, session_id=token, session=session)
            self._local.records, self._local.token = getattr(client, self._crm.object), token
        self._local.retry_after = None
        self._local.records.upsert(f"{self._crm.id_field}/{quote(record_id, safe='')}", fields)

    def _judge(self, error: Any) -> None:
        content = error.content
        first = content[0] if isinstance(content, list) and content else content
        word = str(first.get("errorCode", ""))[:_WORD_MAX] if isinstance(first, dict) else ""
        if word in ("REQUEST_LIMIT_EXCEEDED", "UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE"):  # said with 403 and 400
            raise Unreachable(f"{self.name} answered {error.status} {word}") from None
        judge(self.name, int(error.status), self._local.retry_after, word)

    def _session_token(self) -> str:
        with self._lock:
            if not self._token:
                crm = self._crm
                secrets = [each.text if each is not None else "" for each in (crm.client_id, crm.client_secret)]
                answer = self._new_session().post(
                    f"{crm.url}/services/oauth2/token",
                    data={"grant_type": "client_credentials", "client_id": secrets[0], "client_secret": secrets[1]},
                )
                if answer.status_code in (400, 401, 403):  # the operator's to mend: nothing is wrong with the message
                    raise Unreachable(f"{self.name} does not take the credentials: {answer.status_code}")
                judge(self.name, answer.status_code, answer.headers.get("retry-after"))
                self._token = str(answer.json()["access_token"])
            return self._token

    def _forget(self) -> None:
        with self._lock:
            self._token = ""

    def _new_session(self) -> Any:
        """A session that never waits for ever, follows no redirect and keeps what it is told of when to come again."""
        session: Any = self._make_session()
        session.verify = self._crm.ca_file or True
        session.trust_env = False
        its, timeout_s, local = session.request, self._crm.timeout_s, self._local

        def request(method: str, url: str, **more: Any) -> Any:
            answer = its(method, url, **{"timeout": timeout_s, **more, "allow_redirects": False})
            local.retry_after = answer.headers.get("retry-after")
            return answer

        session.request = request
        return session


def crms(parts: Parts, site: Site) -> Iterable[Channel]:
    """The channels of a site's `crm`. Raises DefinitionError when a client package is not installed."""
    return [HubSpotChannel(crm) if crm.kind == "hubspot" else SalesforceChannel(crm) for crm in site.crm]


def _hubspot_text(value: Any) -> str:
    """HubSpot's properties are text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _word(body: Any, name: str) -> str:
    """One machine-readable word of an answer; the rest may say things about people."""
    try:
        said = json.loads(body)
        return str(said.get(name, ""))[:_WORD_MAX] if isinstance(said, dict) else ""
    except (TypeError, ValueError):
        return ""


__all__ = ["HubSpotChannel", "SalesforceChannel", "crms", "mapped"]
