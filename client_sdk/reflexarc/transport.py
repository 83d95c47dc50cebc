"""What a device says to a server, as calls with a deadline each.

Owns the translation between the client's values and the services. Must never retry: pacing is the uplink's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from reflexarc.channel import Channel
from reflexarc.config import Config
from reflexarc.credential import Credential, Metadata
from reflexarc_core.decision import Decision
from reflexarc_core.effect import RequestScore
from reflexarc_core.errors import ScoringError, UnauthenticatedError
from reflexarc_core.event import subject_parts
from reflexarc_core.model import Scored
from reflexarc_edge.cursor import REASON_LENGTH_MAX
from reflexarc_edge.log import Log
from reflexarc_edge.spool import breathe
from reflexarc_edge.upload import UploadBatch

if TYPE_CHECKING:
    from reflexarc_proto.v1.event_service_pb2 import PullResponse, PushRequest, PushResponse


T = TypeVar("T")
CREDENTIAL_S: Final = 10.0
"""For a credential where the call itself has no short deadline."""
WRITTEN_AT_ONCE: Final = 10
"""Records written into a message before others may run: where processors are busy, letting them costs a millisecond."""
INSTALLATION: Final = "reflexarc-installation"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a batch. rejected: number -> why that record is judged and not stored. rekey: this numbering is another
    history's from `upto_seq` on; nothing was stored."""

    upto_seq: int
    rejected: Mapping[int, str]
    retry_after_ms: int
    server_time: int
    rekey: bool


@dataclass(frozen=True, slots=True)
class Down:
    """What the server knows for this device. values: (subject, as-of ms, feature -> value). decisions: of the server's triggers,
    whose actions this device hands over. erased: (digest of a subject to be erased, ms). leases: (subject, cap, lease, tokens,
    when it ends in ms)."""

    values: tuple[tuple[str, int, Mapping[str, float]], ...]
    paused: tuple[str, ...]
    bundle_digest: str
    server_time: int
    decisions: tuple[Decision, ...] = ()
    erased: tuple[tuple[str, int], ...] = ()
    leases: tuple[tuple[str, str, str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Signal:
    """One word of the control stream. pull: something waits for this device. heartbeat_ms: the longest silence, 0 not said."""

    paused: tuple[str, ...]
    bundle_digest: str
    pull: bool
    heartbeat_ms: int


class Transport:
    """One device's calls. Each shows who the device is; in plaintext it just says so.

    Every call raises UnauthenticatedError when the server does not know the device, PermissionDeniedError when it is revoked.
    """

    def __init__(self, address: str, log: Log, config: Config, on_reachable: Callable[[bool], None]) -> None:
        trust = config.trust()
        said = ((INSTALLATION, log.installation),) if trust.insecure else ()
        backoff_ms = (config.backoff_ms_min, config.backoff_ms_max)
        self._channel = Channel(address, said, trust=trust, backoff_ms=backoff_ms, on_reachable=on_reachable)
        self._credential = None if trust.insecure else Credential(log, config.enrolment_token, self._ask_identity)

    def push(self, batch: UploadBatch, sent_time: int, timeout_s: float) -> Pushed:
        """Upload a batch of the log. Raises TransportError when there was no answer."""
        from reflexarc_proto.v1.event_service_pb2_grpc import EventServiceStub

        return pushed_of(self._call(EventServiceStub, "Push", push_request(batch, sent_time), timeout_s))

    def pull(self, subjects: Sequence[str], bundle_digest: str, timeout_s: float) -> Down:
        """What came down for these subjects."""
        from reflexarc_proto.v1 import event_service_pb2 as messages
        from reflexarc_proto.v1.event_service_pb2_grpc import EventServiceStub
        from reflexarc_proto.wire import subject_to_proto

        request = messages.PullRequest(
            subjects=[subject_to_proto(subject) for subject in subjects], have_bundle_digest=bundle_digest
        )
        return down_of(self._call(EventServiceStub, "Pull", request, timeout_s))

    def watch(self, life_s: float, opened: Callable[[Callable[[], object]], None]) -> Iterator[Signal]:
        """The control stream, until it ends. opened: told how to end it. Raises TransportError when it breaks."""
        from reflexarc_proto.v1 import event_service_pb2 as messages
        from reflexarc_proto.v1.event_service_pb2_grpc import EventServiceStub

        shown = self._credential.metadata(CREDENTIAL_S) if self._credential is not None else None
        try:
            for said in self._channel.responses(EventServiceStub, "Watch", messages.WatchRequest(), life_s, shown, opened):
                yield Signal(tuple(said.paused), said.bundle_digest, said.pull, said.heartbeat_ms)
        except UnauthenticatedError:
            if self._credential is not None and shown is not None:
                self._credential.refused(shown)
            raise

    def score(self, question: RequestScore, inputs: Sequence[str], timeout_s: float) -> Scored:
        """The server's score for an open decision. Raises ScoringError or TransportError."""
        from reflexarc_proto.v1 import scoring_service_pb2 as messages
        from reflexarc_proto.v1.scoring_service_pb2_grpc import ScoringServiceStub
        from reflexarc_proto.wire import subject_to_proto

        subject_parts(question.subject)
        request = messages.ScoreRequest(
            model_id=question.model_id,
            feature_names=list(inputs),
            rows=[messages.Row(values=question.vector)],
            lines=[question.line],
            subject=subject_to_proto(question.subject),
            decision_id=question.decision_id,
            factors_above=question.factors_above,
            form=messages.ARTIFACT_FORM_SERVER,
        )
        answer = self._call(ScoringServiceStub, "Score", request, timeout_s)
        if len(answer.results) != 1:
            raise ScoringError(f"the server gave {len(answer.results)} scores for one row")
        result = answer.results[0]
        factors = None
        if result.HasField("factors"):
            factors = tuple((f.feature, f.contribution) for f in result.factors.factors)
        return Scored(
            model_id=question.model_id,
            artifact_digest=answer.artifact_digest,
            code=result.code,
            score=result.score,
            confidences=tuple((c.line, c.confidence) for c in result.confidences),
            vector=tuple(result.vector) or question.vector,
            factors=factors,
        )

    def bundle_manifest(self, digest: str, timeout_s: float) -> bytes:
        """The live bundle's manifest; empty when it is no longer `digest`."""
        from reflexarc_proto.v1 import artifact_service_pb2 as messages
        from reflexarc_proto.v1.artifact_service_pb2_grpc import ArtifactServiceStub

        answer = self._call(ArtifactServiceStub, "GetBundle", messages.GetBundleRequest(), timeout_s)
        return bytes(answer.manifest_json) if answer.digest == digest else b""

    def fetch(self, sha256: str, byte_count: int, timeout_s: float) -> bytes:
        """A file of a bundle, at most `byte_count` bytes."""
        from reflexarc_proto.v1 import artifact_service_pb2 as messages
        from reflexarc_proto.v1.artifact_service_pb2_grpc import ArtifactServiceStub

        request = messages.FetchFileRequest(sha256=sha256)
        return self._believed(
            timeout_s,
            lambda shown: self._channel.stream(ArtifactServiceStub, "FetchFile", request, timeout_s, byte_count, shown),
        )

    def renew(self) -> None:
        """Give the connection up: the next call makes a new one."""
        self._channel.renew()

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _call(self, stub: Callable[[Any], object], name: str, request: Any, timeout_s: float) -> Any:
        return self._believed(timeout_s, lambda shown: self._channel.call(stub, name, request, timeout_s, shown))

    def _believed(self, timeout_s: float, call: Callable[[Metadata | None], T]) -> T:
        """A call that shows who the device is; once more with a new credential where the server did not believe it."""
        if self._credential is None:
            return call(None)
        shown = self._credential.metadata(timeout_s)
        try:
            return call(shown)
        except UnauthenticatedError:
            self._credential.refused(shown)
            return call(self._credential.metadata(timeout_s))

    def _ask_identity(self, name: str, request: Any, timeout_s: float) -> Any:
        from reflexarc_proto.v1.identity_service_pb2_grpc import IdentityServiceStub

        return self._channel.call(IdentityServiceStub, name, request, timeout_s)


# -- the same by file ---------------------------------------------------------------------------------------------------


def push_request(batch: UploadBatch, sent_time: int) -> PushRequest:
    """A batch as it travels, by call or by file. sent_time: the device's wall clock, ms."""
    from reflexarc_proto.v1 import event_service_pb2 as messages
    from reflexarc_proto.wire import record_to_proto

    request = messages.PushRequest(
        incarnation=batch.incarnation, previous_seq=batch.previous_seq, previous_check=batch.previous_check, sent_time=sent_time,
        early=batch.early,
    )  # fmt: skip
    for loss in batch.losses:
        request.losses.add(reason=loss.reason, first_seq=loss.first_seq, last_seq=loss.last_seq, count=loss.count)
    for number, (seq, check, record) in enumerate(batch.records, start=1):
        message = record_to_proto(seq, record)
        message.check = check
        request.records.append(message)
        if number % WRITTEN_AT_ONCE == 0:
            breathe()  # a batch is milliseconds of work, and the host's threads must not wait for it
    return request


def pushed_of(answer: PushResponse) -> Pushed:
    """What a server answered to a batch."""
    from reflexarc_proto.v1 import event_service_pb2 as messages

    code = messages.VERDICT_CODE_REJECTED
    rejected = {verdict.seq: verdict.reason[:REASON_LENGTH_MAX] for verdict in answer.verdicts if verdict.code == code}
    return Pushed(answer.upto_seq, rejected, answer.retry_after_ms, answer.server_time, answer.rekey)


def down_of(answer: PullResponse) -> Down:
    """What a server sent down. Raises InvalidEventError for subjects and decisions that are none."""
    from reflexarc_proto.wire import decision_from_proto, lease_from_proto, subject_from_proto

    values = tuple((subject_from_proto(v.subject), v.as_of_time, dict(v.values)) for v in answer.values)
    decisions = tuple(decision_from_proto(decision) for decision in answer.decisions)
    erased = tuple((stone.subject_digest, stone.erase_time) for stone in answer.erased)
    leases = tuple(lease_from_proto(lease) for lease in answer.leases)
    return Down(values, tuple(answer.paused), answer.bundle_digest, answer.server_time, decisions, erased, leases)
