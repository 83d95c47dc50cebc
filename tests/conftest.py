"""What every test shares: the Hypothesis profile and where real input lies."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every run and every machine: a failure that CI saw can be seen at home.
settings.register_profile("house", derandomize=True, deadline=None, max_examples=60, database=None)
settings.register_profile("wide", derandomize=False, deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("REFLEXARC_HYPOTHESIS", "house"))

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_sets() -> Path:
    """The folder of real sets. Without it a test is skipped with the reason, or fails where they are required."""
    folder = Path(os.environ.get("REFLEXARC_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        reason = f"no real sets at {folder}: set REFLEXARC_DATA"
        if os.environ.get("REFLEXARC_REQUIRE_DATA"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
