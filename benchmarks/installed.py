"""What an installation weighs: files of the rooms a device needs and of every distribution they require.

Reads installed metadata only. Owns the list of rooms that a device needs.
"""

import re
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEVICE_ROOMS = (
    "client_sdk/reflexarc",
    "edge/reflexarc_core",
    "edge/reflexarc_edge",
    "models/reflexarc_models",
    "proto/reflexarc_proto",
)
NOT_ON_A_DEVICE = "reflexarc_models/train"


def device_mb(extras: tuple[str, ...] = ("edge",)) -> dict[str, float]:
    """Megabytes by distribution of `pip install reflexarc[EXTRAS]` on this machine, byte code left out."""
    found = {"reflexarc": _mb(sum(_room_bytes(room) for room in DEVICE_ROOMS))}
    for name in sorted(_closure("reflexarc", extras) - {"reflexarc"}):
        files = metadata.distribution(name).files or []
        paths = (Path(str(file.locate())) for file in files if "__pycache__" not in file.parts)
        found[name] = _mb(sum(path.stat().st_size for path in paths if path.is_file()))
    return found


def _closure(name: str, extras: tuple[str, ...]) -> set[str]:
    from packaging.requirements import Requirement

    seen: set[str] = set()
    asked: set[tuple[str, tuple[str, ...]]] = set()
    waiting = [(name, extras)]
    while waiting:
        current, wanted = waiting.pop()
        if (current, wanted) in asked:
            continue
        asked.add((current, wanted))
        try:
            required = metadata.requires(current) or []
        except metadata.PackageNotFoundError:
            continue
        seen.add(current)
        for text in required:
            requirement = Requirement(text)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in (*wanted, "")):
                waiting.append((_canonical(requirement.name), tuple(sorted(requirement.extras))))
    return seen


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _room_bytes(room: str) -> int:
    return sum(
        path.stat().st_size
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and NOT_ON_A_DEVICE not in str(path)
    )


def _mb(count: int) -> float:
    return round(count / 2**20, 2)
