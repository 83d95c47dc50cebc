"""The README tells the truth: its snippets run, its status table names every capability once."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.rooms import ROOT

README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
ROWS = {"W": 7, "E": 3, "S": 2, "M": 6, "A": 4, "X": 21, "N": 11}
CAPABILITIES = [f"{letter}{number}" for letter, count in ROWS.items() for number in range(1, count + 1)]


def test_there_is_something_to_run() -> None:
    assert SNIPPETS, "the README has no ```python block"


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_of_the_readme_runs_as_written(number: int, tmp_path: Path) -> None:
    script = tmp_path / "snippet.py"
    script.write_text(SNIPPETS[number])
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _expanded(text: str) -> set[str]:
    """Ids in a table row's first cell, where `X1-X4` and `X1–X4` mean the four of them."""
    found = set(re.findall(r"\b[WESMAXN]\d+\b", text))
    for letter, first, last in re.findall(r"\b([WESMAXN])(\d+)\s*[-–]\s*\1?(\d+)\b", text):
        found |= {f"{letter}{number}" for number in range(int(first), int(last) + 1)}
    return found


def test_the_status_table_names_every_capability_and_no_other() -> None:
    cells = [line.split("|")[1] for line in README.splitlines() if line.startswith("|")]
    named = set().union(*(_expanded(cell) for cell in cells)) if cells else set()
    assert sorted(set(CAPABILITIES) - named) == []
    assert sorted(named - set(CAPABILITIES)) == []


def test_ranges_of_ids_are_read() -> None:
    assert _expanded("X1-X3, N1, W2–4") == {"X1", "X2", "X3", "N1", "W2", "W3", "W4"}
