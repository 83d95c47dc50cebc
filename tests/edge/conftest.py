"""The worlds of the edge's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core import test_engine_rules as rules
from tests.edge.kit import SLOW, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.live()
    return made


@pytest.fixture
def slow(tmp_path: Path) -> World:
    made = World(tmp_path, rules.catalog(SLOW))
    made.live({})
    return made
