"""`reflexarc doctor`: a line for each check, with what to do, and status 1 only when something is wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reflexarc import Client, Config
from reflexarc.definitions import load_catalog
from reflexarc.testing import ManualClock
from reflexarc_cli.doctor import (
    NETWORK_TYPES,
    NOTE,
    OK,
    SERVER_DEADLINE_S,
    WRONG,
    filesystem_line,
    is_there,
    mount_type,
    room_line,
    sqlite_line,
    time_line,
)  # fmt: skip
from reflexarc_edge.clock import RESTART_FORWARD_MS_MAX
from reflexarc_server.app import start_server
from reflexarc_server.clock import SystemClock
from tests.cli.kit import Done, catalog, change_row, contents, environment, is_clean, make_store, owned_store, reflexarc

MIB = 1024 * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    running = start_server(tmp_path / "server", "127.0.0.1:0", load_catalog(None), SystemClock(), insecure=True)
    yield running.address
    running.stop()


def lines(done: Done) -> list[dict[str, Any]]:
    assert is_clean(done)
    found = json.loads(done.out)
    assert done.status == (0 if found["fit"] else 1)
    assert found["fit"] == all(line["level"] != "wrong" for line in found["lines"])
    assert {line["level"] for line in found["lines"]} <= {OK, NOTE, WRONG}
    assert all(line["todo"] for line in found["lines"] if line["level"] == WRONG)
    return list(found["lines"])


def one(found: list[dict[str, Any]], part: str) -> dict[str, Any]:
    (line,) = [line for line in found if part in line["what"]]
    return line


def test_the_machine_alone() -> None:
    found = lines(reflexarc("doctor", "--json"))
    for part in ("Python 3.", "SQLite 3.", "[edge]", "[build]", "[crypt]", "[server]", "[cli]", "time zone"):
        one(found, part)
    assert one(found, "[cli]")["level"] == OK


def test_a_line_begins_with_its_level(sound: Path) -> None:
    sound.chmod(0o700)
    done = reflexarc("doctor", sound)
    assert done.status == 0
    assert {line[:7].strip() for line in done.out.splitlines()} <= {OK, NOTE}
    assert is_clean(done)


def test_a_sound_store_is_left_as_it_was(sound: Path) -> None:
    before, names = contents(sound), sorted(os.listdir(sound))
    found = lines(reflexarc("doctor", sound, "--json"))
    assert one(found, "the store is sound: 601 records")["level"] == OK
    assert one(found, "nobody owns the store")["level"] == OK
    assert one(found, "the next start folds 0 records")["level"] == OK
    assert one(found, "bytes are free")["level"] == OK
    assert one(found, "can do what a store needs")["level"] == OK
    assert (contents(sound), sorted(os.listdir(sound))) == (before, names)


def test_a_damaged_store_is_wrong(sound: Path) -> None:
    change_row(sound, 5)
    change_row(sound, 9)
    line = one(lines(reflexarc("doctor", sound, "--json")), "damaged")
    assert (line["level"], line["todo"]) == (WRONG, f"reflexarc store verify {sound}")
    assert line["what"] == "record 5 is damaged: not what was written, and 1 more"


def test_a_store_in_use(tmp_path: Path) -> None:
    with owned_store(tmp_path / "store") as process:
        found = lines(reflexarc("doctor", tmp_path / "store", "--json"))
        assert one(found, f"process {process.pid} owns the store")["level"] == OK
        assert one(found, "the store is sound")["level"] == OK


def test_an_encrypted_store_is_judged_as_far_as_it_goes(sealed: Path) -> None:
    assert one(lines(reflexarc("doctor", sealed, "--json")), "as far as it can be told without its key")["level"] == OK


def test_files_that_others_may_read_are_wrong(sound: Path) -> None:
    (sound / "store.db").chmod(0o644)
    sound.chmod(0o755)
    found = lines(reflexarc("doctor", sound, "--json"))
    assert one(found, "others than the owner may use store.db")["level"] == WRONG
    assert one(found, "may look into the folder (mode 0755)")["level"] == NOTE


def test_an_empty_folder_is_a_place_for_a_store(tmp_path: Path) -> None:
    found = lines(reflexarc("doctor", tmp_path, "--json"))
    assert one(found, "is no device's store")["level"] == NOTE
    assert one(found, "can do what a store needs")["level"] == OK
    assert os.listdir(tmp_path) == []


def test_a_clock_behind_the_store(tmp_path: Path) -> None:

    with Client(tmp_path / "store", catalog=catalog(), clock=ManualClock(int(time.time() * 1000) + 10 * 86_400_000)) as client:
        client.page("/")
    line = one(lines(reflexarc("doctor", tmp_path / "store", "--json")), "the clock is 9 days behind the store")
    assert line["level"] == NOTE


def test_a_server_that_answers(server: str) -> None:
    found = lines(reflexarc("doctor", "--server", server, "--insecure", "--json"))
    assert one(found, f"the server at {server} answers")["level"] == OK


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = one(lines(reflexarc("doctor", "--server", f"127.0.0.1:{port}", "--insecure", "--json")), "does not answer")
    assert (line["level"], line["todo"]) == (WRONG, "is it running there, and in plaintext?")


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_the_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        done = reflexarc("doctor", "--server", f"127.0.0.1:{silent.getsockname()[1]}", "--insecure", "--json")
    assert one(lines(done), "does not answer")["level"] == WRONG
    assert time.monotonic() - started < SERVER_DEADLINE_S + 5


def test_a_server_that_is_not_on_this_machine() -> None:
    line = one(lines(reflexarc("doctor", "--server", "example.org:7443", "--insecure", "--json")), "does not answer")
    assert "loopback" in line["todo"]


@pytest.mark.parametrize(
    ("version", "level"),
    [((3, 6, 23), OK), ((3, 7, 0), NOTE), ((3, 40, 1), NOTE), ((3, 51, 2), NOTE), ((3, 51, 3), OK), ((3, 52, 0), OK)],
)
def test_versions_of_sqlite(version: tuple[int, ...], level: str) -> None:
    assert sqlite_line(version).level == level


@pytest.mark.parametrize(
    ("free", "used", "bound", "level"),
    [
        (300 * MIB, 8 * MIB, 256 * MIB, OK),
        (100 * MIB, 8 * MIB, 256 * MIB, NOTE),
        (10 * MIB, 8 * MIB, 256 * MIB, WRONG),
        (1 * MIB, 256 * MIB, 256 * MIB, OK),
        (0, 300 * MIB, 256 * MIB, OK),
        (0, 8 * MIB, 256 * MIB, WRONG),
    ],
)
def test_room(free: int, used: int, bound: int, level: str) -> None:
    assert room_line(free, used, bound).level == level


def test_file_systems() -> None:
    assert {filesystem_line(kind).level for kind in NETWORK_TYPES} == {WRONG}
    assert [filesystem_line(kind).level for kind in ("", "tmpfs", "ext4", "btrfs", "overlay")] == [NOTE, NOTE, OK, OK, OK]


MOUNTS = """overlay / overlay rw 0 0
/dev/sda1 /data ext4 rw 0 0
server:/x /data/with\\040blank nfs4 rw 0 0
tmpfs /data/passing tmpfs rw 0 0
/dev/sdb1 /data/passing xfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/data/store", "ext4"),
        ("/data/with blank/store", "nfs4"),
        ("/data/passing", "xfs"),
        ("/database", "overlay"),
        ("/", "overlay"),
    ],
)
def test_the_mount_a_place_is_on(place: str, kind: str) -> None:
    assert mount_type(MOUNTS, Path(place)) == kind


def test_times() -> None:
    assert time_line(5_000).level == OK
    assert time_line(-1_000).level == OK
    assert time_line(-3_000).level == NOTE
    assert time_line(RESTART_FORWARD_MS_MAX + 1).level == NOTE


def test_a_module_is_looked_for_without_loading_it() -> None:

    assert is_there("json.tool")
    assert not is_there("no_such_module")
    assert not is_there("no_such_package.part")
    assert "lib2to3" not in sys.modules and is_there("lib2to3")
    assert "lib2to3" not in sys.modules


def test_heavy_packages_are_not_loaded() -> None:

    code = (
        "import sys\nfrom reflexarc_cli.doctor import examine\nlist(examine(None, None, None))\n"
        "heavy = {'numpy', 'onnxruntime', 'sklearn', 'cryptography', 'grpc_health', 'yaml'}\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_a_small_bound_is_known_by_the_journal(tmp_path: Path) -> None:

    folder = make_store(tmp_path / "store", 5, config=Config(store_bytes_max=2 * MIB))
    assert "of at most 2,0" in one(lines(reflexarc("doctor", folder, "--json")), "bytes are free")["what"]
