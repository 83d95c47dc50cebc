"""ReportService."""

from __future__ import annotations

from typing import Final

import grpc

from reflexarc_core.decision import Reason
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.explain import NEVER_SEEN, lines_of
from reflexarc_proto.v1 import decision_pb2, record_pb2
from reflexarc_proto.v1 import report_service_pb2 as messages
from reflexarc_proto.v1.report_service_pb2_grpc import ReportServiceServicer
from reflexarc_proto.wire import (
    decision_to_proto,
    event_to_proto,
    reason_from_proto,
    reason_to_proto,
    subject_from_proto,
    subject_to_proto,
)
from reflexarc_server.clock import Clock
from reflexarc_server.fold import Fold
from reflexarc_server.intervals import Arm, Lift
from reflexarc_server.live import Switch
from reflexarc_server.results import Results, TriggerResult
from reflexarc_server.segments import Segments
from reflexarc_server.store.port import Store
from reflexarc_server.timeline import ENTRIES, ENTRIES_MAX, Entry, Timelines

PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 1_000
EXPLAINED_DECISIONS: Final = 5
ANSWER_BYTES_MAX: Final = 3_000_000
"""Of a timeline: a message is at most 4 MiB."""


class ReportServicer(ReportServiceServicer):
    """See the contract."""

    def __init__(
        self, results: Results, segments: Segments, timelines: Timelines, store: Store, fold: Fold, switch: Switch, clock: Clock
    ) -> None:
        self._results = results
        self._segments = segments
        self._timelines = timelines
        self._fold = fold
        self._switch = switch
        self._store = store
        self._clock = clock

    def GetResults(self, request: messages.GetResultsRequest, context: grpc.ServicerContext) -> messages.GetResultsResponse:
        now = self._clock.now_ms()
        found = self._results.triggers(now, list(request.trigger_ids), request.since_time, request.until_time)
        return messages.GetResultsResponse(triggers=[_encode(result) for result in found], server_time=now)

    def ListDecisions(
        self,
        request: messages.ListDecisionsRequest,
        context: grpc.ServicerContext,
    ) -> messages.ListDecisionsResponse:
        size = min(request.page_size or PAGE_SIZE, PAGE_SIZE_MAX)
        token = request.page_token or "0"
        if size < 0 or not token.isascii() or not token.isdigit() or len(token) > 18:
            raise InvalidEventError("a page size below 0, or a page token that is none of ours", hint="send it as it came")
        subject = subject_from_proto(request.subject) if request.HasField("subject") else ""
        wanted = request.reason != decision_pb2.REASON_UNSPECIFIED
        reason = reason_from_proto(request.reason).value if wanted else ""
        rows = self._store.decisions(int(token), size + 1, request.trigger_id, subject, reason)
        page = rows[:size]
        return messages.ListDecisionsResponse(
            decisions=[record_pb2.LogRecord.FromString(body).decision for _, body in page],
            next_page_token=str(page[-1][0]) if len(rows) > size else "",
        )

    def ExplainTrigger(
        self,
        request: messages.ExplainTriggerRequest,
        context: grpc.ServicerContext,
    ) -> messages.ExplainTriggerResponse:
        catalog, subject = self._switch.live.catalog, subject_from_proto(request.subject)
        trigger = catalog.triggers.get(request.trigger_id)
        if trigger is None:
            known = ", ".join(sorted(catalog.triggers)) or "none"
            raise InvalidEventError("the live catalog has no such trigger", hint=f"known: {known}")
        rows = self._store.decisions(0, EXPLAINED_DECISIONS, request.trigger_id, subject, "")
        answer = messages.ExplainTriggerResponse(
            decisions=[record_pb2.LogRecord.FromString(body).decision for _, body in rows],
            catalog_digest=catalog.digest,
            catalog_version=catalog.version,
        )
        found = self._fold.explained(request.trigger_id, subject)
        if found is None:
            there = "it is a trigger of devices: ask the device" if trigger.placement == "edge" else NEVER_SEEN
            answer.lines.append(there)
            return answer
        answer.lines.extend(lines_of(found))
        answer.under_way.extend(found.under_way)
        for clause in found.clauses:
            values = {name: str(value) for name, value in clause.values.items()}
            answer.clauses.add(text=clause.text, outcome=clause.outcome, values=values, message=clause.message)
        for check in found.checks:
            reason = reason_to_proto(Reason(check.reason)) if check.reason else decision_pb2.REASON_UNSPECIFIED
            answer.checks.add(name=check.name, reason=reason, detail=check.detail)
        return answer

    def CountSegments(
        self, request: messages.CountSegmentsRequest, context: grpc.ServicerContext
    ) -> messages.CountSegmentsResponse:
        found = self._segments.standing(request.segments, request.since_time, request.until_time)
        return messages.CountSegmentsResponse(
            segments=[
                messages.SegmentCount(
                    name=one.name,
                    subject_count=one.subject_count,
                    followed=one.is_followed,
                    entered_count=one.entered_count,
                    left_count=one.left_count,
                )
                for one in found.segments
            ],
            subject_count=found.subject_count,
            as_of_time=found.as_of_time,
            since_time=found.since_time,
            until_time=found.until_time,
        )

    def GetTimeline(self, request: messages.GetTimelineRequest, context: grpc.ServicerContext) -> messages.GetTimelineResponse:
        if request.entry_max < 0 or request.until_time < 0:
            raise InvalidEventError("a number of entries, or a time, below 0", hint="0 for as many as usual, until now")
        count_max = min(request.entry_max or ENTRIES, ENTRIES_MAX)
        found = self._timelines.of(subject_from_proto(request.subject), request.until_time, count_max)
        entries: list[messages.TimelineEntry] = []
        left = ANSWER_BYTES_MAX
        for entry in reversed(found.entries):  # of what does not fit into an answer, the newest
            encoded = _entry(entry)
            left -= encoded.ByteSize()
            if left < 0 and entries:
                break
            entries.append(encoded)
        older_count = found.older_count + len(found.entries) - len(entries)
        return messages.GetTimelineResponse(entries=entries[::-1], older_count=older_count)

    def CountEvents(self, request: messages.CountEventsRequest, context: grpc.ServicerContext) -> messages.CountEventsResponse:
        wanted = set(request.event_types)
        return messages.CountEventsResponse(
            counts=[
                messages.EventTypeCount(event_type=event_type, count=count, first_time=first, last_time=last)
                for event_type, count, first, last in self._store.event_counts()
                if not wanted or event_type in wanted
            ]
        )


def _entry(entry: Entry) -> messages.TimelineEntry:
    encoded = messages.TimelineEntry(time=entry.time, subject=subject_to_proto(entry.subject), machine=entry.machine)
    if entry.event is not None:
        encoded.event.CopyFrom(event_to_proto(entry.event))
    elif entry.decision is not None:
        encoded.decision.CopyFrom(decision_to_proto(entry.decision))
    elif entry.message is not None:
        said = entry.message
        encoded.message.CopyFrom(
            messages.OutgoingMessage(
                channel=said.channel,
                key=entry.key,
                put_time=said.put_time,
                end_time=said.end_time,
                state=said.state,
                try_count=said.tries,
                reason=said.reason,
            )
        )
    return encoded


def _encode(result: TriggerResult) -> messages.TriggerResult:
    message = messages.TriggerResult(
        trigger_id=result.trigger_id,
        reasons=[messages.ReasonCount(reason=reason_to_proto(Reason(reason)), count=count) for reason, count in result.reasons],
        treated=_arm(result.treated),
        held_out=_arm(result.held_out),
        goal_event_types=result.goal_event_types,
        goal_within_ms=result.goal_within_ms,
        lift=_lift(result.lift),
        open_window_count=result.open_window_count,
        outcomes=[messages.OutcomeCount(kind=kind, count=count) for kind, count in result.outcomes],
        crossed_count=result.crossed_count,
        variant_crossed_count=result.variant_crossed_count,
    )
    for one in result.variants:
        message.variants.add(name=one.name, arm=_arm(one.arm), lift=_lift(one.lift))
    return message


def _arm(arm: Arm) -> messages.Arm:
    return messages.Arm(subject_count=arm.subject_count, goal_count=arm.goal_count, acted_count=arm.acted_count)


def _lift(lift: Lift | None) -> messages.Lift | None:
    if lift is None:
        return None
    return messages.Lift(
        difference=lift.difference, low=lift.low, high=lift.high, always_low=lift.always_low, always_high=lift.always_high
    )
