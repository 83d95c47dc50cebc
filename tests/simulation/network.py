"""The network of a run: every call is bytes that arrive, are lost, come late or twice, and so is its answer.

Owns what is under way. Stands where the client has its gRPC channel, so that everything of the client above it is real. A call
that ran into its deadline may still be served, later, after others: that is how messages are reordered.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc

from reflexarc_core.errors import ReflexArcError, TransportError
from reflexarc_proto.v1 import event_service_pb2, scoring_service_pb2
from reflexarc_proto.wire import INSTALLATION_KEY, error_of, metadata_of, status_of
from tests.core.world import scored
from tests.simulation.clocks import HOUR, MINUTE, SECOND, TrueTime
from tests.simulation.server import SimulatedServer
from tests.simulation.still import Broken, Killed

ANSWERS = {
    "Push": event_service_pb2.PushResponse,
    "Pull": event_service_pb2.PullResponse,
    "Score": scoring_service_pb2.ScoreResponse,
}


FATES = ("well", "lost", "answer lost", "late", "twice", "busy")


class Caller(Protocol):
    """A device, as the network sees it."""

    name: str

    def meanwhile(self, moment: str) -> None:
        """A call is under way: the host goes on. May raise Killed."""
        ...


@dataclass(order=True)
class Late:
    """A request that comes after its caller gave it up."""

    due: int
    number: int
    caller: str = field(compare=False)
    installation: str = field(compare=False)
    name: str = field(compare=False)
    content: bytes = field(compare=False)


class Network:
    """One server, many callers. say: writes the trace. is_calm: nothing goes wrong any more."""

    def __init__(self, seed: str, time: TrueTime, server: SimulatedServer, say: Callable[[str], None]) -> None:
        self._draw = random.Random(seed)
        self._time = time
        self._server = server
        self._say = say
        self._late: list[Late] = []
        self._sent = 0
        self.is_calm = False
        self.cut_off: set[str] = set()
        self.opening: Caller | None = None
        """Whose connection is made next."""

    def connection(self, address: str, metadata: Iterable[tuple[str, str]] = (), **_: Any) -> Connection:
        """In place of the client's Channel. Nobody is asked for a secret here: who calls is what the metadata says."""
        assert self.opening is not None
        return Connection(self, self.opening, dict(metadata)[INSTALLATION_KEY])

    def call(self, caller: Caller, installation: str, name: str, content: bytes, timeout_s: float) -> bytes:
        """The answer's bytes. Raises the error the client's channel would."""
        caller.meanwhile("before a request is sent")
        draw = self._draw
        fate = draw.choices(
            ("well", "lost", "answer lost", "late", "twice", "busy"),
            (70, 8, 8, 7, 7, 4) if not self.is_calm else (1, 0, 0, 0, 0, 0),
        )[0]
        wait_ms = int(timeout_s * 1000)
        self._time.pass_by(draw.choice((1, 5, 40, 300)))
        if caller.name in self.cut_off and not self.is_calm:
            self._give_up(caller, name, "nobody is reached", draw.choice((1, wait_ms)))
        if fate == "lost":
            self._give_up(caller, name, "the request is lost", wait_ms)
        if fate in ("late", "twice"):
            after = draw.choice((SECOND, MINUTE, 10 * MINUTE, HOUR))
            self._sent += 1
            heapq.heappush(self._late, Late(self._time.now + after, self._sent, caller.name, installation, name, content))
        if fate == "late":
            self._give_up(caller, name, "the request is slow", wait_ms)
        answer = self._serve(caller.name, installation, name, content, is_busy=fate == "busy")
        caller.meanwhile("before an answer comes")
        if fate == "answer lost":
            self._give_up(caller, name, "the answer is lost", wait_ms)
        self._time.pass_by(draw.choice((1, 5, 40, 300)))
        return answer

    def deliver_late(self) -> None:
        """Serve what is due; nobody waits for the answers."""
        while self._late and self._late[0].due <= self._time.now:
            late = heapq.heappop(self._late)
            try:
                self._serve(late.caller, late.installation, late.name, late.content, "a late ")
            except ReflexArcError as error:
                self._say(f"  a late {late.name} of {late.caller}: {error.code}")

    def deliver_all(self) -> None:
        """However late, it arrives."""
        for late in self._late:
            late.due = min(late.due, self._time.now)
        heapq.heapify(self._late)
        self.deliver_late()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _serve(self, caller: str, installation: str, name: str, content: bytes, how: str = "", *, is_busy: bool = False) -> bytes:
        server = self._server
        if not server.is_up:
            raise TransportError("UNAVAILABLE: the server is down")
        try:
            match name:
                case "Push":
                    if is_busy:
                        answer = server.postpone(installation, content)
                    else:
                        answer = server.push(installation, content)
                    self._tell(caller, installation, content, answer, how)
                case "Pull":
                    answer = server.pull(installation, content)
                case "Score":
                    answer = _scores(content)
                case _:
                    raise Broken(f"nobody serves {name}")
        except Killed as killed:
            server.abandon()
            self._say(f"  the server is killed {killed} of {how}{name}")
            raise TransportError("UNAVAILABLE: the connection broke") from None
        except ReflexArcError as error:
            status = status_of(error)
            if status not in (grpc.StatusCode.UNAVAILABLE,):
                self._say(f"  {how}{name} of {caller} is answered {status.name}")
            raise error_of(status, str(error), metadata_of(error)) from None
        return answer

    def _tell(self, caller: str, installation: str, content: bytes, answer: bytes, how: str) -> None:
        request = event_service_pb2.PushRequest.FromString(content)
        given = event_service_pb2.PushResponse.FromString(answer)
        numbers = [record.seq for record in request.records]
        span = f"{numbers[0]}..{numbers[-1]}" if numbers else "nothing"
        said = "another history" if given.rekey else f"up to {given.upto_seq}"
        self._say(
            f"  {how}push {caller} {request.incarnation[:6]} {span}: {said}{', be patient' if given.retry_after_ms else ''}"
        )
        if not given.rekey:
            self._server.answered(installation, request.incarnation, given.upto_seq)

    def _give_up(self, caller: Caller, name: str, why: str, wait_ms: int) -> None:
        self._say(f"  {name} {caller.name}: {why}")
        self._time.pass_by(wait_ms)
        caller.meanwhile("before a call is given up")
        raise TransportError(f"DEADLINE_EXCEEDED: {why}")


class Connection:
    """In place of the client's Channel: one device's calls, as bytes both ways."""

    def __init__(self, network: Network, caller: Caller, installation: str) -> None:
        self._network = network
        self._caller = caller
        self._installation = installation

    def call(self, stub: Any, name: str, request: Any, timeout_s: float, shown: Any = ()) -> Any:
        answer = self._network.call(self._caller, self._installation, name, request.SerializeToString(), timeout_s)
        return ANSWERS[name].FromString(answer)

    def close(self) -> None:
        return

    def renew(self) -> None:
        """See Channel: there is nothing to give up here."""

    def before_fork(self) -> None:
        return

    def after_fork_in_parent(self) -> None:
        return


def _scores(content: bytes) -> bytes:
    """The server's heavier model, as a rule."""
    request = scoring_service_pb2.ScoreRequest.FromString(content)
    vector = tuple(request.rows[0].values)
    found = scored(request.model_id, vector, None, heavier=True)
    answer = scoring_service_pb2.ScoreResponse(artifact_digest=found.artifact_digest)
    result = answer.results.add(code=found.code, score=found.score)
    result.vector.extend(vector)
    for line, confidence in found.confidences:
        result.confidences.add(line=line, confidence=confidence)
    return answer.SerializeToString()
