"""A PostgreSQL of its own for a benchmark: a fresh cluster in a folder, on a socket there, with the server's own defaults.

Owns its start and its end. What decides durability is left as it comes (fsync on, synchronous_commit on) and looked at.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

USER = "postgres"
"""Whom the cluster runs as where we are root, since PostgreSQL refuses to run as root."""


class PostgresMissing(RuntimeError):
    """PostgreSQL cannot run here; the message says what to do."""


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A running cluster; how to connect to it. Raises PostgresMissing where there is none."""
    binaries = _binaries()
    runs_as = USER if os.geteuid() == 0 else None
    folder.mkdir(parents=True)
    if runs_as is not None:
        _belongs(folder, runs_as)
    cluster = folder / "cluster"
    _run([binaries / "initdb", "-D", cluster, "-U", "bench", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"], runs_as)
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}'"
    _run([binaries / "pg_ctl", "-D", cluster, "-w", "-l", folder / "said.txt", "-o", options, "start"], runs_as)
    try:
        yield f"host={folder} user=bench dbname=postgres"
    finally:
        _run([binaries / "pg_ctl", "-D", cluster, "-w", "-m", "fast", "stop"], runs_as)


def _binaries() -> Path:
    places = [Path(found).parent for found in (shutil.which("initdb"),) if found]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "pg_ctl").exists():
            return place
    raise PostgresMissing("PostgreSQL is not installed: `make setup-e2e` installs it, or put its binaries on the PATH")


def _belongs(folder: Path, user: str) -> None:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise PostgresMissing(f"there is no user {user} to run PostgreSQL as: run this as another user than root") from None
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    for above in folder.parents:  # temporary folders are closed to others; it must get through to its own
        if above.stat().st_uid == os.geteuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)


def _run(command: list[str | Path], user: str | None) -> None:
    done = subprocess.run(
        command, user=user, group=user, extra_groups=[] if user else None, cwd="/", capture_output=True, text=True, timeout=120,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise PostgresMissing(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")
