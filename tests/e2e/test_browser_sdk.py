"""The browser SDK in real Chromium, against an intake that tells what it was sent (`browser/`, run by Node's own runner)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "browser"
WEB = HERE.parents[2] / "client_sdk" / "web"
FILES = sorted(HERE.glob("*.test.mjs")) + sorted((WEB / "test").glob("*.test.mjs"))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_the_browser_sdk(file: Path) -> None:
    assert shutil.which("chromium"), "run `make setup-e2e`"
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", file.name],
        cwd=file.parent,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    failed = [line for line in done.stdout.splitlines() if line.startswith("not ok")]
    assert done.returncode == 0, "\n".join([*failed, done.stdout[-6_000:], done.stderr[-2_000:]])
    assert "# pass 0" not in done.stdout
