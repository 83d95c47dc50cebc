"""Where images lie: in memory if there is such a place, since a real sync costs time and promises nothing here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """An empty folder for one test."""
    if not os.access(_MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="reflexarc-", dir=_MEMORY) as folder:
        yield Path(folder)
