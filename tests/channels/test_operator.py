"""What an operator sees of the outbox, and does: never what a message says."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from reflexarc_cli.main import cli
from reflexarc_server.channels import Refused
from reflexarc_server.testing import Receiver
from tests.channels.test_acting import started
from tests.server.kit import page, wait_for


def test_dead_letters_are_listed_and_replayed(tmp_path: Path) -> None:
    crm = Receiver()
    crm.answers = [Refused("no such property: plan")]
    server, stubs = started(tmp_path / "server", crm)

    def outbox(*words: str) -> Result:
        return CliRunner().invoke(cli, ["outbox", *words, "--server", server.address, "--insecure"])

    stubs.track(page(1), page(2))
    wait_for(lambda: bool(server.parts.outbox.dead_letters()))
    assert json.loads(outbox("status", "--json").output) == [
        {"channel": "crm", "open": 0, "sent": 0, "dead": 1, "oldest_time": 0}
    ]
    listed = outbox("list", "--json").output
    (dead,) = json.loads(listed)
    assert (dead["channel"], dead["reason"]) == ("crm", "no such property: plan") and "saw /2" not in listed
    for words in (("list",), ("replay",)):
        unknown = outbox(*words, "--channel", "mail")
        assert (unknown.exit_code, str(unknown.exception)) == (1, "there is no channel 'mail' (there are: crm)")
    assert json.loads(outbox("list", "--after", str(dead["number"]), "--json").output) == []
    assert outbox("replay").exit_code == 2
    assert outbox("replay", str(dead["number"])).output == "1 wait again\n"
    wait_for(lambda: bool(crm.taken))
    assert list(crm.taken) == [dead["key"]]
    stubs.close()
    server.stop()
