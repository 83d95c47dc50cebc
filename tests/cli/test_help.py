"""The commands in sections: a stranger finds the one that is needed, in the help and in the README."""

from __future__ import annotations

import re
from collections import Counter

from click.testing import CliRunner

from reflexarc_cli.main import cli
from reflexarc_cli.sections import SECTIONS
from tests.house.rooms import ROOT


def test_every_command_is_shown_once_in_its_section() -> None:
    shown = CliRunner().invoke(cli, ["--help"], terminal_width=110).output
    sections = re.split(r"^(\S.*):$", shown.partition("Show this message")[2], flags=re.MULTILINE)
    parts = zip(sections[1::2], sections[2::2], strict=True)
    found = {title: re.findall(r"^  ([a-z-]+)  ", text, re.MULTILINE) for title, text in parts}
    counted = Counter(name for names in found.values() for name in names)
    assert counted == Counter(cli.commands.keys())
    for title, names in SECTIONS.items():
        assert found[title] == [name for name in names if name in cli.commands]
    assert all(len(line) <= 110 for line in shown.splitlines())


def test_the_readme_names_every_command_of_a_section() -> None:
    text = (ROOT / "README.md").read_text()
    for title, names in SECTIONS.items():
        row = next((line for line in text.splitlines() if line.startswith(f"| {title} |")), "")
        assert [name for name in names if name in cli.commands and f"`{name}`" not in row] == [], title
