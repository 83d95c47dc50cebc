"""Every command about a store on what is none, or not for us: one clear line, the right status, no traceback, nothing made."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.kit import contents, environment, execute, is_clean, reflexarc, without_privilege

COMMANDS = {
    "inspect": ("store", "inspect", "FOLDER"),
    "verify": ("store", "verify", "FOLDER"),
    "repair": ("store", "repair", "FOLDER"),
    "export": ("store", "export", "FOLDER", "-o", "-"),
    "stats": ("stats", "FOLDER"),
    "explain": ("explain", "FOLDER", "--trigger", "hesitating"),
}
DOCTOR = {"doctor": ("doctor", "FOLDER")}


def run(words: tuple[str, ...], folder: Path, *more: str | Path) -> tuple[int, str]:
    """(status, the one line)."""
    done = reflexarc(*(folder if word == "FOLDER" else word for word in words), *more)
    assert is_clean(done)
    assert len(done.lines) == 1, done
    assert done.err.startswith("reflexarc: ")
    return done.status, done.lines[0].removeprefix("reflexarc: ")


@pytest.mark.parametrize("words", {**COMMANDS, **DOCTOR}.values(), ids={**COMMANDS, **DOCTOR})
def test_a_path_that_is_not_there(words: tuple[str, ...], tmp_path: Path) -> None:
    assert run(words, tmp_path / "no") == (2, f"{tmp_path / 'no'} is not there")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("words", {**COMMANDS, **DOCTOR}.values(), ids={**COMMANDS, **DOCTOR})
def test_a_file(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert run(words, tmp_path / "file") == (2, f"{tmp_path / 'file'} is no folder")


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_an_empty_folder(words: tuple[str, ...], tmp_path: Path) -> None:
    assert run(words, tmp_path) == (2, f"{tmp_path} is no device's store (it is empty)")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_folder_of_something_else(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("x")
    assert run(words, tmp_path) == (2, f"{tmp_path} is no device's store (it holds no store.db)")
    (tmp_path / "server.db").write_text("x")
    assert run(words, tmp_path) == (2, f"{tmp_path} is no device's store (it is a server's folder)")
    assert sorted(os.listdir(tmp_path)) == ["readme.txt", "server.db"]


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_store_of_a_later_version(words: tuple[str, ...], sound: Path) -> None:
    execute(sound, "PRAGMA user_version=99")
    before = contents(sound)
    status, line = run(words, sound)
    assert (status, line) == (
        1,
        f"{sound / 'store.db'} was written by a later version (store 99, this reads 2) (update reflexarc)",
    )
    assert contents(sound) == before


@pytest.mark.parametrize("name", ["verify", "repair", "export", "stats", "explain"])
def test_an_encrypted_store_without_its_key_or_with_another(name: str, sealed: Path, tmp_path: Path) -> None:
    before = contents(sealed)
    assert run(COMMANDS[name], sealed) == (2, f"the store at {sealed} is encrypted (give its key with --key-file)")
    (tmp_path / "other").write_bytes(b"\1" * 32)
    status, line = run(COMMANDS[name], sealed, "--key-file", tmp_path / "other")
    assert (status, line) == (2, f"the store at {sealed} was made with another key (give that one with --key-file)")
    assert contents(sealed) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_a_key_that_is_none(name: str, sound: Path, tmp_path: Path) -> None:
    assert run(COMMANDS[name], sound, "--key-file", tmp_path / "no")[0] == 2
    (tmp_path / "short").write_text("abcd")
    status, line = run(COMMANDS[name], sound, "--key-file", tmp_path / "short")
    assert (status, line) == (2, f"the key file {tmp_path / 'short'} holds no key (32 bytes, or 64 hex digits)")
    (tmp_path / "fit").write_text("ab" * 32)
    assert run(COMMANDS[name], sound, "--key-file", tmp_path / "fit") == (
        2, f"the store at {sound} is not encrypted (leave --key-file out)",
    )  # fmt: skip


def test_a_target_that_cannot_be_written(sound: Path, tmp_path: Path) -> None:
    words = COMMANDS["export"][:-1]
    assert run(words, sound, tmp_path)[0] == 2
    status, line = run(words, sound, tmp_path / "no" / "out")
    assert status == 1
    assert "No such file or directory" in line


needs_permissions = pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may do everything here, and setpriv is not there"
)


@needs_permissions
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("what", ["store", "store.db"])
def test_a_store_that_may_not_be_read(words: tuple[str, ...], what: str, sound: Path) -> None:
    place = sound if what == "store" else sound / what
    place.chmod(0o000)
    done = without_privilege(*(sound if word == "FOLDER" else word for word in words))
    place.chmod(0o700)
    assert (done.status, len(done.lines)) == (1, 1), done
    assert "Permission denied" in done.err


@needs_permissions
def test_a_store_that_may_only_be_read(sound: Path) -> None:
    """Looking needs no more; the doctor says that no client can use it."""
    for path in sound.iterdir():
        path.chmod(0o400)
    sound.chmod(0o500)
    statuses = {name: without_privilege(*(sound if w == "FOLDER" else w for w in COMMANDS[name])).status for name in COMMANDS}
    doctor = without_privilege("doctor", sound)
    sound.chmod(0o700)
    assert statuses == {"inspect": 0, "verify": 0, "export": 0, "repair": 1, "stats": 1, "explain": 1}
    assert "note   nothing can be written into" in doctor.out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a store to somebody else")
def test_the_doctor_sees_a_store_of_somebody_else(sound: Path) -> None:
    for path in (sound, *sound.iterdir()):
        os.chown(path, 54_321, 54_321)
    assert "note   you are not the user of the store" in reflexarc("doctor", sound).out


@pytest.mark.parametrize("name", ["inspect", "verify", "doctor"])
def test_an_interrupt_is_one_line(name: str, sound: Path) -> None:
    """Stopped while it reads: its reading is made slow."""
    words = [str(sound) if word == "FOLDER" else word for word in {**COMMANDS, **DOCTOR}[name]]
    code = (
        "import time\nfrom reflexarc_cli.store import look\n"
        "def slow(*_):\n    print('reading', flush=True)\n    time.sleep(30)\n"
        "look.Look.packed_meta = slow\nfrom reflexarc_cli.main import main\nmain()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    assert process.stdout is not None and process.stderr is not None
    while "reading" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    assert (process.stderr.read(), process.wait(30)) == ("interrupted\n", 130)
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize(
    "words", [("store",), ("store", "inspect"), ("store", "verify"), ("store", "repair"), ("store", "export"), ("doctor",)]
)
def test_every_help_fits_a_terminal_and_says_what_it_changes(words: tuple[str, ...]) -> None:
    done = reflexarc(*words, "--help")
    assert done.status == 0
    assert all(len(line) <= 110 for line in done.lines)
    assert len(done.lines) >= 6


@pytest.mark.parametrize(
    "words",
    [
        ("store", "inspect"),
        ("store", "export", "x"),
        ("store", "verify", "x", "--no"),
        ("store", "export", "x", "-o", "y", "--after", "-1"),
    ],
)
def test_a_wrong_option_is_two(words: tuple[str, ...]) -> None:
    assert reflexarc(*words).status == 2
