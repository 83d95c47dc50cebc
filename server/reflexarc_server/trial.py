"""A trial: whether a host could run a catalog with these models, before it is made live anywhere.

Owns nothing. Must never make anything live.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError, ReflexArcError
from reflexarc_core.model import LiveModel
from reflexarc_core.plan import Plan
from reflexarc_core.trigger import PLACEMENTS
from reflexarc_models.artifact import Artifact

FORM_OF: Final = {"edge": "device", "server": "server"}


def try_out(catalog: Catalog, artifacts: Mapping[str, Mapping[str, Artifact]]) -> None:
    """Plan it as a host of each placement does, every model and every trigger of it. artifacts: form -> model id -> artifact.

    Raises DefinitionError naming the trigger or the model.
    """
    for placement in PLACEMENTS:
        _plan(catalog, placement, artifacts.get(FORM_OF[placement], {}))


def _plan(catalog: Catalog, placement: str, artifacts: Mapping[str, Artifact]) -> None:
    models = {name: LiveModel(held.digest, held.inputs, held.newest_label_time, held.hours) for name, held in artifacts.items()}
    plan = Plan(catalog, placement, models)
    for model_id in plan.models:
        try:
            plan.scoring(model_id)
        except KeyError as error:
            raise DefinitionError(
                f"models.{model_id}: it reads {error}, which the catalog does not have", hint="train it with this catalog"
            ) from None
    for trigger in plan.triggers.values():
        try:
            plan.alone(trigger)
            plan.condition(trigger)
        except ReflexArcError as error:
            raise DefinitionError(f"triggers.{trigger.trigger_id}: {error.message}", hint=error.hint) from None


__all__ = ["try_out"]
