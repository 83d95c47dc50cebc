"""A folder in which one catalog's versions are kept: which is live, who made it so, and the way back.

    live.json            the live catalog, built; a client or a server may read it where it is
    versions/DIGEST.json every version that was ever live, or waits to be
    history.jsonl        one line for each change, only ever added to
    pending.json         what waits for somebody else's approval

`live.json` is replaced whole or not at all. Owns the folder's layout. Must never build: it is handed built catalogs.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from reflexarc_cli.misuse import Misused
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import StorageError

PROMOTED, PROPOSED, APPROVED, ROLLED_BACK = "promoted", "proposed", "approved", "rolled back"
_SHORT: Final = 12


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the history. time: ms. before: the digest that was live, empty for none. by: who, as they said."""

    time: int
    action: str
    digest: str
    before: str
    version: str
    by: str
    note: str = ""

    def __str__(self) -> str:
        before = f" after {self.before[:_SHORT]}" if self.before else ""
        note = f": {self.note}" if self.note else ""
        version = f" ({self.version})" if self.version else ""
        return f"{self.time} {self.action} {self.digest[:_SHORT]}{version}{before} by {self.by}{note}"


class Versions:
    """One folder. Raises StorageError where it cannot be read or written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def live(self) -> Catalog | None:
        """The live catalog; None when there is none yet."""
        return self._read(self._folder / "live.json")

    def history(self) -> list[Entry]:
        """Every change, oldest first."""
        try:
            lines = (self._folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._failed(error) from None
        found = []
        for line in lines:
            try:
                found.append(Entry(**json.loads(line)))
            except (ValueError, TypeError):
                continue  # a line that was cut off when its writer was killed: the change it tells of did not come about
        return found

    def promote(self, catalog: Catalog, by: str, note: str, now: int, *, needs_approval: bool = False) -> Entry:
        """Make it live, or let it wait until somebody else approves. Raises Misused when it is live already."""
        live = self.live()
        if live is not None and live.digest == catalog.digest:
            raise Misused(f"{catalog.digest[:_SHORT]} is live already", hint="nothing to do")
        self._keep(catalog)
        if needs_approval:
            self._write(self._folder / "pending.json", json.dumps({"digest": catalog.digest, "by": by}).encode())
            return self._note(PROPOSED, catalog, live, by, note, now)
        return self._make_live(PROMOTED, catalog, live, by, note, now)

    def approve(self, by: str, now: int) -> Entry:
        """Make live what waits. Raises Misused when nothing waits, or whoever proposed it approves it."""
        pending = self._folder / "pending.json"
        try:
            waiting = json.loads(pending.read_bytes())
        except (OSError, ValueError):
            raise Misused("nothing waits for approval", hint="propose with --needs-approval") from None
        if waiting["by"] == by:
            raise Misused(f"{by} proposed it", hint="somebody else has to approve")
        entry = self._make_live(APPROVED, self._version(waiting["digest"]), self.live(), by, f"proposed by {waiting['by']}", now)
        pending.unlink(missing_ok=True)
        return entry

    def roll_back(self, digest: str, by: str, note: str, now: int) -> Entry:
        """Make an earlier version live again: the one that was before, or that of a digest (its beginning is enough)."""
        live, history = self.live(), self.history()
        changes = [entry for entry in history if entry.action != PROPOSED]
        if not digest:
            digest = changes[-1].before if changes else ""
            if not digest:
                raise Misused("there is no version before this one", hint="reflexarc catalog history lists them")
        known = sorted({entry.digest for entry in changes if entry.digest.startswith(digest)})
        if len(known) != 1:
            said = "no version" if not known else f"{len(known)} versions"
            raise Misused(f"{said} with digest {digest}", hint="reflexarc catalog history lists them")
        return self._make_live(ROLLED_BACK, self._version(known[0]), live, by, note, now)

    def _make_live(self, action: str, catalog: Catalog, live: Catalog | None, by: str, note: str, now: int) -> Entry:
        self._write(self._folder / "live.json", catalog.to_bytes())
        return self._note(action, catalog, live, by, note, now)

    def _note(self, action: str, catalog: Catalog, live: Catalog | None, by: str, note: str, now: int) -> Entry:
        entry = Entry(now, action, catalog.digest, live.digest if live is not None else "", catalog.version, by, note)
        try:
            path = self._folder / "history.jsonl"
            torn = path.exists() and not path.read_bytes().endswith(b"\n")  # by whoever was killed while writing
            with path.open("a", encoding="utf-8") as file:
                file.write("\n" * torn + json.dumps(asdict(entry), ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._failed(error) from None
        return entry

    def _keep(self, catalog: Catalog) -> None:
        self._write(self._folder / "versions" / f"{catalog.digest}.json", catalog.to_bytes())

    def _version(self, digest: str) -> Catalog:
        found = self._read(self._folder / "versions" / f"{digest}.json")
        if found is None or found.digest != digest:
            raise StorageError(f"version {digest[:_SHORT]} is gone, or is another one now", hint="promote it from its source")
        return found

    def _read(self, path: Path) -> Catalog | None:
        try:
            return Catalog.from_bytes(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from None

    def _write(self, path: Path, content: bytes) -> None:
        """Whole or not at all, and on the disk."""
        fresh = path.with_name(f"{path.name}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(f"the catalog's folder {self._folder}: {error.strerror}")
