"""The browser SDK in real Chromium, against an intake that tells what it was sent (`browser/`, run by Node's own runner)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "browser"


@pytest.mark.parametrize("file", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_the_browser_sdk_in_chromium(file: str) -> None:
    assert shutil.which("chromium"), "run `make setup-e2e`"
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", file], cwd=HERE, capture_output=True, text=True, timeout=180, check=False
    )
    failed = [line for line in done.stdout.splitlines() if line.startswith("not ok")]
    assert done.returncode == 0, "\n".join([*failed, done.stdout[-6_000:], done.stderr[-2_000:]])
    assert "# pass 0" not in done.stdout
