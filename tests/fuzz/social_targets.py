"""Social webhooks fuzzed: whatever is signed is read to the end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

NAME: Final = "social webhooks"


def opened(stack: ExitStack, folder: Path, broken: type[Exception]) -> Callable[[bytes], None]:
    """Signed deliveries: the first byte chooses the platform, the rest is the body, stored or refused by the family."""
    from reflexarc.definitions import load_catalog
    from reflexarc_core.errors import ReflexArcError
    from reflexarc_server.clock import SystemClock
    from reflexarc_server.ingest import Ingest
    from reflexarc_server.site.secret import Secret
    from reflexarc_server.site.social import Platform
    from reflexarc_server.social.post import PLATFORMS
    from reflexarc_server.social.receiver import Receiver
    from reflexarc_server.social.signatures import signature
    from reflexarc_server.store.sqlite import SqliteStore

    store, catalog, clock = SqliteStore(folder / "server"), load_catalog(None), SystemClock()
    stack.callback(store.close)
    receiver = Receiver(store, Ingest(store, clock, lambda: catalog, lambda: None), lambda text: 0.0)
    said = Platform((Secret("env:KEY", "key"),))

    def target(content: bytes) -> None:
        if not content:
            return
        platform, body = PLATFORMS[content[0] % len(PLATFORMS)], content[1:]
        try:
            told = receiver.take(platform, said, body, signature(platform, b"key", body), clock.now_ms())
        except ReflexArcError:
            return
        if told.counts.get("rejected"):
            raise broken(f"{platform}: a post was read that no event can hold")

    return target


def seeds() -> list[bytes]:
    """Deliveries that mean something, to begin with."""
    import json
    import time

    from tests.social import payloads

    now = int(time.time() * 1_000)
    tweet = payloads.tweet("1", "@reflexarc_app hi", entities=payloads.naming_us(), timestamp_ms=str(now))
    stream = {
        "data": {"id": "2", "author_id": "3", "text": "hi", "referenced_tweets": [{"type": "quoted", "id": "5"}]},
        "includes": {"users": [{"id": "3", "public_metrics": {"followers_count": 4}}]},
        "matching_rules": [{"id": 1}],
    }
    page = payloads.comment("hello")
    page["entry"][0]["time"] = now // 1_000
    told = payloads.notification("COMMENT", lastModifiedAt=now)
    given = [(0, payloads.activity(tweet_create_events=[tweet])), (0, stream), (1, page), (2, told)]
    return [bytes([place]) + json.dumps(payload).encode() for place, payload in given]
