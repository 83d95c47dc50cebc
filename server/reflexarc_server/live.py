"""What is live on this server now: the bundle, its catalog and the scorers of both forms.

Owns the switch: one assignment of a whole value. The fold follows through the log (`CatalogInput`), so that a replay
switches where the first run did.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError
from reflexarc_core.model import LiveModel
from reflexarc_core.reads import Reads
from reflexarc_core.record import CatalogInput, ControlInput, Moment
from reflexarc_core.template import expressions
from reflexarc_models.artifact import Artifact
from reflexarc_models.scorer import KERNEL, ArtifactScorer, self_test
from reflexarc_server.clock import Clock
from reflexarc_server.distribution import Bundle, Distribution
from reflexarc_server.records import own_row
from reflexarc_server.store.port import Store
from reflexarc_server.trial import try_out

ACTIVATED: Final = "activated"
CHANGES_MAX: Final = 1_000
"""Of what is live, kept for people; the oldest go first."""
_NAN: Final = float("nan")


@dataclass(frozen=True, slots=True)
class Change:
    """One change of what is live. time: ms. digest, before: of bundles, `before` empty for none. by: who, as they said; key_id:
    the key they showed."""

    time: int
    action: str
    digest: str
    before: str
    version: int
    catalog_digest: str
    catalog_version: str
    by: str = ""
    key_id: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a change by whoever makes it."""

    action: str = ACTIVATED
    by: str = ""
    key_id: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Live:
    """One state of affairs. bundle: None until one was activated."""

    catalog: Catalog
    bundle: Bundle | None
    scorers: Mapping[str, ArtifactScorer]

    @property
    def digest(self) -> str:
        """The bundle's digest, empty for none."""
        return self.bundle.digest if self.bundle is not None else ""

    @property
    def version(self) -> int:
        """The bundle's version, 0 for none."""
        return self.bundle.version if self.bundle is not None else 0


class Switch:
    """Holds what is live, and makes something else live. fallback: the catalog until a bundle is activated."""

    def __init__(self, store: Store, distribution: Distribution, clock: Clock, fallback: Catalog) -> None:
        self._store = store
        self._distribution = distribution
        self._clock = clock
        self._lock = threading.Lock()
        self._activating = threading.Lock()
        """Held while models are tried out and compiled, which takes seconds: a pause does not wait for that."""
        digest = str(store.kept("bundle", ""))
        self.live = self._make(distribution.load(digest)) if digest else Live(fallback, None, {})
        self.paused: tuple[str, ...] = tuple(store.kept("paused", []))
        self._tell_engine(self.live)

    def activate(self, digest: str, said: Said | None = None, instead_of: str | None = None) -> Change:
        """Make a bundle live, after its server forms passed their self-test; the change, which is kept.

        instead_of: digest of the bundle that must be live (empty: none), None for whichever. Raises DefinitionError for no such
        bundle, another one live or one that a host could not run, ManifestError for a damaged one, ScoringError when a model
        does not run.
        """
        said = said or Said()
        with self._activating:
            if instead_of is not None and self.live.digest != instead_of:
                raise DefinitionError("another bundle became live meanwhile", hint="look at what is live, and try again")
            bundle = self._distribution.load(digest)
            try_out(bundle.catalog, bundle.artifacts)
            for artifact in bundle.artifacts["server"].values():
                self_test(artifact, KERNEL)
            live = self._make(bundle)
            change = Change(
                self._clock.now_ms(), said.action, digest, self.live.digest, live.version, live.catalog.digest,
                live.catalog.version, said.by, said.key_id, said.note,
            )  # fmt: skip
            with self._lock:
                self._tell_engine(live, change)
                self.live = live
            return change

    def changes(self) -> list[Change]:
        """Every change of what is live, oldest first."""
        return [Change(**kept) for kept in self._store.kept("changes", [])]

    def pause(self, trigger_ids: tuple[str, ...]) -> tuple[str, ...]:
        """Replace the set of paused triggers."""
        with self._lock, self._store.transaction() as transaction:
            paused = tuple(sorted(set(trigger_ids)))
            now = self._clock.now_ms()
            transaction.insert(own_row(ControlInput(Moment(now, online=True), paused), now))
            transaction.count("records", 1)
            transaction.keep("paused", list(paused))
        self.paused = paused
        return paused

    def _make(self, bundle: Bundle) -> Live:
        scorers = {form: ArtifactScorer(artifacts, KERNEL) for form, artifacts in bundle.artifacts.items()}
        for form, artifacts in bundle.artifacts.items():
            for model_id, artifact in artifacts.items():
                # The first score decodes the model and compiles its kernel; a waiting device has 150 ms.
                scorers[form].score(model_id, [_NAN] * len(artifact.inputs), None)
        return Live(bundle.catalog, bundle, scorers)

    def _tell_engine(self, live: Live, change: Change | None = None) -> None:
        """Write the switch into the log, unless the newest one there says the same; and the change, in the same transaction."""
        models = models_of_server_triggers(live.catalog, live.bundle.live_models if live.bundle is not None else {})
        said = [live.catalog.digest, {model_id: model.artifact_digest for model_id, model in models.items()}]
        with self._store.transaction() as transaction:
            transaction.keep("bundle", live.digest)
            if change is not None:
                transaction.keep("changes", [*self._store.kept("changes", []), asdict(change)][-CHANGES_MAX:])
            if self._store.kept("engine", None) == said:
                return
            now = self._clock.now_ms()
            transaction.keep_catalog(live.catalog.digest, live.catalog.to_bytes())
            record = CatalogInput(Moment(now, online=True), live.catalog.digest, live.catalog.version, models)
            transaction.insert(own_row(record, now))
            transaction.count("records", 1)
            transaction.keep("engine", said)


def models_of_server_triggers(catalog: Catalog, live: Mapping[str, LiveModel]) -> dict[str, LiveModel]:
    """The live models that a server-placed trigger reads; the others need not score every event here."""
    read: set[str] = set()
    wanted: set[str] = set()
    for trigger in catalog.triggers.values():
        if trigger.placement == "server":
            wanted.update(line.model_id for line in trigger.lines)
            action = catalog.actions.get(trigger.action)
            reads = Reads.of([trigger.condition, *(expressions(action) if action else ())])
            read.update(reads.outputs)
            for segment in reads.segments:
                read.update(Reads.of([catalog.segments[segment]]).outputs)
    for model_id, model in catalog.models.items():
        if read & {model.output, model.factors}:
            wanted.add(model_id)
    return {model_id: model for model_id, model in live.items() if model_id in wanted}


def scorer_for(models: Mapping[str, LiveModel], distribution: Distribution) -> ArtifactScorer:
    """The scorer of exactly these artifacts. Raises ManifestError when one is gone."""
    artifacts: dict[str, Artifact] = {
        model_id: distribution.server_artifact(model.artifact_digest) for model_id, model in models.items()
    }
    return ArtifactScorer(artifacts, KERNEL)
