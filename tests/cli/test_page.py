"""The page of the guide shows what the commands print: its examples are made again, and compared but for what differs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.kit import environment, execute, reflexarc

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "store.md").read_text()
ANY = [
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\d\d\d\d-\d\d-\d\d \d\d:\d\d, the time zone is .*"), "TIME"),
    (re.compile(r"Python [\d.]+"), "PYTHON"),
    (re.compile(r"process \d+"), "PROCESS"),
    (re.compile(r"\d+ (seconds|minutes) ago"), "AGO"),
    (re.compile(r"\b\d{1,3}(,\d{3})+\b"), "BYTES"),
    (re.compile(r"^ +(?=(BYTES|\d+) )", re.MULTILINE), ""),
    (re.compile(r"^\d+(?= (identity|owner.lock))", re.MULTILINE), "BYTES"),
    (re.compile(r"catalogs +[0-9a-f]{12}"), "CATALOG"),
    (re.compile(r"the file system is \w+.*"), "FILESYSTEM"),
]


def masked(text: str) -> list[str]:
    for pattern, word in ANY:
        text = pattern.sub(word, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def block(first: str) -> str:
    """The indented text of the page that begins with a line."""
    lines = PAGE.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"    {first}"))
    end = next((number for number, line in enumerate(lines[start:], start) if line and not line.startswith("    ")), len(lines))
    return "\n".join(line[4:] for line in lines[start:end])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the program of the page has run."""
    folder = tmp_path_factory.mktemp("page")
    program = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment(), timeout=60, check=True)
    return folder


def test_inspect(place: Path) -> None:
    assert masked(reflexarc("store", "inspect", "store", cwd=place).out) == masked(block("store            version"))


def test_verify_and_repair(place: Path, tmp_path: Path) -> None:
    assert reflexarc("store", "verify", "store", cwd=place).out.strip() == block("sound:").strip()
    shutil.copytree(place / "store", tmp_path / "store")
    statement = re.findall(r"`sqlite-utils store/store.db \"(.*?)\"`", PAGE)[0]
    execute(tmp_path / "store", statement)
    assert reflexarc("store", "verify", "store", cwd=tmp_path).out.strip() == block("wrong:").strip()
    assert reflexarc("store", "repair", "store", cwd=tmp_path).out.strip() == block("mended:").strip()


def test_doctor(place: Path) -> None:
    """The lines about the place and the store; those about the machine are its own."""
    shown, said = masked(block("ok     Python")), masked(reflexarc("doctor", "store", cwd=place).out)
    assert [line for line in said if line[:6].strip() != "note"][-6:] == [line for line in shown if line[:6].strip() != "note"][
        -6:
    ]
    assert len(said) >= len(shown) - 1
