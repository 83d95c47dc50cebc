"""What user agents say: the open test cases, and a list of our own of robots, proxies, mail clients and people."""

import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_server.enrichment.user_agent import (
    DEVICE_CLASSES,
    NOBODY,
    REMEMBERED_MAX,
    TEXT_LENGTH_MAX,
    UserAgent,
    _read,
    read_user_agent,
)

LIST = Path(__file__).with_name("agents.tsv")
SHARE = 0.99
"""Of the open test cases, each file alone."""


@cache
def _cases(folder: Path, name: str) -> list[dict[str, Any]]:
    text = (folder / "useragents_uap_core" / f"{name}.yaml").read_text(encoding="utf-8")
    return list(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["test_cases"])


@cache
def _devices(folder: Path) -> list[tuple[dict[str, Any], UserAgent]]:
    return [(case, read_user_agent(case["user_agent_string"])) for case in _cases(folder, "test_device")]


def _version(case: dict[str, Any], *parts: str) -> str:
    known = []
    for part in parts:
        if not case.get(part):
            break
        known.append(case[part])
    return ".".join(known)


def _family(case: dict[str, Any]) -> str:
    return "" if case["family"] == "Other" else case["family"]


@pytest.mark.parametrize("name", ["test_ua", "firefox_user_agent_strings", "podcasting_user_agent_strings"])
def test_browsers_of_the_open_cases(real_sets: Path, name: str) -> None:
    cases = _cases(real_sets, name)
    wrong = [
        case["user_agent_string"]
        for case in cases
        if (lambda found: (found.browser, found.browser_version))(read_user_agent(case["user_agent_string"]))
        != (_family(case), _version(case, "major", "minor", "patch"))
    ]
    assert len(wrong) <= len(cases) * (1 - SHARE), wrong[:5]


def test_systems_of_the_open_cases(real_sets: Path) -> None:
    cases = _cases(real_sets, "test_os")
    wrong = []
    for case in cases:
        found = read_user_agent(case["user_agent_string"])
        if (found.os, found.os_version) != (_family(case), _version(case, "major", "minor", "patch", "patch_minor")):
            wrong.append(case["user_agent_string"])
    assert len(wrong) <= len(cases) * (1 - SHARE), wrong[:5]


def test_devices_of_the_open_cases(real_sets: Path) -> None:
    cases = _devices(real_sets)
    wrong = [
        case["user_agent_string"]
        for case, found in cases
        if not (found.is_machine if case["family"] == "Spider" else found.device == _family(case))
    ]
    assert len(wrong) <= len(cases) * (1 - SHARE), wrong[:5]


def test_people_of_the_open_cases_are_no_robots(real_sets: Path) -> None:
    people = [(case, found) for case, found in _devices(real_sets) if case["family"] != "Spider"]
    taken = [case["user_agent_string"] for case, found in people if found.bot]
    assert len(taken) <= len(people) * 0.001, taken


@pytest.mark.parametrize(
    ("family", "device_class"),
    [
        ("iPhone", "mobile"),
        ("iPad", "tablet"),
        ("HbbTV", "tv"),
        ("Apple Watch", "wearable"),
        ("PlayStation 4", "console"),
        ("Mac", "desktop"),
    ],
)
def test_a_family_of_the_open_cases_is_of_one_class(real_sets: Path, family: str, device_class: str) -> None:
    found = [(case["user_agent_string"], read.device_class) for case, read in _devices(real_sets) if case["family"] == family]
    other = [text for text, read in found if read != device_class]
    assert found and len(other) <= len(found) * (1 - SHARE), other


def _listed() -> Iterator[tuple[str, str, str, str]]:
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            what, name, device_class, text = line.split("\t")
            yield what, name, device_class, text


@pytest.mark.parametrize(("what", "name", "device_class", "text"), list(_listed()))
def test_the_list_of_our_own(what: str, name: str, device_class: str, text: str) -> None:
    found = read_user_agent(text)
    assert found.device_class == device_class, found
    if what == "proxy":
        assert (found.proxy, found.bot) == (name, "")
    elif what == "client":
        assert (found.mail_client, found.bot, found.proxy) == (name, "", "")
    elif what == "person":
        assert (found.bot, found.proxy) == ("", ""), found
        assert not found.is_machine
    else:
        assert (found.bot, found.bot_kind, found.proxy) == (name, what, ""), found
        assert found.is_machine


def test_a_proxy_names_the_mail_client_behind_it() -> None:
    gmail = read_user_agent("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)")
    assert gmail.mail_client == "Gmail" and gmail.is_machine
    assert read_user_agent("Mozilla/5.0").mail_client == "Apple Mail"


def test_nothing_says_nothing() -> None:
    assert read_user_agent("") == NOBODY == UserAgent()


@given(st.text(max_size=3_000))
def test_no_text_breaks_the_reading(text: str) -> None:
    found = read_user_agent(text)
    assert found.device_class in (*DEVICE_CLASSES, "")
    assert read_user_agent(text) == found


@pytest.mark.parametrize(
    "text", ["\ud800 bot", "\x00" * 50, "(" * 5_000, "bot" * 9_000, "aA1._-" * 4_000, "Mozilla/5.0 (" + ";" * 9_000]
)
def test_a_hostile_text_costs_no_more_than_its_length(text: str) -> None:
    started = time.process_time()
    for number in range(20):
        read_user_agent(f"{number}{text}")
    assert time.process_time() - started < 1.0


def test_what_lies_behind_the_limit_is_not_looked_at() -> None:
    assert read_user_agent("x" * TEXT_LENGTH_MAX + "Googlebot").bot == ""


def test_what_is_remembered_is_bounded() -> None:
    for number in range(REMEMBERED_MAX + 50):
        read_user_agent(f"Nobody/{number}")
    assert _read.cache_info().currsize <= REMEMBERED_MAX
