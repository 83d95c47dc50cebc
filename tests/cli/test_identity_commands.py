"""`reflexarc tls|token|key|serve` as somebody types them who has never seen them: one clear line for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from reflexarc import Client
from reflexarc.definitions import load_catalog
from reflexarc_core.errors import StorageError
from reflexarc_server.app import start_server
from tests.cli.kit import reflexarc


def last(status: int, *words: object) -> str:
    """The one line a refused command says."""
    done = reflexarc(*words)
    assert done.status == status, done.err
    assert done.err.count("\n") == 1, done.err
    return done.err.strip()


def test_a_server_without_a_certificate_says_what_to_do(tmp_path: Path) -> None:
    said = last(1, "serve", "--data", tmp_path / "data")
    assert "--tls-cert" in said and "reflexarc tls init" in said and "--insecure" in said
    assert "both" in last(2, "serve", "--data", tmp_path / "data", "--tls-cert", tmp_path / "x.pem")
    assert "loopback" in last(1, "serve", "--data", tmp_path / "data", "--address", "0.0.0.0:0", "--insecure")
    assert not (tmp_path / "data").exists()


def test_tls_init_keeps_its_authority_and_leaves_a_strangers_alone(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    assert reflexarc("tls", "init", folder, "--host", "shop.example", "--host", "192.0.2.7").status == 0
    names = ("ca.pem", "ca-key.pem", "server.pem", "server-key.pem")
    first = {name: (folder / name).read_bytes() for name in names}
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert reflexarc("tls", "init", folder).status == 0
    again = {name: (folder / name).read_bytes() for name in names}
    assert [name for name in names if again[name] == first[name]] == ["ca.pem", "ca-key.pem"]
    (folder / "ca-key.pem").write_text("not a key")
    assert "no authority" in last(1, "tls", "init", folder)
    assert (folder / "server.pem").read_bytes() == again["server.pem"]
    (tmp_path / "file").write_text("")
    assert "file" in last(1, "tls", "init", tmp_path / "file")
    assert "no host" in last(1, "tls", "init", tmp_path / "other", "--host", "ex\u00e4mple")


@pytest.mark.parametrize("command", [("token", "list"), ("key", "create", "--role", "read"), ("rotate-signing-key",)])
def test_a_command_without_a_key_says_how_to_give_one(tmp_path: Path, command: tuple[str, ...]) -> None:
    said = last(1, *command, "--server", "127.0.0.1:9")
    assert "REFLEXARC_API_KEY_FILE" in said and "insecure" in said
    nothing = tmp_path / "nothing"
    assert "cannot be read" in last(1, *command, "--server", "127.0.0.1:9", "--api-key-file", nothing)
    nothing.write_text("rxk_x")
    said = last(1, *command, "--server", "127.0.0.1:9", "--api-key-file", nothing, "--ca-file", tmp_path / "no.pem")
    assert "CA file" in said
    assert "not on this machine" in last(1, *command, "--server", "192.0.2.1:9", "--insecure")


@pytest.mark.parametrize("command", [("token", "create"), ("key", "create", "--role", "read")])
def test_a_secret_is_not_made_for_a_file_that_is_there(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Nobody is asked: at that address there is nobody."""
    (tmp_path / "file").write_text("mine")
    said = last(2, *command, "--server", "127.0.0.1:9", "--insecure", "-o", tmp_path / "file")
    assert said.endswith("file is there already (name a new file)")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_devices_folder_is_no_servers(tmp_path: Path) -> None:
    with Client(tmp_path / "store"):
        pass
    before = sorted(path.name for path in (tmp_path / "store").iterdir())
    said = last(1, "serve", "--data", tmp_path / "store", "--insecure", "--address", "127.0.0.1:0")
    assert said.endswith("is a device's store (give the server a folder of its own)")
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == before


def test_a_servers_folder_is_no_devices(tmp_path: Path) -> None:
    start_server(tmp_path / "server", "127.0.0.1:0", load_catalog(None), insecure=True).stop()
    before = sorted(path.name for path in (tmp_path / "server").iterdir())
    with pytest.raises(StorageError, match="is a server's folder"):
        Client(tmp_path / "server")
    assert sorted(path.name for path in (tmp_path / "server").iterdir()) == before
