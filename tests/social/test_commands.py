"""`reflexarc social` against a running server, with keys and without, and on payloads in files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reflexarc_cli.main import cli
from reflexarc_core.errors import ReflexArcError
from reflexarc_server.app import Server
from reflexarc_server.testing.channel import Receiver
from reflexarc_server.testing.platforms import LocalPlatform
from tests.server.kit import ManualClock, wait_for
from tests.social.payloads import activity, comment, naming_us, tweet
from tests.social.test_http import HUMAN, ask, channels, clock, deliver, local, server, share  # noqa: F401  the fixtures


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["social", *words])


def test_an_operators_day(server: Server, channels: dict[str, Receiver], local: LocalPlatform, clock: ManualClock) -> None:  # noqa: F811
    assert server.http is not None
    reach = ("--insecure", "--http", f"http://{server.http.address}")
    post = tweet("71", "@reflexarc_app this is not working", entities=naming_us())
    deliver(server, "twitter", activity(tweet_create_events=[post]))
    wait_for(lambda: bool(channels["support"].taken))
    listed = run("cases", *reach)
    assert listed.exit_code == 0, listed.output
    assert "this is not working" in listed.output
    (case,) = json.loads(run("cases", "--json", *reach).output)
    assert run("acknowledge", case["case_id"], *reach).exit_code == 0
    assert json.loads(run("cases", "--json", *reach).output) == []
    assert json.loads(run("cases", "--json", "--all", *reach).output)[0]["state"] == "acknowledged"
    assert json.loads(run("queue", "--json", *reach).output) == []
    made = share(server, "ada")
    ask(server, "GET", f"/s/{made['token']}", headers=HUMAN)
    assert run("shares", "--content", "guide", *reach).output == "anonymous:ada  guide  visits 1, conversions 0  score 1\n"
    assert run("shares", "--content", "other", *reach).output == ""
    for word in ("approve", "reject"):
        wrong = run(word, "abc", *reach)
        assert (wrong.exit_code, str(wrong.exception)) == (1, "there is no response abc (list them: reflexarc social queue)")
    wrong = run("acknowledge", "abc", *reach)
    assert (wrong.exit_code, str(wrong.exception)) == (1, "there is no case abc that waits (list them: reflexarc social cases)")


@pytest.mark.parametrize(("address", "said"), [("", "does not speak HTTP"), ("http://127.0.0.1:notaport", "is no address")])
def test_an_address_of_something_else_is_one_clear_line(server: Server, address: str, said: str) -> None:  # noqa: F811
    result = run("cases", "--http", address or server.address, "--insecure")
    assert isinstance(result.exception, ReflexArcError)
    assert said in str(result.exception)


def test_a_key_never_goes_out_in_plaintext() -> None:
    refused = run("cases", "--http", "http://go.shop.example")
    assert isinstance(refused.exception, ReflexArcError)
    assert "plaintext" in str(refused.exception)


@pytest.mark.parametrize(("own", "word"), [((), "social_mention"), (("--own", "8423"), "none")])
def test_a_payload_in_a_file(tmp_path: Path, own: tuple[str, ...], word: str) -> None:
    (tmp_path / "one.json").write_text(json.dumps(comment("hello")))
    (tmp_path / "two.json").write_text("[")
    done = run("read", "facebook", str(tmp_path / "one.json"), str(tmp_path / "two.json"), *own)
    first, second = (json.loads(line) for line in done.output.splitlines())
    assert first["verdict"] == word
    assert second["verdict"] == "no JSON object"
    assert (done.exit_code, "two.json" in str(done.exception), "one.json" in str(done.exception)) == (1, True, False)
