"""Record a release: `python -m tests.skew.record COMMIT NAME` writes tests/skew/records/NAME.tar.gz.

Takes the rooms of that commit (a tag, once there are tags), runs `recorder.py` in them with this environment's packages, and
packs what it left. Done once a release and committed; the records are read by test_skew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROOMS = ("client_sdk", "edge", "models", "proto", "server")


def main(commit: str, name: str) -> None:
    """Record `commit` as `name`."""
    with tempfile.TemporaryDirectory() as made:
        old, out = Path(made) / "old", Path(made) / "out"
        old.mkdir()
        out.mkdir()
        archive = subprocess.run(["git", "archive", commit, *ROOMS], cwd=ROOT, capture_output=True, check=True, timeout=60)
        subprocess.run(["tar", "-x", "-C", old], input=archive.stdout, check=True, timeout=60)
        path = os.pathsep.join(str(old / room) for room in ROOMS)
        command = [sys.executable, str(HERE / "recorder.py"), str(out)]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True, timeout=120)
        target = HERE / "records" / f"{name}.tar.gz"
        target.parent.mkdir(exist_ok=True)
        with tarfile.open(target, "w:gz", compresslevel=9) as packed:
            for part in sorted(out.iterdir()):
                packed.add(part, part.name, filter=_anonymous)
    print(f"{target}: {target.stat().st_size:,} bytes of {commit}")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nobody's: no names or times of the machine it was recorded on."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main(*sys.argv[1:3])
