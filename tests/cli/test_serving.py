"""`reflexarc serve` on what cannot be served, or by nobody be used: it says so, and what to write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from reflexarc_cli.main import cli
from tests.cli.kit import environment

SITE = "web: {consent: given}\n"
ROOM = ("--insecure", "--address", "127.0.0.1:0")


def test_a_file_in_place_of_the_servers_folder_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = CliRunner().invoke(cli, ["serve", "--data", str(tmp_path / "file"), *ROOM])
    assert str(done.exception) == f"{tmp_path}/file is a file, not a folder (give the server a folder; it is made if it is new)"
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("site", ["", SITE])
def test_http_without_a_write_key_says_what_to_write(tmp_path: Path, site: str) -> None:
    (tmp_path / "site.yaml").write_text(site)
    more = ("--site", str(tmp_path / "site.yaml")) if site else ()
    words = ("--until-input-ends", "serve", "--data", str(tmp_path / "data"), *ROOM, "--http", "127.0.0.1:0", *more)
    process = subprocess.Popen(
        [sys.executable, "-m", "reflexarc_cli", *words], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(),
    )  # fmt: skip
    assert process.stderr is not None
    said = [process.stderr.readline() for _ in range(3)]
    process.communicate(timeout=60)
    assert said[1].startswith("HTTP on ")
    where = f"in {tmp_path}/site.yaml" if site else "give --site FILE, and in that file"
    assert said[2].startswith(f"no write key is known, so nobody can send events over HTTP: {where} write web: {{keys: ")


def test_a_signal_in_the_middle_of_an_import_is_one_line() -> None:
    """Python gives an exception that comes while a class is made another one's name."""
    code = (
        "import os, signal, sys\nfrom reflexarc_cli import main\n"
        "class Field:\n    def __set_name__(self, owner, name):\n        os.kill(os.getpid(), signal.SIGTERM)\n"
        "@main.cli.command('slow')\ndef slow():\n    class Made:\n        field = Field()\n"
        "sys.argv = ['reflexarc', 'slow']\nmain.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=60, check=False
    )
    assert (done.stderr, done.returncode) == ("interrupted\n", 143)
