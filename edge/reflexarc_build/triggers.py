"""Triggers as authors write them, checked against what their placement can see."""

from __future__ import annotations

from collections.abc import Mapping

from reflexarc_build.cel import check_expression
from reflexarc_build.names import event_names
from reflexarc_build.patterns import PatternReader
from reflexarc_build.policies import BEST_HOURS, PolicyReader
from reflexarc_build.source import Mistakes, Node, Reading, nearest
from reflexarc_core.condition import CheckedExpression, claim_is_turned, compare_lines, line_misuse
from reflexarc_core.condition.types import CelType
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import EventType
from reflexarc_core.feature import FeatureDefinition
from reflexarc_core.model import ModelDefinition
from reflexarc_core.pattern import Pattern
from reflexarc_core.policy import Cap
from reflexarc_core.segment import reads_more_than_features
from reflexarc_core.trigger import ESCALATIONS, PLACEMENTS, Follow, Goal, Line, Trigger

# Event types that reach the server by other ways than a device: an edge trigger never sees them.
SERVER_SIDE = (
    "email_sent", "email_open", "email_click", "email_bounce", "email_reply", "social_mention", "social_share",
)  # fmt: skip
OUTCOMES = ("impression", "click", "dismissal")
FOLLOW_COUNT_MAX = 32
FOLLOWED_HINT = "a segment that is followed reads features without a key, and subject.kind and subject.known"


class TriggerReader:
    """Reads triggers against one catalog's other definitions."""

    def __init__(
        self,
        event_types: Mapping[str, EventType],
        features: Mapping[str, FeatureDefinition],
        segments: Mapping[str, CheckedExpression],
        models: Mapping[str, ModelDefinition],
        names: Mapping[str, CelType],
        caps: Mapping[str, Cap],
        actions: Mapping[str, Node],
        mistakes: Mistakes,
    ) -> None:
        self.event_types = event_types
        self.features = features
        self.segments = segments
        self.models = models
        self.names = names
        self.actions = actions
        self.mistakes = mistakes
        self._patterns = PatternReader(event_types, mistakes)
        self._policies = PolicyReader(event_types, caps, actions, mistakes)

    def read(self, trigger_id: str, node: Node) -> Trigger | None:
        """One trigger; None when it is too broken to check further. What is wrong is noted."""
        reading = Reading(node, f"trigger {trigger_id}", self.mistakes)
        on = reading.names("on")
        reading.known("on", on, self.event_types, "event type")
        placement = reading.text("placement", "edge", one_of=PLACEMENTS)
        confidence = self._confidence(reading)
        action = reading.text("action", required=True)
        if action and action not in self.actions:
            self.mistakes.add(
                reading.node_of("action") or node, f"trigger {trigger_id}: no action {action!r}", nearest(action, self.actions)
            )
        pattern = self._patterns.read(reading)
        if pattern is not None and on:
            self.mistakes.add(
                node, f"trigger {trigger_id}: on and a pattern", "leave `on` out: the pattern says what it waits for"
            )
        entered, left = self._crossed(reading, "segment_entered"), self._crossed(reading, "segment_left")
        if (entered or left) and (on or pattern is not None):
            message = f"trigger {trigger_id}: a segment, and {'on' if on else 'a pattern'}"
            self.mistakes.add(node, message, "write a trigger for each, or the one in the condition of the other")
        seen = on if pattern is None else pattern.completing
        waits = any(reading.node_of(name) is not None for name in ("pattern", "inactive", "segment_entered", "segment_left"))
        condition = self._condition(reading, seen, required=not waits)
        policy = self._policies.read(reading)
        if policy.best_hours and not any(m.label is not None and m.label.kind == "purchase" for m in self.models.values()):
            message = f"trigger {trigger_id}: window: {BEST_HOURS}, and no model foresees purchases"
            self.mistakes.add(
                reading.node_of("window") or node, message, "declare a model whose label is purchase, or write hours"
            )
        goal = self._goal(reading)
        follows = self._follows(reading)
        escalate = reading.text("escalate", "when_unsure", one_of=ESCALATIONS)
        deadline_ms = reading.duration_ms("deadline", 150)
        life_ms = reading.duration_ms("life")
        dry_run = reading.flag("dry_run")
        description = reading.text("description")
        reading.finish()
        if condition is None:
            return None
        lines = self._lines(reading, condition, confidence)
        scores = {model.output for model in self.models.values()} & set(condition.reads)
        if not on and not scores and not waits:
            self.mistakes.add(
                node, f"trigger {trigger_id} has no `on` and reads no model, so nothing would evaluate it",
                "write on: [EVENT TYPES]",
            )  # fmt: skip
        if placement == "edge":
            self._check_visible(reading, on, pattern, policy.exit)
            self._check_inputs(reading, condition)
            for name in ("segment_entered", "segment_left"):
                self._check_seen_segments(reading, name, entered if name == "segment_entered" else left)
        return Trigger(
            trigger_id=trigger_id, condition=condition, action=action, on=on, pattern=pattern, placement=placement, lines=lines,
            confidence=confidence, escalate=escalate, deadline_ms=deadline_ms, policy=policy, goal=goal, follows=follows,
            life_ms=life_ms, dry_run=dry_run, description=description, segment_entered=entered, segment_left=left,
        )  # fmt: skip

    def _crossed(self, reading: Reading, field: str) -> tuple[str, ...]:
        """Segments whose members are followed: they rest on what a subject keeps."""
        names = reading.names(field, required=reading.node_of(field) is not None)
        reading.known(field, names, self.segments, "segment")
        for name in names:
            more = reads_more_than_features(self.segments[name], self.features) if name in self.segments else ""
            if more:
                node = reading.node_of(field) or reading.node
                self.mistakes.add(node, f"{reading.what}: {field}: {name} reads {more}, which no subject keeps", FOLLOWED_HINT)
        return tuple(name for name in names if name in self.segments)

    def _check_seen_segments(self, reading: Reading, field: str, names: tuple[str, ...]) -> None:
        for name in names:
            for feature in self._features_of(name):
                if self._is_unseen(feature):
                    self.mistakes.add(
                        reading.node_of(field) or reading.node,
                        f"{reading.what}: {field}: {name} rests on {feature}, of events that reach the server and no device",
                        f"write scope: subject in {feature}, or placement: server",
                    )

    def _features_of(self, segment: str) -> list[str]:
        return [held.partition(".")[2] for held in self.segments[segment].reads if held.startswith("features.")]

    def _check_visible(self, reading: Reading, on: tuple[str, ...], pattern: Pattern | None, exit_: tuple[str, ...]) -> None:
        """Rule 5: whatever an edge trigger waits for, or ends by, has to reach a device."""
        steps = () if pattern is None else (*(name for step in pattern.steps for name in step.events), *pattern.cancel)
        for event_type in dict.fromkeys((*on, *steps, *exit_)):
            if event_type in SERVER_SIDE:
                self.mistakes.add(
                    reading.node, f"{reading.what}: {event_type} reaches the server, not a device", "write placement: server"
                )

    def _check_inputs(self, reading: Reading, condition: CheckedExpression) -> None:
        """The same of what its condition rests on, through segments and models too: a model needs one input a device can see."""
        node = reading.node_of("condition") or reading.node
        for name in condition.reads:
            space, dot, rest = name.partition(".")
            read = [rest] if space == "features" and dot else []
            if space == "segments" and dot and rest in self.segments:
                read = self._features_of(rest)
            for feature in read:
                if self._is_unseen(feature):
                    self.mistakes.add(
                        node, f"{reading.what}: {name} rests on {feature}, of events that reach the server and no device",
                        f"write scope: subject in {feature}, or placement: server",
                    )  # fmt: skip
            for model in self.models.values() if not dot else ():
                inputs = model.features if name in (model.output, model.factors, model.progression) else ()
                if inputs and all(map(self._is_unseen, inputs)):
                    self.mistakes.add(
                        node, f"{reading.what}: every input of {name} is of events that reach the server and no device",
                        "write scope: subject in its features, or placement: server",
                    )  # fmt: skip

    def _is_unseen(self, name: str) -> bool:
        """Whether a feature is folded on a device from what never arrives there."""
        feature = self.features.get(name)
        if feature is None or feature.scope != "device":
            return False
        return bool(feature.of) and all(part.event_type in SERVER_SIDE for part in feature.of)

    def _condition(self, reading: Reading, on: tuple[str, ...], *, required: bool) -> CheckedExpression | None:
        """required: whether one has to be written; a pattern may stand alone."""
        text = reading.text("condition", "" if required else "true", required=required)
        node = reading.node_of("condition") or reading.node
        if not text:
            return None
        # Without `on` the trigger follows its models' scores, whose causes are these event types.
        types = on or tuple({name for model in self.models.values() if model.output in text for name in model.score_on})
        try:
            checked = check_expression(text, {**self.names, **event_names(self.event_types, types)})
        except DefinitionError as error:
            self.mistakes.add(node, f"{reading.what}: {error.message}", error.hint)
            return None
        if str(checked.result_type) != "bool":
            self.mistakes.add(node, f"{reading.what}: the condition is {checked.result_type}", "write one that is true or false")
            return None
        return checked

    def _lines(self, reading: Reading, condition: CheckedExpression, confidence: bool) -> tuple[Line, ...]:
        lines: list[Line] = []
        node = reading.node_of("condition") or reading.node
        for model in self.models.values():
            if model.output not in condition.reads:
                continue
            if model.output_type == "bool":
                lines.append(Line(model.model_id, model.line))
                if confidence and claim_is_turned(condition, model.output):
                    self.mistakes.add(
                        node, f"{reading.what}: {model.output} is negated or used as a value, so it is no claim",
                        f"let it stand alone or behind &&, {model.output} && ..., or write confidence: off",
                    )  # fmt: skip
                continue
            misuse = line_misuse(condition, model.output)
            if misuse and confidence:
                self.mistakes.add(
                    node, f"{reading.what}: {misuse}",
                    f"compare it with a literal, {model.output} > 0.7, or write confidence: off",
                )  # fmt: skip
            found = compare_lines(condition, model.output)
            for line in found:
                if not 0.0 <= line < 1.0:
                    self.mistakes.add(
                        node, f"{reading.what}: {model.output} > {line:g} is always or never so",
                        "a score lies between 0 and 1: write 0.7, for example",
                    )  # fmt: skip
            if len(found) > 1 and confidence:
                self.mistakes.add(node, f"{reading.what}: {model.output} has {len(found)} lines", "one line a model and trigger")
            lines.extend(Line(model.model_id, line) for line in found)
        return tuple(lines)

    def _confidence(self, reading: Reading) -> bool:
        node = reading.node_of("confidence")
        if node is None:
            return True
        if node.value != "off":
            self.mistakes.add(node, f"{reading.what}: confidence is {node.value!r}", "leave it out, or write off")
        return False

    def _follows(self, reading: Reading) -> tuple[Follow, ...]:
        node = reading.node_of("follow")
        if node is None:
            return ()
        if not isinstance(node.value, list) or not 0 < len(node.value) <= FOLLOW_COUNT_MAX:
            self.mistakes.add(
                node,
                f"{reading.what}: follow is no list of steps",
                f"write [{{action: NAME, on: [click], wait: 2d}}], up to {FOLLOW_COUNT_MAX}",
            )
            return ()
        return tuple(self._follow(f"{reading.what}: follow {n}", item) for n, item in enumerate(node.value, 1))

    def _follow(self, what: str, node: Node) -> Follow:
        inner = Reading(node, what, self.mistakes)
        action = inner.text("action", required=True)
        if action:
            inner.known("action", (action,), self.actions, "action")
        on = inner.names("on")
        inner.known("on", on, OUTCOMES, "outcome")
        wait_ms = inner.duration_ms("wait")
        if not on and not wait_ms:
            self.mistakes.add(node, f"{what} would never come", "write on: [click], or wait: 2d")
        inner.finish()
        return Follow(action, on, wait_ms)

    def _goal(self, reading: Reading) -> Goal | None:
        node = reading.node_of("goal")
        if node is None:
            return None
        inner = Reading(node, f"{reading.what}: goal", self.mistakes)
        goal = Goal(inner.names("events", required=True), inner.duration_ms("within", 1, required=True))
        inner.known("events", goal.event_types, self.event_types, "event type")
        inner.finish()
        return goal
