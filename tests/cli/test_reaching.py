"""Commands that ask a server: nobody there, somebody else there, no key, no address: one clear line and what to do."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from reflexarc_cli.main import cli
from reflexarc_core.errors import ReflexArcError

ARGUMENTS = {
    "catalog promote": ("FILE", "--yes"), "email path": ("--subject", "known:1"), "explain": ("--subject", "known:1", "third"),
    "import": ("FILE",), "outbox replay": ("--all",),
}  # fmt: skip
"""What a command needs beside `--server ADDRESS` that its options do not say; for any other it is made up."""
LEFT_OUT = {"doctor", "sync import", "sync enrol"}
"""Which look at a file, or at this machine, first: they have tests of their own."""


def _commands() -> Iterator[str]:
    """Every command that has --server."""

    def within(group: click.Group, words: tuple[str, ...]) -> Iterator[str]:
        for name, command in group.commands.items():
            if any("--server" in option.opts for option in command.params):
                yield " ".join((*words, name))
            if isinstance(command, click.Group):
                yield from within(command, (*words, name))

    yield from within(cli, ())


COMMANDS = sorted(set(_commands()) - LEFT_OUT)


def _made_up(command: str) -> Iterator[str]:
    """Something for every argument and option that the command asks for."""
    found: click.Command = cli
    for word in command.split():
        assert isinstance(found, click.Group)
        found = found.commands[word]
    for each in found.params:
        if each.required and "--server" not in each.opts:
            yield from each.opts[:1] if isinstance(each, click.Option) else ()
            yield each.type.choices[0] if isinstance(each.type, click.Choice) else "known:1"


def run(command: str, *more: str, folder: Path) -> Result:
    (folder / "file.csv").write_text(
        "order_id,user_id,event,timestamp,lines,distinct_items,units,amount,country\n1,7,order_completed,2011-01-01T10:00:00,1,1,2,9.5,UK\n"
    )
    (folder / "file.yaml").write_text("include: standard\n")
    file = str(folder / ("file.csv" if command == "import" else "file.yaml"))
    words = [file if word == "FILE" else word for word in ARGUMENTS.get(command) or _made_up(command)]
    return CliRunner().invoke(cli, [*command.split(), *words, *more])


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_is_not_there_is_one_line(command: str, nobody: str, tmp_path: Path) -> None:
    done = run(command, "--server", nobody, "--insecure", folder=tmp_path)
    assert isinstance(done.exception, ReflexArcError), done.output
    assert str(done.exception) == f"the server at {nobody} cannot be reached (is it running there, and in plaintext?)"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_key_is_told_with_the_flags_that_give_it(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REFLEXARC_API_KEY", "REFLEXARC_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    done = run(command, "--server", "127.0.0.1:1", folder=tmp_path)
    assert isinstance(done.exception, ReflexArcError), done.output
    assert re.search(r"no key for the server \(give --api-key-file FILE, .* give --insecure\)", str(done.exception))


@pytest.mark.parametrize("address", ["127.0.0.1", "http://127.0.0.1:7443", ":7443", "127.0.0.1:99999", "127.0.0.1:x", ""])
def test_what_is_no_address_is_told_so(address: str, tmp_path: Path) -> None:
    done = run("results", "--server", address, "--insecure", folder=tmp_path)
    assert str(done.exception) == f"{address!r} is no address (write it as host:port, for example 127.0.0.1:7443)"


def test_a_server_elsewhere_is_never_asked_in_plaintext(tmp_path: Path) -> None:
    done = run("results", "--server", "shop.example:7443", "--insecure", folder=tmp_path)
    assert "--insecure) is for loopback only" in str(done.exception)


def test_an_http_server_in_its_place_is_told_apart_from_ours(tmp_path: Path) -> None:
    """Whatever gRPC makes of it, nothing of its prose is shown."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            taken, _ = listener.accept()
            with taken:
                taken.recv(4_096)
                taken.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                taken.recv(4_096)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        done = run("results", "--server", address, "--insecure", folder=tmp_path)
        thread.join(10)
    assert re.fullmatch(rf"the server at {address} (cannot be reached|answers something else) \(is it .*\)", str(done.exception))


def test_http_that_is_not_there_is_one_line(nobody: str) -> None:
    done = CliRunner().invoke(cli, ["social", "cases", "--http", f"http://{nobody}", "--insecure"])
    assert str(done.exception) == f"{nobody} cannot be asked: Connection refused (is it serving --http there?)"
