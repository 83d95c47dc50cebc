"""The peers' capture calls, each with its library's defaults, the endpoint apart.

A variant is made by `open_variant` and called with the number of an event; it gives False back when the library said
that it dropped the event. Owns how a peer is set up. Imports a peer only when it is asked for.
"""

import importlib.util
from collections.abc import Callable, Mapping

Call = Callable[[int, Mapping[str, object]], bool]

# Name of the peer: (module to look for, distribution to install).
PEERS: dict[str, tuple[str, str]] = {
    "segment": ("segment.analytics", "segment-analytics-python"),
    "posthog": ("posthog", "posthog"),
    "snowplow-async": ("snowplow_tracker", "snowplow-tracker"),
    "opentelemetry-logs": ("opentelemetry.exporter.otlp.proto.http._log_exporter", "opentelemetry-exporter-otlp-proto-http"),
}


def missing_peers() -> dict[str, str]:
    """Peers that are not installed here, with what to do."""
    return {
        name: f"{distribution} is not installed: pip install -c constraints.txt -e '.[bench]'"
        for name, (module, distribution) in PEERS.items()
        if not _present(module)
    }


def open_peer(name: str, port: int) -> Call:
    """A peer's capture call that sends to 127.0.0.1:port."""
    return {
        "segment": _segment, "posthog": _posthog, "snowplow-async": _snowplow, "opentelemetry-logs": _opentelemetry
    }[name](port)  # fmt: skip


def _present(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _segment(port: int) -> Call:
    from segment.analytics.client import Client

    client = Client("key", host=f"http://127.0.0.1:{port}")

    def call(number: int, properties: Mapping[str, object]) -> bool:
        taken, _ = client.track("person-1", "page_view", properties)
        return bool(taken)

    return call


def _posthog(port: int) -> Call:
    from posthog import Posthog

    client = Posthog("key", host=f"http://127.0.0.1:{port}")

    def call(number: int, properties: Mapping[str, object]) -> bool:
        return client.capture("page_view", distinct_id="person-1", properties=dict(properties)) is not None

    return call


def _snowplow(port: int) -> Call:
    from snowplow_tracker import AsyncEmitter, PageView, Tracker

    tracker = Tracker("bench", emitters=[AsyncEmitter("127.0.0.1", protocol="http", port=port, method="post")])

    def call(number: int, properties: Mapping[str, object]) -> bool:
        # Its own event for this: a self-describing one with the four properties takes half as long again.
        tracker.track(PageView(str(properties["page_url"]), str(properties["title"]), str(properties["referrer"])))
        return True

    return call


def _opentelemetry(port: int) -> Call:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=f"http://127.0.0.1:{port}/v1/logs")))
    logger = provider.get_logger("bench")

    def call(number: int, properties: Mapping[str, object]) -> bool:
        logger.emit(body="page_view", attributes=properties)
        return True

    return call
