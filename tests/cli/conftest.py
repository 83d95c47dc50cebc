"""Stores made once and copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.kit import KEY, killed_store, make_store


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of stores: `sound`, `sealed` and `killed`; and `key`."""
    folder = tmp_path_factory.mktemp("made")
    make_store(folder / "sound")
    make_store(folder / "sealed", key=KEY)
    killed_store(folder / "killed")
    (folder / "key").write_text(KEY.hex() + "\n")
    return folder


@pytest.fixture
def sound(made: Path, tmp_path: Path) -> Path:
    """A sound store that nobody owns."""
    return Path(shutil.copytree(made / "sound", tmp_path / "store"))


@pytest.fixture
def sealed(made: Path, tmp_path: Path) -> Path:
    """The same, encrypted."""
    return Path(shutil.copytree(made / "sealed", tmp_path / "store"))


@pytest.fixture
def killed(made: Path, tmp_path: Path) -> Path:
    """A store whose process was killed."""
    return Path(shutil.copytree(made / "killed", tmp_path / "store"))


@pytest.fixture
def key(made: Path) -> Path:
    """The file with the key of `sealed`."""
    return made / "key"
