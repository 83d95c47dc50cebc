"""Who may import whom. Reads the source, so an import that only one machine reaches is seen on every machine."""

from pathlib import Path

import pytest

from tests.house.rooms import EXCEPTIONS, ROOMS, ROOT, breach, imports_in, sources


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_the_table_lets_it_see(room: str) -> None:
    files = list(sources(room))
    if not files:
        pytest.fail(f"{ROOMS[room].folder} holds no module: the table names a room that is not there")
    found = [breach(one, room) for file in files for one in imports_in((ROOT / file).read_text(), file)]
    assert [message for message in found if message] == []


def test_every_package_stands_in_the_table() -> None:
    folders = {
        str(init.parent.relative_to(ROOT))
        for root in ("client_sdk", "edge", "models", "proto", "server")
        for init in (ROOT / root).glob("*/__init__.py")
    }
    assert folders == {room.folder for name, room in ROOMS.items() if "." not in name}


def test_an_exception_that_is_no_longer_used_is_taken_out() -> None:
    for file, target in EXCEPTIONS:
        path = ROOT / file
        if path.exists():
            assert any(one.module.startswith(target) for one in imports_in(path.read_text(), Path(file))), file


@pytest.mark.parametrize(
    ("room", "text", "part"),
    [
        ("reflexarc_core", "import numpy", "not among what"),
        ("reflexarc_core", "import re2", "inside a function only"),
        ("reflexarc_core", "def f():\n    import reflexarc_edge.log", "may not see reflexarc_edge"),
        ("reflexarc_edge", "from reflexarc_models.walk import walk", "may not see reflexarc_models"),
        ("reflexarc_edge", "from google.protobuf import message", "not among what"),
        ("reflexarc_server", "from reflexarc.client import Client", "may not see reflexarc"),
        ("reflexarc_server", "from reflexarc_models import train", "may not see reflexarc_models.train"),
        ("reflexarc_models", "import numpy", "inside a function only"),
        ("reflexarc", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import reflexarc_server", "may not see"),
        ("reflexarc", "from . import client", "write the whole name"),
    ],
)
def test_a_breach_is_seen(room: str, text: str, part: str) -> None:
    messages = [breach(one, room) for one in imports_in(text, Path("somewhere.py"))]
    assert any(part in message for message in messages), messages


@pytest.mark.parametrize(
    ("room", "text"),
    [
        ("reflexarc_core", "import json\ndef f():\n    import re2"),
        ("reflexarc_models", "def f():\n    import numpy"),
        ("reflexarc_models.train", "import numba\nfrom reflexarc_models import artifact"),
        ("reflexarc_cli", "from reflexarc_models.train import history"),
    ],
)
def test_what_is_allowed_passes(room: str, text: str) -> None:
    assert [m for one in imports_in(text, Path("somewhere.py")) if (m := breach(one, room))] == []
