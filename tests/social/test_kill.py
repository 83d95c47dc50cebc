"""The whole command, killed in the middle: what was answered is not lost, and a case's time goes on."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from reflexarc_cli.main import cli
from reflexarc_core.errors import DefinitionError
from reflexarc_server.social.signatures import HEADERS, signature
from tests.server.kit import wait_for
from tests.social.kit import SECRETS
from tests.social.payloads import comment

SITE = """
webhooks: {support: {url: "https://127.0.0.1:9/", secrets: [env:HOOK_KEY], private: true}}
social:
  facebook: {secrets: env:FB_SECRET, verify_token: env:FB_WORD}
  levels:
    - {severity: 0.1, notify: support, timeout: 1s}
    - {severity: 0.9, notify: support, timeout: 4w}
"""


class Served:
    """`reflexarc serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, **SECRETS, "HOOK_KEY": "whsec_" + "c2VjcmV0LW9mLXRoZS10ZXN0LTAxMjM0NTY3ODk="}
        words = ("serve", "--data", str(folder / "data"), "--address", "127.0.0.1:0", "--insecure", "--http", "127.0.0.1:0")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reflexarc_cli", *words, "--site", str(folder / "site.yaml")],
            env=environment, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        self.address = ""
        for line in self.process.stderr:
            found = re.match(r"HTTP on (\S+)", line)
            if found:
                self.address = found[1]
                break
        assert self.address, "it did not start"

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, Any]:
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=20)) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_a_killed_server_goes_on_escalating(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    told = comment("This is terrible, I hate it")
    told["entry"][0]["time"] = int(time.time())
    body = json.dumps(told).encode()
    headers = {HEADERS["facebook"]: signature("facebook", SECRETS["FB_SECRET"].encode(), body)}
    first = Served(tmp_path)
    try:
        assert first.ask("POST", "/social/facebook", body, headers) == (200, {"verdict": "taken", "told": {"stored": 1}})
    finally:
        first.kill()  # at once: the desk may not have seen it yet
    second = Served(tmp_path)
    try:
        assert second.ask("POST", "/social/facebook", body, headers)[1]["verdict"] == "duplicate"

        def level() -> int:
            cases = second.ask("GET", "/v1/social/cases")[1]["cases"]
            return int(cases[0]["level"]) if cases else 0

        wait_for(lambda: level() == 2)
        assert second.ask("GET", "/v1/social/cases")[1]["cases"][0]["reasons"][0].startswith("sentiment -")
    finally:
        second.kill()


def test_a_site_without_its_secret_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("social: {twitter: {secrets: env:NOT_SET_ANYWHERE}}")
    words = ["serve", "--data", str(tmp_path / "data"), "--insecure", "--http", "127.0.0.1:0", "--site"]
    done = CliRunner().invoke(cli, [*words, str(tmp_path / "site.yaml")])
    assert isinstance(done.exception, DefinitionError)
    assert "site.yaml:1" in str(done.exception)
    assert "NOT_SET_ANYWHERE" in str(done.exception)
