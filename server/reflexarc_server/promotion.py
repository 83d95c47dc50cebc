"""A catalog becomes live on a running server, and the way back.

Owns the judgement of what comes from outside, and the bundle that is made of it: the catalog with the live bundle's models,
published for its lines. Devices take it like any other bundle. Must never train, and never make live what a host could not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError
from reflexarc_core.lineage import ROLLED_BACK, lineage
from reflexarc_models.artifact import Artifact
from reflexarc_models.publish import published_for
from reflexarc_server.distribution import FORMS, Distribution
from reflexarc_server.live import Change, Said, Switch
from reflexarc_server.trial import try_out

BEGAN: Final = "began"
PROMOTED: Final = "promoted"


@dataclass(frozen=True, slots=True)
class Judged:
    """A catalog that a host can run. artifacts: model id -> form -> artifact, published for it. before: digest of the bundle that
    was live, empty for none. notes: what builds and will not do what it seems to."""

    catalog: Catalog
    artifacts: Mapping[str, Mapping[str, Artifact]]
    before: str
    notes: list[str]


class Promotion:
    """What is live on one server, changed by its operators."""

    def __init__(self, distribution: Distribution, switch: Switch) -> None:
        self._distribution = distribution
        self._switch = switch

    def judge(self, built: bytes, live_catalog_digest: str = "") -> Judged:
        """What a promotion would make of it; nothing changes.

        live_catalog_digest: of the catalog that must be live, empty for whichever. Raises DefinitionError naming the place of
        what a host could not run, or of what the live models were not trained for.
        """
        catalog = Catalog.from_bytes(built)
        live = self._switch.live
        if live_catalog_digest not in ("", live.catalog.digest):
            raise DefinitionError("another catalog became live meanwhile", hint="look at what it changes now, and try again")
        if live.catalog.digest == catalog.digest and live.bundle is not None:
            raise DefinitionError(f"catalog {catalog.digest[:12]} is live already", hint="nothing to do")
        held: Mapping[str, Mapping[str, Artifact]] = live.bundle.artifacts if live.bundle is not None else {}
        artifacts, notes = published_for(catalog, live.catalog, held)
        forms = {form: {name: held[form] for name, held in artifacts.items() if form in held} for form in FORMS}
        try_out(catalog, forms)
        return Judged(catalog, artifacts, live.digest, notes)

    def promote(self, built: bytes, live_catalog_digest: str, by: str, key_id: str, note: str) -> tuple[Change, list[str]]:
        """Make a built catalog live; the change, and what is worth knowing. Raises as `judge`; nothing has changed then."""
        judged = self.judge(built, live_catalog_digest)
        before = judged.before
        if not before:
            # What was served from the start is a version too: the first promotion can be taken back like any other.
            first = self._distribution.keep(self._switch.live.catalog, {})
            before = self._switch.activate(first, Said(BEGAN, by, key_id), instead_of="").digest
        digest = self._distribution.keep(judged.catalog, judged.artifacts)
        return self._switch.activate(digest, Said(PROMOTED, by, key_id, note), instead_of=before), judged.notes

    def roll_back(self, digest: str, by: str, key_id: str, note: str) -> Change:
        """Make an earlier bundle live again, whole: of a digest (its beginning is enough), or the one before the live one.

        Before is as people mean it: a second roll back goes one further back, and not forth again. Raises DefinitionError when
        there is none, or it is live already.
        """
        live, changes = self._switch.live.digest, self._switch.changes()
        if not digest:
            line = lineage(((change.action, change.digest) for change in changes), live)
            if len(line) < 2:
                raise DefinitionError("there is no bundle before this one", hint="reflexarc catalog history lists them")
            digest = line[-2]
        known = sorted({change.digest for change in changes if change.digest.startswith(digest)})
        if len(known) != 1:
            said = "no bundle" if not known else f"{len(known)} bundles"
            raise DefinitionError(f"{said} with digest {digest[:64]}", hint="reflexarc catalog history lists them")
        if known[0] == live:
            raise DefinitionError(f"bundle {live[:12]} is live already", hint="nothing to do")
        return self._switch.activate(known[0], Said(ROLLED_BACK, by, key_id, note), instead_of=live)

    def changes(self) -> list[Change]:
        """Every change of what is live, oldest first."""
        return self._switch.changes()

    def catalog(self, bundle_digest: str) -> bytes:
        """The built catalog of a bundle; empty digest: what is live. Raises DefinitionError, ManifestError."""
        held = self._distribution.load(bundle_digest).catalog if bundle_digest else self._switch.live.catalog
        return held.to_bytes()


__all__ = ["BEGAN", "PROMOTED", "ROLLED_BACK", "Promotion"]
