"""The user guide tells the truth: its snippets run, its commands exist, its numbers are the code's."""

import dataclasses
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from reflexarc import Client, Config
from reflexarc.config import Config as ConfigClass
from reflexarc_build.reader import build_text, standard_text
from reflexarc_build.source import parse
from reflexarc_cli.importing.mapping import Mapping, shipped_names
from reflexarc_cli.importing.mapping_reader import read_mapping
from reflexarc_cli.main import cli
from reflexarc_core.aggregation import KINDS
from reflexarc_core.decision import Reason
from reflexarc_core.errors import ERROR_CLASSES
from reflexarc_proto.wire import status_of
from reflexarc_server.site.reader import SECTIONS, site_of
from tests.house.rooms import ROOT

DOCS = ROOT / "docs"
PAGES = {path.name: path.read_text() for path in sorted(DOCS.glob("*.md"))}
FIGURES = sorted((DOCS / "figures").glob("*.jsonl"))
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]*) \|(?: ([^|]*) \|)?", re.MULTILINE)


def _blocks(language: str) -> list[tuple[str, str]]:
    """(page:number, text) of every fenced block of that language."""
    found = []
    for page, text in PAGES.items():
        blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        found += [(f"{page}:{number}", block) for number, block in enumerate(blocks, 1)]
    return found


def _run(script: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        cwd=folder, env={**os.environ, "HOME": str(folder)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def _names(page: str) -> set[str]:
    """Everything a page puts between backticks."""
    return set(re.findall(r"`([^`\n]+)`", PAGES[page]))


# -- what can be run ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "code"), _blocks("python"), ids=lambda value: value if value.endswith(".md") else None)
def test_a_snippet_runs_as_written(place: str, code: str, tmp_path: Path) -> None:
    script = tmp_path / "snippet.py"
    script.write_text(code)
    done = _run(script, tmp_path)
    assert done.returncode == 0, f"{place}\n{done.stderr}"


@pytest.mark.parametrize(("place", "text"), _blocks("yaml"), ids=lambda value: value if value.endswith(".md") else None)
def test_a_catalog_a_mapping_or_a_site_of_the_guide_is_one(place: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = yaml.safe_load(text)
    if "columns" in said:
        read_mapping(text, place, "example")
    elif SECTIONS.keys() & said.keys():
        for name in re.findall(r"env:(\w+)", text):
            monkeypatch.setenv(name, "a-secret-of-the-guide-0123456789abcdef")
        site_of(parse(text, place), Path())
    else:
        build_text(text, place)


def test_the_first_program_goes_on_where_it_stopped(tmp_path: Path) -> None:
    script = tmp_path / "snippet.py"
    script.write_text(next(code for place, code in _blocks("python") if place.startswith("getting-started.md")))
    first, second = _run(script, tmp_path), _run(script, tmp_path)
    assert "['FIRED']" in first.stdout
    assert "Thank you for order A-1" in first.stdout
    assert "['COOLDOWN']" in second.stdout
    assert "Thank you" not in second.stdout


def test_the_guide_has_something_to_run() -> None:
    assert len(_blocks("python")) >= 4
    assert len(_blocks("yaml")) >= 6


def test_the_kiosk_example_runs(tmp_path: Path) -> None:
    done = _run(ROOT / "examples" / "kiosk.py", tmp_path, str(tmp_path / "store"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("on screen: Dürfen wir beim Aussuchen helfen?") == 1
    assert "second visitor, session subject\n\nwhy: cannot_choose" in done.stdout


def test_the_backend_example_runs(tmp_path: Path) -> None:
    done = _run(ROOT / "examples" / "backend_service.py", tmp_path, str(tmp_path / "server"))
    assert done.returncode == 0, done.stderr
    assert "the same tickets once more: {'duplicate': 200}" in done.stdout
    assert re.search(r"decided: \{'FIRED': 1\d\d, 'HOLDOUT': \d\d\}", done.stdout)


# -- commands ----------------------------------------------------------------------------------------------------


def _commands() -> list[tuple[str, str]]:
    lines = []
    for page, text in PAGES.items():
        lines += [(page, found) for found in re.findall(r"^    (reflexarc .+)$", text, re.MULTILINE)]
        lines += [(page, found) for found in re.findall(r"`(reflexarc [a-z][^`\n]*)`", text)]
    return lines


def test_every_command_of_the_guide_exists() -> None:
    commands = _commands()
    assert len(commands) >= 15
    wrong = [f"{page}: {line}: {why}" for page, line in commands if (why := _misuse(line))]
    assert wrong == []


def test_a_wrong_command_would_be_seen() -> None:
    assert _misuse("reflexarc serf --data x")
    assert _misuse("reflexarc serve --dat x")
    assert _misuse("reflexarc catalog")
    assert not _misuse("reflexarc train --data x --json-file y   # why")


def _misuse(line: str) -> str:
    """Why the command line could not be meant, empty when it could."""
    found: click.Command = cli
    words = shlex.split(line, comments=True)[1:]
    while isinstance(found, click.Group):
        inner = found.commands.get(words[0]) if words else None
        if inner is None:
            return f"no command {words[:1]}"
        found, words = inner, words[1:]
    known = {option for parameter in found.params for option in parameter.opts}
    unknown = [word for word in words if word.startswith("-") and word not in known]
    return f"no option {unknown}" if unknown else ""


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_stands_in_the_guide(name: str) -> None:
    assert any(re.match(rf"reflexarc {name}\b", line) for _, line in _commands())


# -- numbers and names -------------------------------------------------------------------------------------------


def _limits() -> list[tuple[str, str, str]]:
    return [
        (page, name, value.replace(",", ""))
        for page, text in PAGES.items()
        for name, value, _ in ROW.findall(text)
        if re.fullmatch(r"reflexarc[\w.]*\.[A-Z_]+", name)
    ]


def test_every_limit_of_the_guide_is_the_codes() -> None:
    limits = _limits()
    assert len(limits) >= 40
    wrong = []
    for page, name, value in limits:
        module, _, constant = name.rpartition(".")
        held = getattr(importlib.import_module(module), constant, None)
        if str(held) != value:
            wrong.append(f"{page}: {name} is {held}, not {value}")
    assert wrong == []


def test_every_knob_is_listed_with_its_default() -> None:
    listed = {name: default.strip("` ") for name, default, _ in ROW.findall(PAGES["client.md"])}
    for field in dataclasses.fields(ConfigClass):
        shown = json.dumps(field.default) if isinstance(field.default, str) else str(field.default)
        assert listed.get(field.name) == shown, field.name


def test_every_field_of_stats_is_explained(tmp_path: Path) -> None:
    with Client(tmp_path, config=Config(locale="en")) as client:
        fields = set(client.stats())
    assert fields - _names("client.md") == set()


def test_every_call_of_the_client_is_named() -> None:
    calls = {name for name in vars(Client) if not name.startswith("_")} - {"device", "log", "runtime", "live_bundle", "moment"}
    text = PAGES["client.md"]
    assert {name for name in calls if f"{name}(" not in text and f"`{name}`" not in text and f".{name}`" not in text} == set()


def test_every_reason_is_explained() -> None:
    assert {reason.value for reason in Reason} - _names("decisions.md") == set()


def test_the_errors_page_is_the_table_of_the_code() -> None:
    listed = {
        cells[0]: (cells[1], cells[3])
        for line in PAGES["errors.md"].splitlines()
        if len(cells := [cell.strip(" `") for cell in line.strip("|").split("|")]) == 4 and cells[0].endswith("Error")
    }
    assert listed == {cls.__name__: (cls.code, status_of(cls("x")).name) for cls in ERROR_CLASSES}


def test_the_catalog_page_names_what_the_author_may_write() -> None:
    names = _names("catalog.md")
    standard = yaml.safe_load(standard_text())
    for section in ("event_types", "features", "models"):
        assert set(standard[section]) - names == set(), section
    assert set(KINDS) - names == set()


def test_the_nine_features_are_described_as_they_are() -> None:
    listed = {name: text for name, text, _ in ROW.findall(PAGES["catalog.md"])}
    days = {"d": 1.0, "h": 1 / 24}
    for name, feature in yaml.safe_load(standard_text())["features"].items():
        text = listed[name]
        assert f"`{feature['aggregation']}`" in text, name
        span = feature.get("window") or feature.get("half_life")
        assert f"{int(span[:-1])} days" in text, name
        assert ("scope subject" in text) == (feature.get("scope") == "subject"), name
        bucket = feature.get("bucket", "")
        if bucket:
            count, unit = int(bucket[:-1]), "day" if days[bucket[-1]] == 1.0 else "hour"
            assert f"{count} {unit}" in text, name
        if isinstance(feature["of"], dict) and feature["aggregation"] == "decayed_sum":
            assert all(f"{event} {weight}" in text for event, weight in feature["of"].items()), name


def test_the_import_page_names_every_field_and_mapping() -> None:
    names = _names("importing.md")
    assert set(shipped_names()) - names == set()
    fields = {field.name for field in dataclasses.fields(Mapping)}
    spoken = {"name", "cut_time", "place", "kinds", "subject_column", "subject_kind", "time_column", "time_format",
              "event_id_columns", "event_id_prefix", "event_type_column"}  # fmt: skip
    assert fields - spoken - names == set()


def test_the_figures_of_the_benchmarks_page_are_those_of_its_runs() -> None:
    page = PAGES["benchmarks.md"]
    assert FIGURES, "no run is kept"
    for path in FIGURES:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert f"`{lines[0]['machine']['revision']}`" in page, path.name
        for name, goal in lines[-1]["goals"].items():
            verdict = {True: "holds", False: "does not hold", None: "printed"}[goal["holds"]]
            assert f"| `{name}` | {goal['value']} | {goal['goal']} | {verdict} |" in page, f"{path.name}: {name}"


def test_every_link_leads_somewhere() -> None:
    broken = [
        f"{page}: {target}"
        for page, text in PAGES.items()
        for target in re.findall(r"\]\(([^)#:]+)\)", text)
        if not (DOCS / target).exists()
    ]
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    assert {name for name in PAGES if name != "index.md"} == set(re.findall(r"\((\w[\w-]*\.md)\)", PAGES["index.md"]))
