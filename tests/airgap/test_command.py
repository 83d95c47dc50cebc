"""`reflexarc sync` as somebody types it who has never seen it: every mistake is one line that says what to do."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from reflexarc_server.app import Server
from tests.cli.kit import CANARIES, contents, is_clean, make_store, reflexarc, without_privilege


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has a key, and that key."""
    folder = tmp_path_factory.mktemp("full")
    make_store(folder / "store", 50)
    assert reflexarc("sync", "key", folder / "key", "--store", folder / "store").status == 0
    return folder


@pytest.fixture
def desk(full: Path, tmp_path: Path) -> Path:
    """A working folder with a store, its key and an empty stick."""
    shutil.copytree(full, tmp_path / "desk")
    (tmp_path / "desk" / "stick").mkdir()
    return tmp_path / "desk"


def one_line(status: int, *arguments: str | Path, says: str, cwd: Path) -> None:
    done = reflexarc("sync", *arguments, cwd=cwd)
    assert done.status == status, done
    assert done.out == ""
    lines = [line for line in done.err.splitlines() if not line.startswith(("Usage:", "Try "))]
    assert len(lines) in (1, 2), done.err
    assert re.search(says, done.err), done.err
    assert is_clean(done)


@pytest.mark.parametrize(
    ("status", "arguments", "says"),
    [
        (2, "export stick/f", "Missing option '--store'"),
        (2, "export --store store", "Missing argument 'FILE'"),
        (2, "export stick/f --store nowhere", "nowhere is not there"),
        (2, "export stick/f --store stick", "it is empty"),
        (2, "export stick --store store", r"is a folder \(name a file in it: stick/device.sync\)"),
        (1, "export gone/f --store store", r"is not there \(is the stick plugged in\?\)"),
        (2, "export stick/f --store store --max-bytes tiny", "no size; write it as 700MB"),
        (2, "export stick/f --store store --max-bytes 10", "too small"),
        (2, "export stick/f --store store --from 0", "--from"),
        (2, "export stick/f --store store --from 9999", "holds records up to 1"),
        (2, "export stick/f --store store --key-file key", "the key file key holds no key"),
        (2, "import stick/f", "at a server --server ADDRESS or --data FOLDER, on a device --store FOLDER"),
        (2, "import stick/f --store store --data server", "where to"),
        (2, "import --store store", "Missing argument 'FILE...'"),
        (1, "import stick/f --store store", "is not there .is the stick plugged in"),
        (1, "import stick --store store", "is no file"),
        (1, "import key --store store", "is no sync file"),
        (1, "import empty --store store", "empty is empty"),
        (2, "import good --data store", "store is no server's folder"),
        (1, "import good --store store", "take it to the server"),
        (1, "import good --server 127.0.0.1:1 --insecure", "UNAVAILABLE|cannot be reached|connect"),
        (1, "import store/store.db --server 127.0.0.1:1 --insecure", "is no sync file"),
        (2, "key key --store store", "there already .--force"),
        (2, "key stick --store store", "is a folder"),
        (1, "key gone/key --store store", "is the stick plugged in"),
        (2, "enrol key", "which server"),
        (2, "enrol good --server 127.0.0.1:1 --insecure", "is no key of a device"),
        (2, "enrol nothing --server 127.0.0.1:1 --insecure", "nothing is not there"),
        (2, "enrol key --data store", "no server's folder"),
    ],
)
def test_a_mistake_is_one_line(desk: Path, status: int, arguments: str, says: str) -> None:
    (desk / "empty").touch()
    assert reflexarc("sync", "export", "good", "--store", "store", cwd=desk).status == 0
    before = contents(desk)
    one_line(status, *arguments.split(), says=says, cwd=desk)
    assert contents(desk) == before


@pytest.mark.parametrize("command", ["", "export", "import", "key", "enrol"])
def test_help_says_what_it_is_for(command: str) -> None:
    done = reflexarc("sync", *([command] if command else []), "--help")
    assert done.status == 0
    assert len(done.out.splitlines()) > 8
    assert max(len(line) for line in done.out.splitlines()) <= 110


def test_the_walk_as_it_is_typed(desk: Path, server: Server) -> None:
    here = {"cwd": desk}
    to_server = ("--server", server.address, "--insecure")
    assert "is known" in reflexarc("sync", "enrol", "key", *to_server, **here).out
    assert "was known already" in reflexarc("sync", "enrol", "key", *to_server, **here).out
    written = reflexarc("sync", "export", "stick/kiosk.sync", "--store", "store", **here)
    assert (written.status, is_clean(written)) == (0, True)
    assert "records 1 to " in written.out
    assert "signed" in written.out and "NOT SIGNED" not in written.out
    assert os.stat(desk / "stick" / "kiosk.sync").st_mode & 0o077 == 0
    again = reflexarc("sync", "export", "stick/kiosk.sync", "--store", "store", **here)
    assert (again.status, "--force replaces it" in again.err) == (2, True)
    forced = reflexarc("sync", "export", "stick/kiosk.sync", "--store", "store", "--force", "--json", **here)
    facts = json.loads(forced.out)
    taken = reflexarc("sync", "import", "stick/kiosk.sync", *to_server, **here)
    assert (taken.status, is_clean(taken)) == (0, True)
    assert f"everything up to {facts['last']:,} is here" in taken.out
    twice = json.loads(reflexarc("sync", "import", "stick/kiosk.sync", *to_server, "--json", **here).out)
    (installation,) = twice["installations"].values()
    (stream,) = installation["streams"].values()
    assert (stream["stored"], stream["held_before"]) == (0, facts["records"])
    back = reflexarc("sync", "import", "stick/kiosk.sync.answers", "--store", "store", **here)
    assert (back.status, is_clean(back)) == (0, True)
    assert f"acknowledged up to {facts['last']:,} of" in back.out
    second = reflexarc("sync", "import", "stick/kiosk.sync.answers", "--store", "store", **here)
    assert (second.status, second.out) == (0, back.out)
    assert "sound" in reflexarc("store", "verify", "store", **here).out


def test_parts_and_their_one_answer(desk: Path, server: Server) -> None:
    to_server = ("--server", server.address, "--insecure")
    reflexarc("sync", "enrol", "key", *to_server, cwd=desk)
    make_store(desk / "store", 900)
    written = reflexarc("sync", "export", "stick/k", "--store", "store", "--max-bytes", "70kB", cwd=desk)
    assert "[0-9]*" in written.out
    parts = sorted(path.name for path in (desk / "stick").iterdir())
    assert parts[:2] == ["k.001", "k.002"]
    taken = reflexarc("sync", "import", *(f"stick/{name}" for name in reversed(parts)), *to_server, cwd=desk)
    assert taken.status == 0
    assert sorted(path.name for path in (desk / "stick").iterdir()) == [*parts, "k.answers"]
    elsewhere = reflexarc("sync", "import", "stick/k.001", *to_server, "--answers", "gone/answers", cwd=desk)
    assert elsewhere.status == 1
    assert "import again, with --answers FILE" in elsewhere.err


def test_files_of_two_devices_have_two_answers(desk: Path, server: Server) -> None:
    to_server = ("--server", server.address, "--insecure")
    make_store(desk / "other", 5)
    for store in ("store", "other"):
        reflexarc("sync", "key", f"{store}.key", "--store", store, cwd=desk)
        reflexarc("sync", "enrol", f"{store}.key", *to_server, cwd=desk)
        reflexarc("sync", "export", f"stick/{store}.sync", "--store", store, cwd=desk)
    files = ("stick/store.sync", "stick/other.sync")
    assert "leave --answers out" in reflexarc("sync", "import", *files, *to_server, "--answers", "a", cwd=desk).err
    assert reflexarc("sync", "import", *files, *to_server, cwd=desk).status == 0
    swapped = reflexarc("sync", "import", "stick/other.sync.answers", "--store", "store", cwd=desk)
    assert (swapped.status, "take it to that device" in swapped.err) == (1, True)
    assert reflexarc("sync", "import", "stick/store.sync.answers", "--store", "store", cwd=desk).status == 0


def test_a_stick_that_cannot_be_written(desk: Path) -> None:
    (desk / "stick").chmod(0o500)
    try:
        done = without_privilege("sync", "export", str(desk / "stick" / "f"), "--store", str(desk / "store"))
    except FileNotFoundError:
        pytest.skip("setpriv is not here")
    finally:
        (desk / "stick").chmod(0o700)
    assert (done.status, "cannot be written" in done.err) == (1, True)


def test_the_file_holds_what_was_captured_and_the_help_says_so(desk: Path) -> None:
    reflexarc("sync", "export", "stick/f", "--store", "store", cwd=desk)
    content = (desk / "stick" / "f").read_bytes()
    assert all(canary.encode() in content for canary in CANARIES)
    assert "not encrypted" in reflexarc("sync", "export", "--help").out
