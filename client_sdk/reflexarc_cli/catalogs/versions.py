"""A folder in which one catalog's versions are kept: which is live, who made it so, and the way back.

    live.json            the live catalog, built; a client or a server may read it where it is
    versions/DIGEST.json every version that was ever live, or waits to be
    history.jsonl        one line for each change, only ever added to
    pending.json         what waits for somebody else's approval
    lock                 held by whoever changes something

`live.json` is replaced whole or not at all. Owns the folder's layout. Must never build: it is handed built catalogs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from reflexarc_cli.misuse import Misused
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import StorageError
from reflexarc_core.lineage import ROLLED_BACK, lineage
from reflexarc_edge.whole import whole_file

PROMOTED, PROPOSED, APPROVED = "promoted", "proposed", "approved"
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
        when = datetime.fromtimestamp(self.time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        return f"{when} {self.action} {self.digest[:_SHORT]}{version}{before} by {self.by}{note}"


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
        with self._alone():
            live = self.live()
            if live is not None and live.digest == catalog.digest:
                raise Misused(f"{catalog.digest[:_SHORT]} is live already", hint="nothing to do")
            self._keep(catalog)
            if needs_approval:
                waiting = {"digest": catalog.digest, "by": by, "before": live.digest if live is not None else ""}
                self._write(self._folder / "pending.json", json.dumps(waiting).encode())
                return self._note(PROPOSED, catalog, live, by, note, now)
            return self._make_live(PROMOTED, catalog, live, by, note, now)

    def pending(self) -> Catalog:
        """What waits for approval. Raises Misused when nothing does."""
        return self._version(self._waiting()["digest"])

    def approve(self, by: str, now: int) -> Entry:
        """Make live what waits. Raises Misused when nothing waits, whoever proposed it approves it, or another version became
        live since: what was proposed was a change of that one.
        """
        self._waiting()  # nothing is made where nothing waits
        with self._alone():
            waiting, live = self._waiting(), self.live()
            if waiting["by"] == by:
                raise Misused(f"{by} proposed it", hint="somebody else has to approve")
            if waiting["before"] != (live.digest if live is not None else ""):
                raise Misused("another version became live since it was proposed", hint="propose it again")
            entry = self._make_live(APPROVED, self._version(waiting["digest"]), live, by, f"proposed by {waiting['by']}", now)
            (self._folder / "pending.json").unlink(missing_ok=True)
            return entry

    def _waiting(self) -> dict[str, str]:
        try:
            waiting = json.loads((self._folder / "pending.json").read_bytes())
            return {name: str(waiting[name]) for name in ("digest", "by", "before")}
        except (OSError, ValueError, KeyError, TypeError):
            raise Misused("nothing waits for approval", hint="propose with --needs-approval") from None

    def roll_back(self, digest: str, by: str, note: str, now: int) -> Entry:
        """Make an earlier version live again: see `earlier`. Raises Misused when that one is live already."""
        self.earlier(digest)
        with self._alone():
            live, target = self.live(), self.earlier(digest)
            if live is not None and live.digest == target.digest:
                raise Misused(f"{target.digest[:_SHORT]} is live already", hint="nothing to do")
            return self._make_live(ROLLED_BACK, target, live, by, note, now)

    def earlier(self, digest: str = "") -> Catalog:
        """The version that was live before this one, or that of a digest (its beginning is enough).

        Before is as people mean it: a second roll back goes one further back, and not forth again. Raises Misused for none.
        """
        live = self.live()
        changes = [entry for entry in self.history() if entry.action != PROPOSED]
        if not digest:
            line = lineage(((entry.action, entry.digest) for entry in changes), live.digest if live is not None else "")
            if len(line) < 2:
                raise Misused("there is no version before this one", hint="reflexarc catalog history lists them")
            digest = line[-2]
        known = sorted({entry.digest for entry in changes if entry.digest.startswith(digest)})
        if len(known) != 1:
            said = "no version" if not known else f"{len(known)} versions"
            raise Misused(f"{said} with digest {digest}", hint="reflexarc catalog history lists them")
        return self._version(known[0])

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """While nobody else changes the folder; the lock goes with its process, however that ends."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._failed(error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

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
        """Whole or not at all, and on the disk; others on this machine may read it."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path, 0o644) as file:
                file.write(content)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(f"the catalog's folder {self._folder}: {error.strerror}")
