"""Who may see and decide over HTTP on a server with keys; and that an erased person is gone from cases, queue and tree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from reflexarc_cli.main import cli
from reflexarc_core.errors import PermissionDeniedError, UnauthenticatedError
from reflexarc_server.app import Server, http_options
from reflexarc_server.certificates import TlsFiles
from reflexarc_server.store import shares as share_table
from reflexarc_server.store import social as table
from reflexarc_server.testing.channel import Receiver
from reflexarc_server.testing.platforms import LocalPlatform
from tests.identity.kit import Authority, Secured
from tests.server.kit import ManualClock, wait_for
from tests.social.kit import site
from tests.social.payloads import activity, naming_us, tweet
from tests.social.test_http import HUMAN, ask, channels, clock, deliver, local, server, share  # noqa: F401  the fixtures


@pytest.fixture
def secured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: dict[str, Receiver]) -> Iterator[Secured]:  # noqa: F811
    Authority(tmp_path / "tls").issue()
    files = TlsFiles(tmp_path / "tls" / "server.pem", tmp_path / "tls" / "server-key.pem")
    started = Secured(
        tmp_path, http=http_options("127.0.0.1:0", files), site=site(monkeypatch), channels=list(channels.values())
    )  # fmt: skip
    yield started
    started.stop()


def test_a_key_decides_as_its_role_says(secured: Secured, tmp_path: Path) -> None:
    assert secured.server.http is not None
    url = f"https://127.0.0.1:{secured.server.http.address.rpartition(':')[2]}"
    keys = {"admin": secured.admin_key, **{role: secured.operator.create_key(role)[0] for role in ("read", "ingest")}}

    def run(role: str, *words: str) -> BaseException | None:
        (tmp_path / role).write_text(keys.get(role, "rxk_nobody"))
        more = ("--http", url, "--ca-file", secured.ca_file, "--api-key-file", str(tmp_path / role))
        return CliRunner().invoke(cli, ["social", *words, *more]).exception

    for listed in ("cases", "queue", "shares"):
        assert run("read", listed) is None
        assert run("admin", listed) is None
        assert isinstance(run("ingest", listed), PermissionDeniedError)
        assert isinstance(run("nobody", listed), UnauthenticatedError)
    for decided in (("acknowledge", "abc"), ("approve", "abc"), ("reject", "abc")):
        assert isinstance(run("read", *decided), PermissionDeniedError)
        assert "list them" in str(run("admin", *decided))


def test_an_erased_person_is_gone(server: Server, local: LocalPlatform, clock: ManualClock) -> None:  # noqa: F811
    post = tweet("71", "@reflexarc_app this is not working, I hate it", entities=naming_us())
    deliver(server, "twitter", activity(tweet_create_events=[post]))
    ada = share(server, "ada")
    bob = share(server, "bob", parent=ada["token"])
    ask(server, "GET", f"/s/{bob['token']}", headers=HUMAN)
    store = server.parts.store
    wait_for(lambda: bool(table.cases(store, (table.OPEN,))))
    for subject in ("anonymous:twitter/901", "anonymous:ada"):
        assert server.parts.erasures.forget(subject, 20.0)[1]
    assert table.cases(store, (table.OPEN, table.NOTED)) == []
    first, second = share_table.of_content(store, "guide", 10)
    assert (first.subject, second.subject) == ("", "anonymous:bob")
    ask(server, "GET", f"/s/{bob['token']}", headers={"user-agent": "Mozilla/5.0 another"})  # the chain holds, without her
    assert json.dumps(ask(server, "GET", "/v1/social/shares")[1]).count("ada") == 0
    again = json.dumps(activity(tweet_create_events=[post]), indent=1).encode()
    assert deliver(server, "twitter", again) == (200, {"verdict": "taken", "told": {"rejected": 1}})
