"""The catalog: every live definition, validated as a whole, with one digest.

Owns the built form that devices and servers read (canonical JSON). Must never read YAML or check expressions:
that is the author's room, `reflexarc_build`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from reflexarc_core import plain
from reflexarc_core.condition import CheckedExpression
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import EventType
from reflexarc_core.feature import FeatureDefinition
from reflexarc_core.model import ModelDefinition
from reflexarc_core.policy import Cap
from reflexarc_core.soundness import check_catalog
from reflexarc_core.trigger import Action, Trigger

FORMAT: Final = 1
CATALOG_BYTES_MAX: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class Catalog:
    """All definitions by name. `version` is the author's text; `digest` is what hosts compare.

    caps: what several triggers share. test_subjects: people who try things out; what is decided for them counts nowhere.
    tracked: segments whose members the server follows, though no trigger may wait for them.
    """

    version: str = ""
    format: int = FORMAT
    event_types: Mapping[str, EventType] = field(default_factory=dict)
    features: Mapping[str, FeatureDefinition] = field(default_factory=dict)
    segments: Mapping[str, CheckedExpression] = field(default_factory=dict)
    models: Mapping[str, ModelDefinition] = field(default_factory=dict)
    triggers: Mapping[str, Trigger] = field(default_factory=dict)
    actions: Mapping[str, Action] = field(default_factory=dict)
    caps: Mapping[str, Cap] = field(default_factory=dict)
    test_subjects: tuple[str, ...] = ()
    tracked: tuple[str, ...] = ()

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON."""
        return plain.digest(self.to_plain())

    def to_plain(self) -> dict[str, Any]:
        """The built form. Sections that came later are there only when there is something in them: a host that does not know
        them reads the rest, and a catalog keeps its digest."""
        built = {"format": self.format, **plain.to_plain(self)}
        if not self.caps:
            del built["caps"]
        return built

    def to_bytes(self) -> bytes:
        """The built form's canonical bytes."""
        return plain.canonical(self.to_plain())

    @staticmethod
    def from_plain(built: Any) -> Catalog:
        """Raises DefinitionError when the built form is not one, is of a later format, or is nothing an engine could run."""
        written = built.get("format", FORMAT) if isinstance(built, Mapping) else FORMAT
        if type(written) is not int or written > FORMAT:
            raise DefinitionError(
                f"the catalog has format {str(written)[:20]}, this version reads {FORMAT}", hint="update reflexarc on this host"
            )
        catalog = plain.from_plain(Catalog, built)
        try:
            catalog.digest  # noqa: B018  # every host asks for it: what has none is no catalog
        except ValueError:
            raise DefinitionError("the catalog holds numbers or text that JSON cannot", hint="build the catalog again") from None
        check_catalog(catalog)
        return catalog

    @staticmethod
    def from_bytes(built: bytes) -> Catalog:
        """Raises DefinitionError when the bytes are too large, no JSON, or no built catalog."""
        if len(built) > CATALOG_BYTES_MAX:
            raise DefinitionError(f"the catalog has {len(built)} bytes", hint=f"at most {CATALOG_BYTES_MAX}")
        try:
            parsed = json.loads(built)
        except (ValueError, RecursionError) as error:
            raise DefinitionError(f"the catalog is no JSON: {error}") from None
        return Catalog.from_plain(parsed)

    def lines(self, model_id: str) -> tuple[float, ...]:
        """Every line that a trigger compares this model's score with, ascending."""
        return tuple(
            sorted({line.line for trigger in self.triggers.values() for line in trigger.lines if line.model_id == model_id})
        )

    def weeks_of(self, trigger: Trigger) -> str:
        """The model whose hours of the week a trigger waits for: of its lines' models that foresee purchases the first, else the
        catalog's first such model by name; empty where there is none.
        """
        buying = [
            name for name, model in sorted(self.models.items()) if model.label is not None and model.label.kind == "purchase"
        ]
        lined = [line.model_id for line in trigger.lines if line.model_id in buying]
        return (lined or buying or [""])[0]

    def model_of_output(self, name: str) -> ModelDefinition | None:
        """The model whose output (or factors) stands under this bare name in conditions."""
        for model in self.models.values():
            if name in (model.output, model.factors, model.progression):
                return model
        return None
