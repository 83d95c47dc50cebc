"""Who fetched a pixel or followed a link: a person, an image proxy, a robot, or a security gateway that looks at links first.

Owns the evidence, its weights, and what is remembered of the last seconds, in memory only and of a bounded size. Nothing is
dropped: what is found is a label. The first request of a burst is judged before the burst is seen; `reread` judges again once all
requests of a message are known. Must never keep an address or a user agent, only a keyed digest of both, for a second.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

RETRY_MS: Final = 1_000
"""The same request again within so long is a retry of the same happening."""
BURST_MS: Final = 1_000
BURST_LINKS: Final = 3
"""So many links of a mail within BURST_MS are more than a person follows; all of them are, when there are two or more."""
MESSAGES_MAX: Final = 4_096
REQUESTS_MAX: Final = 16_384
REMEMBERED_MAX: Final = 64

SCANNER: Final = 0.95
ROBOT: Final = 0.5
HEAD: Final = 0.9
NAMELESS: Final = 0.6
PROMPT_CLICK: Final = 0.7
PROMPT_OPEN: Final = 0.5
BURST: Final = 0.95
"""Weights: how likely each of them alone means a gateway. Together they count as independent."""


class Agent(Protocol):
    """What is read of a user agent, as `enrichment.user_agent` gives it."""

    @property
    def bot(self) -> str: ...
    @property
    def bot_kind(self) -> str: ...
    @property
    def proxy(self) -> str: ...


class Request(NamedTuple):
    """One request. kind: open or click. position: of the link, 0 for the pixel. since_sent_ms: -1 when that is not known."""

    message_id: str
    kind: str
    position: int
    link_count: int
    time: int
    method: str
    since_sent_ms: int
    is_nameless: bool


@dataclass(frozen=True, slots=True)
class Label:
    """What a request is held for. machine: nobody may have looked. gateway: gateway_score is over the line.

    gateway_score: 0 to 1. proxy: name of the image proxy, empty for none.
    """

    machine: bool
    gateway: bool
    gateway_score: float
    proxy: str


class Watch:
    """Remembers the last second of each message. prompt_ms, line: the site's. Safe to call from several threads."""

    def __init__(self, prompt_ms: int = 5_000, line: float = 0.8) -> None:
        self._prompt_ms = prompt_ms
        self._line = line
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(16)
        self._recent: OrderedDict[str, list[tuple[int, int]]] = OrderedDict()
        self._requests: OrderedDict[bytes, int] = OrderedDict()

    def first_time(self, token: str, address: str, agent: str, time: int) -> int:
        """When this very request came first: `time`, or a moment ago when it is a retry."""
        asked = hashlib.blake2b(f"{token}\n{address}\n{agent}".encode("utf-8", "replace"), key=self._key, digest_size=16).digest()
        with self._lock:
            before = self._requests.get(asked)
            if before is not None and 0 <= time - before < RETRY_MS:
                return before
            self._requests[asked] = time
            self._requests.move_to_end(asked)
            if len(self._requests) > REQUESTS_MAX:
                self._requests.popitem(last=False)
            return time

    def judge(self, request: Request, agent: Agent) -> Label:
        """The label of a request that is not a retry, by what came before it."""
        with self._lock:
            recent = self._recent.setdefault(request.message_id, [])
            self._recent.move_to_end(request.message_id)
            if request.position:
                recent.append((request.time, request.position))
                del recent[:-REMEMBERED_MAX]
            if len(self._recent) > MESSAGES_MAX:
                self._recent.popitem(last=False)
            is_burst = _is_burst(recent, request.time, request.link_count)
        return label_of(request, agent, is_burst=is_burst, prompt_ms=self._prompt_ms, line=self._line)


def label_of(request: Request, agent: Agent, *, is_burst: bool, prompt_ms: int, line: float) -> Label:
    """The label that follows from the evidence."""
    is_prompt = 0 <= request.since_sent_ms < prompt_ms
    weights = []
    if agent.bot:
        weights.append(SCANNER if agent.bot_kind == "scanner" else ROBOT)
    if request.method == "HEAD":
        weights.append(HEAD)
    if request.is_nameless:
        weights.append(NAMELESS)
    if is_prompt:
        weights.append(PROMPT_CLICK if request.kind == "click" else PROMPT_OPEN)
    if is_burst:
        weights.append(BURST)
    score = _together(weights)
    gateway = score >= line
    prefetched = bool(agent.proxy) and (is_prompt or agent.proxy == "apple_mpp")
    return Label(gateway or bool(agent.bot) or prefetched, gateway, score, agent.proxy)


def reread(times: Sequence[tuple[int, int]], link_count: int) -> list[bool]:
    """Of all clicks of a message, (ms, link position) in order of time: which stand in a burst, the first ones too."""
    found = []
    for time, _ in times:
        near = [one for one in times if abs(one[0] - time) <= BURST_MS]
        found.append(any(_is_burst([one for one in near if one[0] <= end], end, link_count) for end, _ in near))
    return found


def _is_burst(recent: Sequence[tuple[int, int]], time: int, link_count: int) -> bool:
    links = {position for when, position in recent if 0 <= time - when <= BURST_MS and position}
    return len(links) >= BURST_LINKS or (len(links) >= 2 and len(links) == link_count)


def _together(weights: Sequence[float]) -> float:
    """One minus the chance that none of them means it, in thousandths."""
    left = 1.0
    for weight in weights:
        left *= 1.0 - weight
    return round(1.0 - left, 3)
