"""From YAML to a built catalog: every definition read, checked against the others, and named where it is wrong.

Owns the author's language. Loading succeeds whole or fails whole, with one message per mistake. Must never be
imported on a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from reflexarc_build.actions import read_action
from reflexarc_build.features import FeatureReader
from reflexarc_build.idle import idle
from reflexarc_build.models import ModelReader
from reflexarc_build.names import RESERVED, event_names, is_name, operand_names
from reflexarc_build.policies import read_cap
from reflexarc_build.source import (
    SOURCE_BYTES_MAX,
    Mistake,
    Mistakes,
    Node,
    Reading,
    SourceError,
    nearest,
    of_values,
    parse,
    shown,
)
from reflexarc_build.triggers import FOLLOWED_HINT, TriggerReader
from reflexarc_core.catalog import Catalog
from reflexarc_core.condition import CheckedExpression
from reflexarc_core.errors import DefinitionError, InvalidEventError, StorageError
from reflexarc_core.event import EventType, PropertyType, check_event_type, subject_parts
from reflexarc_core.feature import FEATURE_COUNT_MAX, FeatureDefinition
from reflexarc_core.model import ModelDefinition
from reflexarc_core.policy import Cap
from reflexarc_core.segment import reads_more_than_features
from reflexarc_core.trigger import Action, Trigger

SECTIONS = ("event_types", "features", "segments", "models", "triggers", "actions", "caps")
SHIPPED = ("standard",)
SITE_SECTIONS: Final = frozenset(
    ("web", "email", "replies", "forms", "crm", "webhooks", "social", "sharing", "sentiment", "enrichment", "identity")
)
"""What a server's site file says: the other file an author may have in hand."""
NAME_HINT: Final = "letters, digits and _ only, not beginning with a digit, at most 64"


def build_file(path: Path) -> Catalog:
    """The built catalog of a YAML file. Raises SourceError with every mistake, StorageError when it cannot be read."""
    return build_text(_text_of(path), str(path))


def check_file(path: Path) -> tuple[Catalog, list[Mistake]]:
    """The same, and what is no mistake but worth a look: definitions that nothing uses or that cannot do what they seem to."""
    build = _Build(parse(_text_of(path), str(path)))
    built = build.catalog()
    return built, build.unused() + idle(built, build.sections)


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > SOURCE_BYTES_MAX:
            raise DefinitionError(f"{path} has {path.stat().st_size:,} bytes", hint=f"a catalog has at most {SOURCE_BYTES_MAX:,}")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DefinitionError(f"{path} is not UTF-8 text", hint="save the catalog as UTF-8") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None


def build_text(text: str, name: str = "catalog.yaml") -> Catalog:
    """The built catalog of a YAML text; `name` is shown in mistakes. Raises SourceError."""
    return _Build(parse(text, name)).catalog()


def build_mapping(source: Mapping[str, Any]) -> Catalog:
    """The built catalog of plain values, as YAML would have them: a catalog written in Python. Raises SourceError, whose mistakes
    name the path to what is wrong in place of a file and a line.
    """
    return _Build(of_values(source)).catalog()


def standard_text() -> str:
    """The YAML of the standard definitions."""
    return resources.files("reflexarc_build").joinpath("standard.yaml").read_text(encoding="utf-8")


class _Build:
    def __init__(self, root: Node) -> None:
        self.mistakes = Mistakes()
        self.sections: dict[str, dict[str, Node]] = {section: {} for section in SECTIONS}
        self.version = ""
        self.test_subjects: tuple[str, ...] = ()
        self._take(root)
        if not any(self.sections.values()) and not self.mistakes.found:
            self.mistakes.add(root, "the catalog defines nothing", "begin with include: standard")

    def catalog(self) -> Catalog:
        event_types = {name: self._event_type(name, node) for name, node in self.sections["event_types"].items()}
        if len(self.sections["features"]) > FEATURE_COUNT_MAX:
            node = list(self.sections["features"].values())[-1]
            self.mistakes.add(node, f"{len(self.sections['features'])} features", f"at most {FEATURE_COUNT_MAX}")
            self.mistakes.raise_if_any()
        features = {
            name: FeatureReader(event_types, self.mistakes).read(name, node) for name, node in self.sections["features"].items()
        }
        model_reader = ModelReader(event_types, features, self.mistakes)
        models = {name: model_reader.read(name, node) for name, node in self.sections["models"].items()}
        self._check_outputs(models)
        # What expressions are checked against is sound only when the definitions are: stop here if they are not.
        self.mistakes.raise_if_any()
        segments, tracked = self._segments(features)
        names = operand_names(features, segments, models)
        actions: dict[str, Action] = {}
        triggers: dict[str, Trigger] = {}
        caps = self._caps()
        reader = TriggerReader(event_types, features, segments, models, names, caps, self.sections["actions"], self.mistakes)
        for trigger_id, node in self.sections["triggers"].items():
            trigger = reader.read(trigger_id, node)
            if trigger is None:
                continue
            triggers[trigger_id] = trigger
        named = self._actions_named()
        for name, node in self.sections["actions"].items():
            used_by = [t for t in triggers.values() if name in t.actions]
            used = name in named
            types = event_names(event_types, sorted({e for t in used_by for e in t.seen}) if used else event_types)
            actions[name] = read_action(name, node, {**names, **types}, self.mistakes)
        self._check_global(caps, triggers, actions)
        self.mistakes.raise_if_any()
        return Catalog(
            version=self.version, event_types=event_types, features=features, segments=segments, models=models,
            triggers=triggers, actions=actions, caps=caps, test_subjects=self.test_subjects, tracked=tracked,
        )  # fmt: skip

    def _take(self, root: Node) -> None:
        """Merge a document and what it includes; a definition of its own replaces an included one."""
        named = {name for name, _ in root.items()}
        if named & SITE_SECTIONS and not named & {"include", *SECTIONS}:
            self.mistakes.add(root, "this is a site file, not a catalog", "a server takes it with --site")
            self.mistakes.raise_if_any()
        reading = Reading(root, "the catalog", self.mistakes)
        for name in reading.names("include"):
            if name not in SHIPPED:
                self.mistakes.add(
                    reading.node_of("include") or root, f"nothing to include under {name!r}", nearest(name, SHIPPED)
                )
            else:
                self._take(parse(standard_text(), f"{name}.yaml"))
        self.version = reading.text("version", self.version)
        self._take_test_subjects(reading)
        for section in SECTIONS:
            node = reading.node_of(section)
            if node is None:
                continue
            if not isinstance(node.value, dict):
                self.mistakes.add(node, f"{section} is not a mapping", "write NAME: {...} lines")
                continue
            for name, definition in node.items():
                if not is_name(name):
                    self.mistakes.add(definition, f"{section}: {shown(name)} is no name", NAME_HINT)
                self.sections[section][name] = definition
        reading.finish()

    def _take_test_subjects(self, reading: Reading) -> None:
        given = reading.names("test_subjects")
        for subject in given:
            try:
                subject_parts(subject)
            except InvalidEventError as error:
                self.mistakes.add(
                    reading.node_of("test_subjects") or reading.node, f"test_subjects: {shown(subject)} is no subject", error.hint
                )
        self.test_subjects = given or self.test_subjects

    def _caps(self) -> dict[str, Cap]:
        channels = {"in_app"}
        for node in self.sections["actions"].values():
            channel = node.value.get("channel") if isinstance(node.value, dict) else None
            channels.add(str(channel.value) if channel is not None else "in_app")
        shared = {"triggers": self.sections["triggers"].keys(), "channels": channels}
        found = {
            name: read_cap(f"cap {name}", node, self.mistakes, shared=shared) for name, node in self.sections["caps"].items()
        }
        return {name: cap for name, cap in found.items() if cap is not None}

    def _check_global(self, caps: Mapping[str, Cap], triggers: Mapping[str, Trigger], actions: Mapping[str, Action]) -> None:
        """What the server gives out in advance is for devices, and one lease is all that a decision can name."""
        shared = {name: cap for name, cap in caps.items() if cap.scope == "global"}
        for trigger_id, trigger in triggers.items() if shared else ():
            channel = actions[trigger.action].channel if trigger.action in actions else ""
            over = [n for n, cap in shared.items() if n not in trigger.policy.exempt and cap.covers(trigger_id, channel)]
            node = self.sections["triggers"][trigger_id]
            if over and trigger.placement == "server":
                message = f"trigger {trigger_id} acts at the server, where the global cap {over[0]} does not count"
                self.mistakes.add(node, message, f"write exempt: [{over[0]}], and a cap of scope device for it")
            elif len(over) > 1:
                self.mistakes.add(
                    node, f"trigger {trigger_id} has two global caps, {' and '.join(over[:2])}", "write exempt: for one"
                )

    def _event_type(self, name: str, node: Node) -> EventType:
        reading = Reading(node, f"event type {name}", self.mistakes)
        properties: dict[str, PropertyType] = {}
        for property_name, property_node in reading.entries("properties"):
            if not is_name(property_name):
                self.mistakes.add(property_node, f"event type {name}: {shown(property_name)} is no name", NAME_HINT)
            elif isinstance(property_node.value, str):
                text = property_node.value
                properties[property_name] = PropertyType(text.rstrip("!"), text.endswith("!"))
            else:
                inner = Reading(property_node, f"{name}.{property_name}", self.mistakes)
                properties[property_name] = PropertyType(
                    inner.text("type", "string"), inner.flag("required"), inner.names("values")
                )
                inner.finish()
        event_type = EventType(name, properties, reading.text("description"))
        reading.finish()
        reading.guard(lambda: check_event_type(event_type))
        return event_type

    def _check_outputs(self, models: Mapping[str, ModelDefinition]) -> None:
        owners: dict[str, str] = {}
        for name, model in models.items():
            for output in filter(None, (model.output, model.factors, model.progression)):
                if not is_name(output):
                    self.mistakes.add(self.sections["models"][name], f"model {name}: {shown(output)} is no name", NAME_HINT)
                elif output in RESERVED or output in owners:
                    self.mistakes.add(
                        self.sections["models"][name], f"model {name}: the name {output!r} is taken", "choose another"
                    )
                owners[output] = name

    def _actions_named(self) -> set[object]:
        """Actions that some trigger names, be the trigger right or wrong."""
        named: set[object] = set()
        for node in self.sections["triggers"].values():
            waiting = [node]
            while waiting:  # the trigger's own, its variants' and its further steps'
                one = waiting.pop()
                if isinstance(one.value, dict):
                    named |= {
                        held.value for name, held in one.items() if name == "action" and not isinstance(held.value, (dict, list))
                    }
                    waiting += one.value.values()
                elif isinstance(one.value, list):
                    waiting += one.value
        return named

    def _segments_followed(self) -> set[object]:
        """Segments that are tracked, or that some trigger waits for."""
        followed: set[object] = {
            name for name, node in self.sections["segments"].items() if isinstance(node.value, dict) and "tracked" in node.value
        }
        for node in self.sections["triggers"].values():
            held = node.plain() if isinstance(node.value, dict) else {}
            for field in ("segment_entered", "segment_left"):
                named = held.get(field, ())
                followed.update([named] if isinstance(named, str) else named if isinstance(named, list) else ())
        return followed

    def unused(self) -> list[Mistake]:
        """Actions no trigger names and segments nothing reads, of the author's own."""
        named = self._actions_named()
        followed = self._segments_followed()
        texts = [str(node.plain()) for section in ("triggers", "actions") for node in self.sections[section].values()]
        found = [
            Mistake(node.file, node.line, f"no trigger uses action {name}", "write action: ... in a trigger, or take it out")
            for name, node in self.sections["actions"].items() if name not in named
        ]  # fmt: skip
        found += [
            Mistake(node.file, node.line, f"nothing reads segment {name}", f"read it as segments.{name}, or take it out")
            for name, node in self.sections["segments"].items()
            if name not in followed and not any(f"segments.{name}" in text for text in texts)
        ]  # fmt: skip
        return found

    def _segments(self, features: Mapping[str, FeatureDefinition]) -> tuple[dict[str, CheckedExpression], tuple[str, ...]]:
        """The segments, and the names of those that are tracked."""
        from reflexarc_build.cel import check_expression

        names = operand_names(features, {}, {})
        segments: dict[str, CheckedExpression] = {}
        tracked: list[str] = []
        for name, node in self.sections["segments"].items():
            text, is_tracked, place = self._segment(name, node)
            if not text.strip():
                continue
            try:
                checked = check_expression(text, names)
            except DefinitionError as error:
                self.mistakes.add(place, f"segment {name}: {error.message}", error.hint)
                continue
            if str(checked.result_type) != "bool":
                self.mistakes.add(place, f"segment {name} is {checked.result_type}", "write a condition that is true or false")
            more = reads_more_than_features(checked, features) if is_tracked else ""
            if more:
                self.mistakes.add(place, f"segment {name} is tracked and reads {more}, which no subject keeps", FOLLOWED_HINT)
            segments[name] = checked
            tracked += [name] if is_tracked else []
        return segments, tuple(tracked)

    def _segment(self, name: str, node: Node) -> tuple[str, bool, Node]:
        """A condition alone, or with whether it is tracked; its text (empty for none, which is noted), and where that stands."""
        if not isinstance(node.value, dict):
            text = node.value if isinstance(node.value, str) else ""
            if not text.strip():
                self.mistakes.add(node, f"segment {name} is {shown(node.value)}", "write a condition, in quotes")
            return text, False, node
        reading = Reading(node, f"segment {name}", self.mistakes)
        text, is_tracked = reading.text("condition", required=True), reading.flag("tracked")
        reading.finish()
        return text, is_tracked, reading.node_of("condition") or node


def mistakes_of(error: DefinitionError) -> list[Any]:
    """The single mistakes of a failed build, for tools that list them."""
    return error.mistakes if isinstance(error, SourceError) else [error]
