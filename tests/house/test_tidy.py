"""The house is tidy: no machine's paths, no promises left in comments, files that fit in the head, plain names."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.house.rooms import ROOT, is_generated

LINES_MAX = 450
# A file over the bound, with the bound it has agreed to. Shrink, never grow.
LONG_FILES = {}
BANNED_NAMES = {"manager", "helper", "helpers", "utils", "util", "data", "info"}
# Where the sets for tests on real input lie beside the project; only these may say so.
NAMES_REAL_SETS = ("tests/", ".ci/run", "Makefile")
TEXT = {".py", ".pyi", ".md", ".toml", ".yaml", ".yml", ".proto", ".json", ".txt", ".cfg", ".ini", ".sh", ".js", ".ts", ""}
# Assembled, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:ho" + r"me|wo" + r"rk|ro" + r"ot|Us" + r"ers|opt)/[\w.-]")
LEFT_OVER = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")


def _tracked() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    if done.returncode != 0:  # an unpacked archive: take what lies there
        skipped = {".venv", "node_modules", ".git", "__pycache__"}
        return [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file() and not skipped & set(p.parts)]
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


FILES = _tracked()


def _texts() -> list[tuple[str, str]]:
    return [
        (name, (ROOT / name).read_text(encoding="utf-8", errors="replace"))
        for name in FILES
        if Path(name).suffix in TEXT and name != "LICENSE"
    ]


def _lines(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in _texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    assert _lines(MACHINE_PATH) == []


def test_the_real_sets_are_named_by_tests_and_checks_only() -> None:
    found = _lines(re.compile(r"\bsha" + r"red/"))
    assert [line for line in found if not line.startswith(NAMES_REAL_SETS)] == []


def test_nothing_is_left_for_later_in_a_comment() -> None:
    assert _lines(LEFT_OVER) == []


def test_files_fit_in_the_head() -> None:
    over = []
    for name in FILES:
        if name.endswith(".py") and not is_generated(Path(name)):
            count = len((ROOT / name).read_text().splitlines())
            if count > LONG_FILES.get(name, LINES_MAX):
                over.append(f"{name}: {count} lines")
    assert over == []


def test_an_agreed_bound_belongs_to_a_file_that_is_there() -> None:
    assert [name for name in LONG_FILES if not (ROOT / name).exists()] == []


def test_files_are_named_after_what_they_hold() -> None:
    assert [name for name in FILES if name.endswith(".py") and Path(name).stem in BANNED_NAMES] == []


def test_every_module_says_what_it_owns() -> None:
    bare = []
    for name in FILES:
        path = Path(name)
        if path.suffix != ".py" or is_generated(path) or name.startswith("tests/"):
            continue
        text = (ROOT / name).read_text()
        if text.strip() and ast.get_docstring(ast.parse(text)) is None:
            bare.append(name)
    assert bare == []


@pytest.mark.parametrize(
    ("pattern", "line"),
    [(MACHINE_PATH, "open('/ho" + "me/ann/x')"), (MACHINE_PATH, "/wo" + "rk/main"), (LEFT_OVER, "# TO" + "DO later")],
)
def test_the_patterns_see_what_they_are_for(pattern: re.Pattern[str], line: str) -> None:
    assert pattern.search(line)
