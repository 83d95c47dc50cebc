"""AdminService."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib import metadata
from typing import Final

import grpc

from reflexarc_core.decision import Reason
from reflexarc_core.errors import InvalidEventError
from reflexarc_proto.v1 import admin_service_pb2 as messages
from reflexarc_proto.v1 import report_service_pb2 as reports
from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceServicer
from reflexarc_proto.wire import reason_to_proto, subject_from_proto, subject_to_proto
from reflexarc_server.channels import Outbox
from reflexarc_server.clock import Clock
from reflexarc_server.control import Control
from reflexarc_server.erasures import Erasures
from reflexarc_server.fold import Fold
from reflexarc_server.interceptors import key_id
from reflexarc_server.links import Links
from reflexarc_server.live import Change, Said, Switch
from reflexarc_server.promotion import Promotion
from reflexarc_server.store.port import Store

PAUSED_MAX = 4_096
FORGET_WAIT_S = 60.0
BY_LENGTH_MAX: Final = 200
NOTE_LENGTH_MAX: Final = 2_000
CHUNK_BYTES: Final = 65_536
REPLAYED_MAX: Final = 500


class AdminServicer(AdminServiceServicer):
    """See the contract. on_stored: told when the log got longer."""

    def __init__(
        self, store: Store, fold: Fold, switch: Switch, promotion: Promotion, control: Control, links: Links,
        erasures: Erasures, outbox: Outbox, clock: Clock,
    ) -> None:  # fmt: skip
        self._store = store
        self._fold = fold
        self._switch = switch
        self._promotion = promotion
        self._control = control
        self._links = links
        self._erasures = erasures
        self._outbox = outbox
        self._clock = clock
        self._counted_at = -1
        self._counted: dict[str, dict[str, int]] = {}
        self._lock = threading.Lock()

    def SetPaused(self, request: messages.SetPausedRequest, context: grpc.ServicerContext) -> messages.SetPausedResponse:
        if len(request.trigger_ids) > PAUSED_MAX:
            raise InvalidEventError(f"{len(request.trigger_ids)} triggers", hint=f"at most {PAUSED_MAX}")
        paused = self._switch.pause(tuple(request.trigger_ids))
        self._control.tell_all()
        self._fold.wake()
        return messages.SetPausedResponse(trigger_ids=paused)

    def ActivateBundle(
        self,
        request: messages.ActivateBundleRequest,
        context: grpc.ServicerContext,
    ) -> messages.ActivateBundleResponse:
        change = self._switch.activate(request.digest, Said(key_id=key_id()))
        self._has_changed()
        return messages.ActivateBundleResponse(digest=change.digest, version=change.version)

    def PromoteCatalog(
        self,
        request: messages.PromoteCatalogRequest,
        context: grpc.ServicerContext,
    ) -> messages.PromoteCatalogResponse:
        _check_words(request.by, request.note)
        built, compared_with = b"".join(request.catalog_json), request.live_catalog_digest
        if request.check_only:
            return messages.PromoteCatalogResponse(notes=self._promotion.judge(built, compared_with).notes)
        change, notes = self._promotion.promote(built, compared_with, request.by, key_id(), request.note)
        self._has_changed()
        return messages.PromoteCatalogResponse(change=_change(change), notes=notes)

    def RollBack(self, request: messages.RollBackRequest, context: grpc.ServicerContext) -> messages.RollBackResponse:
        _check_words(request.by, request.note)
        change = self._promotion.roll_back(request.digest, request.by, key_id(), request.note)
        self._has_changed()
        return messages.RollBackResponse(change=_change(change))

    def ListChanges(self, request: messages.ListChangesRequest, context: grpc.ServicerContext) -> messages.ListChangesResponse:
        return messages.ListChangesResponse(changes=map(_change, self._promotion.changes()))

    def GetCatalog(
        self, request: messages.GetCatalogRequest, context: grpc.ServicerContext
    ) -> Iterator[messages.GetCatalogResponse]:
        built = self._promotion.catalog(request.bundle_digest)
        for start in range(0, len(built), CHUNK_BYTES):
            yield messages.GetCatalogResponse(chunk=built[start : start + CHUNK_BYTES])

    def _has_changed(self) -> None:
        """What is live: devices are told, and the fold follows."""
        self._control.tell_all_slowly()
        self._fold.wake()

    def ForgetSubject(
        self, request: messages.ForgetSubjectRequest, context: grpc.ServicerContext
    ) -> messages.ForgetSubjectResponse:
        wait_s = min(context.time_remaining() or FORGET_WAIT_S, FORGET_WAIT_S) * 0.9
        erase_time, is_done = self._erasures.forget(subject_from_proto(request.subject), wait_s)
        return messages.ForgetSubjectResponse(erase_time=erase_time, done=is_done)

    def LinkSubjects(self, request: messages.LinkSubjectsRequest, context: grpc.ServicerContext) -> messages.LinkSubjectsResponse:
        link_id = self._links.link(subject_from_proto(request.subject), subject_from_proto(request.known))
        return messages.LinkSubjectsResponse(link_id=link_id)

    def UndoLink(self, request: messages.UndoLinkRequest, context: grpc.ServicerContext) -> messages.UndoLinkResponse:
        self._links.undo(request.link_id)
        return messages.UndoLinkResponse()

    def ListLinks(self, request: messages.ListLinksRequest, context: grpc.ServicerContext) -> messages.ListLinksResponse:
        subject = subject_from_proto(request.subject) if request.HasField("subject") else ""
        answer = messages.ListLinksResponse()
        for link in self._links.all(subject):
            answer.links.add(
                link_id=link.said.link_id, subject=subject_to_proto(link.said.subject), known=subject_to_proto(link.said.known),
                said_time=link.said.said_time, said_by=link.said.said_by, undone_time=link.undone_time, undone_by=link.undone_by,
                effective=link.is_effective,
            )  # fmt: skip
        return answer

    def CountOutbox(self, request: messages.CountOutboxRequest, context: grpc.ServicerContext) -> messages.CountOutboxResponse:
        answer, oldest = messages.CountOutboxResponse(), self._outbox.oldest()
        for name, counted in sorted(self._outbox.counts().items()):
            answer.channels.add(
                channel=name, open_count=counted["open"], sent_count=counted["sent"], dead_count=counted["dead"],
                oldest_time=oldest.get(name, 0),
            )  # fmt: skip
        return answer

    def ListDeadLetters(
        self, request: messages.ListDeadLettersRequest, context: grpc.ServicerContext
    ) -> messages.ListDeadLettersResponse:
        answer = messages.ListDeadLettersResponse()
        for one in self._outbox.dead_letters(request.channel, request.after_number):
            answer.dead_letters.add(
                number=one.row, channel=one.channel, key=one.key, put_time=one.put_time, end_time=one.end_time,
                try_count=one.tries, reason=one.reason,
            )  # fmt: skip
        return answer

    def ReplayDeadLetters(
        self, request: messages.ReplayDeadLettersRequest, context: grpc.ServicerContext
    ) -> messages.ReplayDeadLettersResponse:
        if len(request.numbers) > REPLAYED_MAX:
            raise InvalidEventError(f"{len(request.numbers)} numbers", hint=f"at most {REPLAYED_MAX}")
        return messages.ReplayDeadLettersResponse(replayed_count=self._outbox.replay(request.channel, tuple(request.numbers)))

    def GetStatus(self, request: messages.GetStatusRequest, context: grpc.ServicerContext) -> messages.GetStatusResponse:
        counters = self._store.counters()
        live = self._switch.live
        decisions = self._decisions()
        return messages.GetStatusResponse(
            record_count=counters["records"],
            event_count=counters["events"],
            duplicate_count=counters["duplicates"],
            resent_count=counters["resent"],
            rejected_count=counters["rejected"],
            ahead_count=counters["ahead"],
            rekeyed_count=counters["rekeyed"],
            subject_count=self._fold.subject_count,
            folded_count=self._fold.folded_count,
            fold_lag_count=self._fold.lag,
            unfoldable_count=self._fold.unfoldable_count,
            stream_count=self._store.stream_count(),
            bundle_digest=live.digest,
            bundle_version=live.version,
            catalog_digest=live.catalog.digest,
            paused=self._switch.paused,
            edge_decisions=_encode(decisions.get("edge", {})),
            server_decisions=_encode(decisions.get("server", {})),
            software_version=_version(),
            server_time=self._clock.now_ms(),
        )

    def _decisions(self) -> dict[str, dict[str, int]]:
        """Placement -> last reason -> count; counted again only when the log grew, since callers poll."""
        with self._lock:
            newest = self._store.last_seq()
            if newest != self._counted_at:
                self._counted = {}
                for _, placement, reason, count in self._store.last_reasons():
                    held = self._counted.setdefault(placement, {})
                    held[reason] = held.get(reason, 0) + count
                self._counted_at = newest
            return self._counted


def _check_words(by: str, note: str) -> None:
    """Raises InvalidEventError for words that would fill the history."""
    if len(by) > BY_LENGTH_MAX or len(note) > NOTE_LENGTH_MAX:
        raise InvalidEventError("a name or a note that long", hint=f"at most {BY_LENGTH_MAX} and {NOTE_LENGTH_MAX:,} characters")


def _change(change: Change) -> messages.BundleChange:
    return messages.BundleChange(
        change_time=change.time, action=change.action, digest=change.digest, before_digest=change.before, version=change.version,
        catalog_digest=change.catalog_digest, catalog_version=change.catalog_version, by=change.by, key_id=change.key_id,
        note=change.note,
    )  # fmt: skip


def _encode(reasons: dict[str, int]) -> list[reports.ReasonCount]:
    return [reports.ReasonCount(reason=reason_to_proto(Reason(name)), count=count) for name, count in sorted(reasons.items())]


def _version() -> str:
    try:
        return metadata.version("reflexarc")
    except metadata.PackageNotFoundError:
        return "source"
