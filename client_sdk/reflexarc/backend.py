"""A typed client for backend services and operators: track events, score, read results, steer.

Owns nothing but a channel. Every call has a deadline and raises a ReflexArcError.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from reflexarc.channel import Channel
from reflexarc.credential import bearer, service_key
from reflexarc.tls import Trust
from reflexarc_core.event import Event

if TYPE_CHECKING:
    from reflexarc.explain import Explanation
    from reflexarc_core.catalog import Catalog

CALL_TIMEOUT_S: Final = 30.0


class Backend:
    """The services of one server at `host:port`, over TLS.

    key: the service's, `rxk_...`; None for what REFLEXARC_API_KEY says, or the file that REFLEXARC_API_KEY_FILE names. ca_file:
    PEM of the only authorities trusted; empty for the system's. insecure: plaintext, for a server on this machine, which asks
    for no key. Raises UnauthenticatedError without a key, TransportError for plaintext to another machine.
    """

    def __init__(
        self,
        address: str,
        *,
        key: str | None = None,
        ca_file: str = "",
        insecure: bool = False,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        shown = () if insecure else bearer(service_key() if key is None else key)
        self._channel = Channel(address, shown, trust=Trust(insecure, ca_file))
        self._timeout_s = timeout_s

    def track(self, events: Iterable[Event]) -> list[tuple[str, str]]:
        """Store events; (verdict, reason) for each: stored, duplicate, rejected or later."""
        from reflexarc_proto.v1 import event_service_pb2 as messages
        from reflexarc_proto.v1.event_service_pb2_grpc import EventServiceStub
        from reflexarc_proto.wire import event_to_proto

        request = messages.TrackRequest(events=[event_to_proto(event) for event in events])
        answer = self._channel.call(EventServiceStub, "Track", request, self._timeout_s)
        return [
            (messages.VerdictCode.Name(verdict.code).removeprefix("VERDICT_CODE_").lower(), verdict.reason)
            for verdict in answer.verdicts
        ]

    def explain(self, trigger_id: str, subject: str) -> Explanation:
        """Why a trigger of the server would, or would not, act for a subject now, and what it decided last.

        Raises InvalidEventError when the live catalog has no such trigger, or the subject is none.
        """
        from reflexarc.explain import explained_there
        from reflexarc_proto.v1 import report_service_pb2 as messages
        from reflexarc_proto.v1.report_service_pb2_grpc import ReportServiceStub
        from reflexarc_proto.wire import subject_to_proto

        request = messages.ExplainTriggerRequest(trigger_id=trigger_id, subject=subject_to_proto(subject))
        answer = self._channel.call(ReportServiceStub, "ExplainTrigger", request, self._timeout_s)
        return explained_there(trigger_id, subject, answer)

    def results(self) -> dict[str, Any]:
        """Per trigger: decisions by last reason, both sides of the holdout with their goals, the lift and its intervals; the same
        of each variant. Sides are by assignment: `treated` is also who was not reached by the action, `acted` who was."""
        from reflexarc_proto.v1 import report_service_pb2 as messages
        from reflexarc_proto.v1.report_service_pb2_grpc import ReportServiceStub
        from reflexarc_proto.wire import reason_from_proto

        answer = self._channel.call(ReportServiceStub, "GetResults", messages.GetResultsRequest(), self._timeout_s)
        return {
            "triggers": {
                row.trigger_id: {
                    "reasons": {str(reason_from_proto(r.reason)): r.count for r in row.reasons},
                    "treated": row.treated.subject_count,
                    "treated_goals": row.treated.goal_count,
                    "acted": row.treated.acted_count,
                    "held_out": row.held_out.subject_count,
                    "held_out_goals": row.held_out.goal_count,
                    "goal": list(row.goal_event_types),
                    "goal_within_ms": row.goal_within_ms,
                    **_lift(row),
                    "variants": {
                        one.name: {
                            "treated": one.arm.subject_count,
                            "treated_goals": one.arm.goal_count,
                            "acted": one.arm.acted_count,
                            **_lift(one),
                        }
                        for one in row.variants
                    },
                    "outcomes": {o.kind: o.count for o in row.outcomes},
                    "open_windows": row.open_window_count,
                    "crossed": row.crossed_count,
                    "variant_crossed": row.variant_crossed_count,
                }
                for row in answer.triggers
            }
        }

    def segments(self, names: Iterable[str] = (), since_time: int = 0, until_time: int = 0) -> dict[str, Any]:
        """Per segment, all of the live catalog without `names`: how many subjects are in it, how many entered and left it.

        since_time, until_time: ms, 0 for as far as it is counted; whole hours, 31 days back. `subjects` is None for a segment
        that reads what only an event carries. Raises InvalidEventError when there is no such segment.
        """
        from reflexarc_proto.v1 import report_service_pb2 as messages
        from reflexarc_proto.v1.report_service_pb2_grpc import ReportServiceStub

        request = messages.CountSegmentsRequest(segments=names, since_time=since_time, until_time=until_time)
        answer = self._channel.call(ReportServiceStub, "CountSegments", request, self._timeout_s)
        return {
            "segments": {
                one.name: {
                    "subjects": one.subject_count if one.HasField("subject_count") else None,
                    "entered": one.entered_count,
                    "left": one.left_count,
                    "followed": one.followed,
                }
                for one in answer.segments
            },
            "subjects": answer.subject_count,
            "as_of_time": answer.as_of_time,
            "since_time": answer.since_time,
            "until_time": answer.until_time,
        }

    def timeline(self, subject: str, until_time: int = 0, entry_max: int = 0) -> dict[str, Any]:
        """What is stored of a person and of all that is linked to it: the newest `entries` (200; at most 1,000), oldest first,
        and `older`, how many are left out. until_time: ms, 0 for now.

        An entry has `time` (ms), `subject`, `kind` (event, decision, message) and what that has: an event its `event_type`,
        `event_id`, `properties` and `machine`; a decision its `trigger_id`, `reason`, `action`, `mode`; a message its `channel`,
        `key`, `state`, `end_time`, `tries`, `reason`. Raises InvalidEventError when it is no subject.
        """
        from reflexarc.timeline import entries_of
        from reflexarc_proto.v1 import report_service_pb2 as messages
        from reflexarc_proto.v1.report_service_pb2_grpc import ReportServiceStub
        from reflexarc_proto.wire import subject_to_proto

        request = messages.GetTimelineRequest(subject=subject_to_proto(subject), until_time=until_time, entry_max=entry_max)
        answer = self._channel.call(ReportServiceStub, "GetTimeline", request, self._timeout_s)
        return {"entries": entries_of(answer), "older": answer.older_count}

    def email_paths(self, subject: str = "", message_id: str = "", goals: Iterable[str] = ()) -> list[dict[str, Any]]:
        """The way of each mail of a person, or of one mail: sent, opened, clicked, pages, goal. Times and spans in ms.

        goals: event types, `purchase` and `form_submit` without. Raises InvalidEventError when neither is said.
        """
        from reflexarc_proto.v1 import email_service_pb2 as messages
        from reflexarc_proto.v1.email_service_pb2_grpc import EmailServiceStub
        from reflexarc_proto.wire import subject_from_proto, subject_to_proto

        request = messages.GetEmailPathRequest(
            subject=subject_to_proto(subject) if subject else None, message_id=message_id, goals=goals
        )
        answer = self._channel.call(EmailServiceStub, "GetEmailPath", request, self._timeout_s)
        return [
            {
                **fields(path),
                "subject": subject_from_proto(path.subject),
                "steps": [{**fields(step), "subject": subject_from_proto(step.subject)} for step in path.steps],
            }
            for path in answer.paths
        ]

    def email_campaigns(self, campaign: str = "", goals: Iterable[str] = ()) -> list[dict[str, Any]]:
        """What came of mails by campaign, of one or of all: how many were sent, bounced, opened, clicked, converted, replied to
        and so on, each mail once. Asks page by page. goals: event types, `purchase` and `form_submit` without."""
        from reflexarc_proto.v1 import email_service_pb2 as messages
        from reflexarc_proto.v1.email_service_pb2_grpc import EmailServiceStub

        counted: dict[str, dict[str, Any]] = {}
        request = messages.CountCampaignsRequest(campaign=campaign, goals=goals)
        while True:
            answer = self._channel.call(EmailServiceStub, "CountCampaigns", request, self._timeout_s)
            for one in answer.campaigns:
                held = counted.setdefault(one.campaign, {})
                for name, value in fields(one).items():
                    held[name] = value if name == "campaign" else held.get(name, 0) + value
            request.after = answer.next_after
            if not request.after:
                return [counted[name] for name in sorted(counted)]

    def email_opens(self, subject: str, campaign: str = "") -> dict[str, Any]:
        """When and on what a person opens mail: counts, first and last (ms), opens by hour of the local week (0: Monday 00:00),
        by client, device, system and proxy. What is held for a machine's is counted apart. Raises InvalidEventError."""
        from reflexarc_proto.v1 import email_service_pb2 as messages
        from reflexarc_proto.v1.email_service_pb2_grpc import EmailServiceStub
        from reflexarc_proto.wire import subject_to_proto

        request = messages.GetEmailOpensRequest(subject=subject_to_proto(subject), campaign=campaign)
        answer = self._channel.call(EmailServiceStub, "GetEmailOpens", request, self._timeout_s)
        found = fields(answer)
        return found | {name: dict(sorted(found[name].items())) for name in ("hours", "clients", "devices", "systems", "proxies")}

    def prepare_email(self, html: str, text: str, message_id: str, subject: str, **more: Any) -> dict[str, Any]:
        """A mail with a signed pixel and signed links: `html`, `text`, `links`, `left`, `unsubscribe_url`.

        more: campaign, utm (a mapping), no_pixel, offset_minutes (the
        reader's local time minus UTC). Raises InvalidEventError for an address that cannot be, DefinitionError
        when the server has no mail.
        """
        from reflexarc_proto.v1 import email_service_pb2 as messages
        from reflexarc_proto.v1.email_service_pb2_grpc import EmailServiceStub
        from reflexarc_proto.wire import subject_to_proto

        request = messages.PrepareEmailRequest(
            html=html, text=text, message_id=message_id, subject=subject_to_proto(subject), **more
        )
        answer = self._channel.call(EmailServiceStub, "PrepareEmail", request, self._timeout_s)
        return {**fields(answer), "links": [fields(e) for e in answer.links], "left": [fields(e) for e in answer.left]}

    def mailboxes(self) -> list[dict[str, Any]]:
        """How the mailboxes do that the server looks through for answers, since it started. Times in ms, 0 for never."""
        from reflexarc_proto.v1 import email_service_pb2 as messages
        from reflexarc_proto.v1.email_service_pb2_grpc import EmailServiceStub

        answer = self._channel.call(EmailServiceStub, "ListMailboxes", messages.ListMailboxesRequest(), self._timeout_s)
        return [{**fields(one), "set_aside": [fields(mail) for mail in one.set_aside]} for one in answer.mailboxes]

    def status(self) -> dict[str, Any]:
        """Counts and states of the server."""
        from reflexarc_proto.v1 import admin_service_pb2 as messages
        from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub
        from reflexarc_proto.wire import reason_from_proto

        answer = self._channel.call(AdminServiceStub, "GetStatus", messages.GetStatusRequest(), self._timeout_s)
        return {
            "records": answer.record_count,
            "events": answer.event_count,
            "duplicates_refused": answer.duplicate_count,
            "resent": answer.resent_count,
            "rejected": answer.rejected_count,
            "subjects": answer.subject_count,
            "folded_count": answer.folded_count,
            "fold_lag": answer.fold_lag_count,
            "unfoldable": answer.unfoldable_count,
            "bundle": answer.bundle_digest,
            "paused": list(answer.paused),
            "decisions": {str(reason_from_proto(r.reason)): r.count for r in answer.edge_decisions},
            "server_decisions": {str(reason_from_proto(r.reason)): r.count for r in answer.server_decisions},
        }

    def pause(self, *trigger_ids: str) -> None:
        """Replace the set of paused triggers; `*` pauses all, nothing lifts every pause."""
        from reflexarc_proto.v1 import admin_service_pb2 as messages
        from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub

        self._channel.call(AdminServiceStub, "SetPaused", messages.SetPausedRequest(trigger_ids=trigger_ids), self._timeout_s)

    def forget(self, subject: str, timeout_s: float = 60.0) -> bool:
        """Erase a subject on the server, and on each device that sent something of it with its next exchange.

        It is durable when this returns; True when nothing of it is left in the server's files. Raises InvalidEventError when it
        is no subject.
        """
        from reflexarc_proto.v1 import admin_service_pb2 as messages
        from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub
        from reflexarc_proto.wire import subject_to_proto

        request = messages.ForgetSubjectRequest(subject=subject_to_proto(subject))
        return bool(self._channel.call(AdminServiceStub, "ForgetSubject", request, timeout_s).done)

    def link(self, subject: str, known: str) -> str:
        """Say that a device, session or anonymous subject is a known person; the link's id. Raises InvalidEventError."""
        from reflexarc_proto.v1 import admin_service_pb2 as messages
        from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub
        from reflexarc_proto.wire import subject_to_proto

        request = messages.LinkSubjectsRequest(subject=subject_to_proto(subject), known=subject_to_proto(known))
        return str(self._channel.call(AdminServiceStub, "LinkSubjects", request, self._timeout_s).link_id)

    def undo_link(self, link_id: str) -> None:
        """Take a link back: everything is as if it had never been. Raises InvalidEventError when there is none."""
        from reflexarc_proto.v1 import admin_service_pb2 as messages
        from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub

        self._channel.call(AdminServiceStub, "UndoLink", messages.UndoLinkRequest(link_id=link_id), self._timeout_s)

    def links(self, subject: str = "") -> list[dict[str, Any]]:
        """Every link that was said, or those that name a subject, oldest first. Times in ms, 0 for never."""
        from reflexarc_proto.v1 import admin_service_pb2 as messages
        from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub
        from reflexarc_proto.wire import subject_from_proto, subject_to_proto

        request = messages.ListLinksRequest(subject=subject_to_proto(subject) if subject else None)
        return [
            {
                "link_id": one.link_id,
                "subject": subject_from_proto(one.subject),
                "known": subject_from_proto(one.known),
                "said_time": one.said_time,
                "said_by": one.said_by,
                "undone_time": one.undone_time,
                "undone_by": one.undone_by,
                "effective": one.effective,
            }
            for one in self._channel.call(AdminServiceStub, "ListLinks", request, self._timeout_s).links
        ]

    def outbox(self) -> list[dict[str, Any]]:
        """What is on its way to other systems, by channel: `open`, `sent`, `dead`, `oldest_time` (ms; 0: nothing waits)."""
        from reflexarc_proto.v1 import admin_service_pb2 as messages
        from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub

        found = self._channel.call(AdminServiceStub, "CountOutbox", messages.CountOutboxRequest(), self._timeout_s).channels
        return [
            {
                "channel": one.channel,
                "open": one.open_count,
                "sent": one.sent_count,
                "dead": one.dead_count,
                "oldest_time": one.oldest_time,
            }
            for one in found
        ]

    def dead_letters(self, channel: str = "", after: int = 0) -> list[dict[str, Any]]:
        """Messages to other systems that are not tried any more, behind a number, oldest first, at most 1,000. Times in ms."""
        from reflexarc_proto.v1 import admin_service_pb2 as messages
        from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub

        request = messages.ListDeadLettersRequest(channel=channel, after_number=after)
        return [
            {
                "number": one.number,
                "channel": one.channel,
                "key": one.key,
                "put_time": one.put_time,
                "end_time": one.end_time,
                "tries": one.try_count,
                "reason": one.reason,
            }
            for one in self._channel.call(AdminServiceStub, "ListDeadLetters", request, self._timeout_s).dead_letters
        ]

    def replay(self, channel: str = "", numbers: Sequence[int] = ()) -> int:
        """Let dead letters be tried again: those of a channel, with these numbers (at most 500), or all; how many."""
        from reflexarc_proto.v1 import admin_service_pb2 as messages
        from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub

        request = messages.ReplayDeadLettersRequest(channel=channel, numbers=numbers)
        return int(self._channel.call(AdminServiceStub, "ReplayDeadLetters", request, self._timeout_s).replayed_count)

    def activate(self, digest: str) -> None:
        """Make a bundle of the server's folder live."""
        from reflexarc_proto.v1 import admin_service_pb2 as messages
        from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub

        self._channel.call(AdminServiceStub, "ActivateBundle", messages.ActivateBundleRequest(digest=digest), self._timeout_s)

    def changes(self) -> list[dict[str, Any]]:
        """Every change of what is live there, oldest first: `change_time` (ms), `action`, `digest` and so on."""
        from reflexarc_proto.v1 import admin_service_pb2 as messages
        from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub

        answer = self._channel.call(AdminServiceStub, "ListChanges", messages.ListChangesRequest(), self._timeout_s)
        return [fields(change) for change in answer.changes]

    def catalog(self, bundle_digest: str = "") -> Catalog:
        """The catalog of a bundle; of none: what is live. Raises DefinitionError when there is no such bundle."""
        from reflexarc_core.catalog import CATALOG_BYTES_MAX, Catalog
        from reflexarc_proto.v1 import admin_service_pb2 as messages
        from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub

        request = messages.GetCatalogRequest(bundle_digest=bundle_digest)
        built = self._channel.stream(AdminServiceStub, "GetCatalog", request, self._timeout_s, CATALOG_BYTES_MAX)
        return Catalog.from_bytes(built)

    def upload_sync_file(self, sha256: str, total_bytes: int, offset: int, chunk: bytes) -> int:
        """Send a piece of a sync file; how many bytes of it the server holds from the start on."""
        from reflexarc_proto.v1 import sync_file_service_pb2 as messages
        from reflexarc_proto.v1.sync_file_service_pb2_grpc import SyncFileServiceStub

        request = messages.UploadRequest(sha256=sha256, total_bytes=total_bytes, offset=offset, chunk=chunk)
        held: int = self._channel.call(SyncFileServiceStub, "Upload", request, self._timeout_s).held_bytes
        return held

    def apply_sync_files(self, sha256: Sequence[str], *, allow_unsigned: bool, timeout_s: float, bytes_max: int) -> bytes:
        """Have uploaded sync files of one installation taken in; the answers, a sync file of at most `bytes_max` bytes."""
        from reflexarc_proto.v1 import sync_file_service_pb2 as messages
        from reflexarc_proto.v1.sync_file_service_pb2_grpc import SyncFileServiceStub

        request = messages.ApplyRequest(sha256=sha256, allow_unsigned=allow_unsigned)
        return self._channel.stream(SyncFileServiceStub, "Apply", request, timeout_s, bytes_max)

    def enrol_by_hand(self, installation: str, file_key: bytes, secret_digest: bytes, *, replace: bool) -> bool:
        """Make the file key of a device known that never was online. True when it was known already."""
        from reflexarc_proto.v1 import sync_file_service_pb2 as messages
        from reflexarc_proto.v1.sync_file_service_pb2_grpc import SyncFileServiceStub

        request = messages.EnrolRequest(
            installation=installation, file_key=file_key, secret_digest=secret_digest, replace=replace
        )
        was_known: bool = self._channel.call(SyncFileServiceStub, "Enrol", request, self._timeout_s).was_known
        return was_known

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _lift(row: Any) -> dict[str, float | None]:
    """The lift of a trigger or a variant and both its intervals; None without one."""
    there = row.lift if row.HasField("lift") else None
    named = {
        "lift": "difference",
        "lift_low": "low",
        "lift_high": "high",
        "always_low": "always_low",
        "always_high": "always_high",
    }
    return {name: None if there is None else getattr(there, field) for name, field in named.items()}


def fields(message: Any) -> dict[str, Any]:
    """A message's fields by name."""
    return {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}
