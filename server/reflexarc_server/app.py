"""The server: its parts, the services over them, a port.

Without encryption there is no authentication either, so plaintext is asked for by name (`insecure`) and listens on the loopback
only: whoever reaches that port may read and write everything.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import TransportError
from reflexarc_proto.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    artifact_service_pb2,
    artifact_service_pb2_grpc,
    email_service_pb2,
    email_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    identity_service_pb2,
    identity_service_pb2_grpc,
    report_service_pb2,
    report_service_pb2_grpc,
    scoring_service_pb2,
    scoring_service_pb2_grpc,
    sync_file_service_pb2,
    sync_file_service_pb2_grpc,
)
from reflexarc_server.admission import RECORDS_PER_S, Admission
from reflexarc_server.certificates import HINT, TlsFiles, server_credentials
from reflexarc_server.channels import Channel
from reflexarc_server.channels.configured import configured
from reflexarc_server.clock import Clock, SystemClock
from reflexarc_server.collect.http import HttpOptions, HttpServer
from reflexarc_server.collect.rooms import front_of
from reflexarc_server.control import Control
from reflexarc_server.identity import Identity, open_identity
from reflexarc_server.identity.credential import LIFE_MS
from reflexarc_server.identity.gate import Gate
from reflexarc_server.identity.limits import Limits
from reflexarc_server.inbound.polling import Poller, pollers_of
from reflexarc_server.interceptors import MESSAGE_BYTES_MAX, CallInterceptor
from reflexarc_server.loop import Loop
from reflexarc_server.parts import Parts, put_together
from reflexarc_server.results import Results
from reflexarc_server.scoring import Scoring
from reflexarc_server.segments import Segments
from reflexarc_server.services.admin import AdminServicer
from reflexarc_server.services.artifact import ArtifactServicer
from reflexarc_server.services.email import EmailServicer
from reflexarc_server.services.event import EventServicer
from reflexarc_server.services.identity import IdentityServicer
from reflexarc_server.services.report import ReportServicer
from reflexarc_server.services.scoring import ScoringServicer
from reflexarc_server.services.sync_file import SyncFileServicer
from reflexarc_server.site import Site
from reflexarc_server.store.outbox import OutboxTable
from reflexarc_server.store.sqlite import SqliteStore
from reflexarc_server.timeline import Timelines

THREADS: Final = 8
STOP_GRACE_S: Final = 2.0
SERVICES: Final = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (event_service_pb2, "EventService"),
        (scoring_service_pb2, "ScoringService"),
        (artifact_service_pb2, "ArtifactService"),
        (report_service_pb2, "ReportService"),
        (admin_service_pb2, "AdminService"),
        (sync_file_service_pb2, "SyncFileService"),
        (identity_service_pb2, "IdentityService"),
        (email_service_pb2, "EmailService"),
    )
)


class Server:
    """A running server. address: host and port it listens on. identity: who may call."""

    def __init__(
        self,
        address: str,
        parts: Parts,
        identity: Identity,
        control: Control,
        grpc_server: grpc.aio.Server,
        healthy: health.aio.HealthServicer,
        loop: Loop,
        pool: ThreadPoolExecutor,
        http: HttpServer | None = None,
        pollers: Sequence[Poller] = (),
    ) -> None:
        self.address: Final = address
        self.http: Final = http
        self.pollers: Final = tuple(pollers)
        self.identity: Final = identity
        self.parts: Final = parts
        self._control = control
        self._grpc = grpc_server
        self._health = healthy
        self._loop = loop
        self._pool = pool
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let calls finish, keep a snapshot, close the store. A second call does nothing."""
        if self._stopped.is_set():
            return
        if self.http is not None:
            self.http.stop()
        for poller in self.pollers:
            poller.stop()
        self._control.end_all()
        self._loop.run(self._health.enter_graceful_shutdown())
        self._loop.run(self._grpc.stop(STOP_GRACE_S))
        self._loop.stop()
        self._pool.shutdown()
        self.parts.fold.stop()
        self.parts.outbox.stop()
        self.identity.close()
        self.parts.store.close()
        self._stopped.set()

    def wait(self) -> None:
        """Until somebody stops it."""
        self._stopped.wait()


def start_server(
    data: Path,
    address: str,
    catalog: Catalog,
    clock: Clock | None = None,
    *,
    tls: TlsFiles | None = None,
    insecure: bool = False,
    limits: Limits | None = None,
    credential_life_ms: int = LIFE_MS,
    records_per_s: float = RECORDS_PER_S,
    new_admin_key: bool = False,
    http: HttpOptions | None = None,
    site: Site | None = None,
    channels: Sequence[Channel] = (),
) -> Server:
    """Open the folder `data` and serve on `address` (host:port; port 0 for any free one).

    catalog: what is live until a bundle is activated. tls: the server's certificate and key. insecure: in their place, plaintext
    on the loopback, where everybody is believed. limits: what one caller may ask for; None for the defaults, and for none
    in plaintext. credential_life_ms: how long a device's credential holds. records_per_s: of all devices together; who is too
    many is told when to come again. new_admin_key: write one into the folder, also when there is one already. http: serve the
    open side of `site` there too. channels: foreign systems that may be sent to, beside those of the site.

    Raises StorageError when the folder cannot be used or another server runs on it, TransportError when there is neither
    certificate nor `insecure`, plaintext would leave the loopback or the port is taken, ManifestError when the live bundle is
    damaged.
    """
    clock = clock or SystemClock()
    host, port = _split(address)
    credentials = _credentials(host, tls, insecure)
    store = SqliteStore(data)
    try:
        identity = open_identity(
            data, clock, insecure=insecure, limits=limits, credential_life_ms=credential_life_ms, new_admin_key=new_admin_key
        )
    except BaseException:
        store.close()
        raise
    loop = Loop()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="reflexarc-call")
    try:
        control = Control(loop.asyncio)
        parts = put_together(data, store, identity.registry, catalog, clock, control.hint)
        for channel in (*channels, *configured(parts, site or Site())):
            parts.outbox.add(channel)
        pollers = pollers_of(parts, site or Site())
        healthy = health.aio.HealthServicer()

        async def served() -> tuple[grpc.aio.Server, int]:
            grpc_server = _grpc_server(pool, identity.gate, parts.ingest.read)
            _register(grpc_server, parts, control, identity, Admission(records_per_s))
            emails = EmailServicer(parts, (site or Site()).email, pollers)
            email_service_pb2_grpc.add_EmailServiceServicer_to_server(emails, grpc_server)
            await _register_health(grpc_server, healthy)
            return grpc_server, _bind(grpc_server, host, port, credentials)

        grpc_server, bound = loop.run(served())
    except BaseException:
        loop.stop()
        pool.shutdown()
        identity.close()
        store.close()
        raise
    try:
        served_http = _serve_http(parts, site or Site(), http, identity.gate) if http is not None else None
    except BaseException:
        loop.run(grpc_server.stop(0))
        loop.stop()
        pool.shutdown()
        identity.close()
        store.close()
        raise
    parts.outbox.start()
    parts.fold.start()
    parts.fold.wake()
    loop.run(grpc_server.start())
    for poller in pollers:
        poller.start()
    return Server(f"{host}:{bound}", parts, identity, control, grpc_server, healthy, loop, pool, served_http, pollers)


def _serve_http(parts: Parts, site: Site, options: HttpOptions, gate: Gate) -> HttpServer:
    if options.tls is None and not options.proxies and not _is_loopback(options.host):
        raise TransportError(
            f"plaintext HTTP on {options.host}, which is not the loopback",
            hint=f"give --tls-cert and --tls-key ({HINT}), or name the proxy in front of it: --trusted-proxy ADDRESS",
        )
    front = front_of(parts, site, gate)
    return HttpServer(front, options, front.close, front.direct)


def _grpc_server(pool: ThreadPoolExecutor, gate: Gate, read_push: Callable[[bytes], Any]) -> grpc.aio.Server:
    return grpc.aio.server(
        migration_thread_pool=pool,
        interceptors=[CallInterceptor(gate, read_push)],
        options=(
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ),
    )


def _register(grpc_server: grpc.aio.Server, parts: Parts, control: Control, identity: Identity, admission: Admission) -> None:
    store, switch, fold, clock = parts.store, parts.switch, parts.fold, parts.clock
    scoring = Scoring(lambda: switch.live, lambda subject: fold.values((subject,))[1][0])
    results = Results(store, lambda: switch.live.catalog, parts.links)
    timelines = Timelines(store, parts.links, OutboxTable(store), lambda: parts.outbox.channels)
    reports = ReportServicer(results, Segments(fold), timelines, store, fold, switch, clock)
    events = EventServicer(parts.ingest, admission, parts.down, switch, control, clock)
    admin = AdminServicer(store, fold, switch, parts.promotion, control, parts.links, parts.erasures, parts.outbox, clock)
    event_service_pb2_grpc.add_EventServiceServicer_to_server(events, grpc_server)
    scoring_service_pb2_grpc.add_ScoringServiceServicer_to_server(ScoringServicer(scoring), grpc_server)
    artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server(ArtifactServicer(parts.distribution, switch), grpc_server)
    report_service_pb2_grpc.add_ReportServiceServicer_to_server(reports, grpc_server)
    sync_file_service_pb2_grpc.add_SyncFileServiceServicer_to_server(SyncFileServicer(parts.sync_files), grpc_server)
    admin_service_pb2_grpc.add_AdminServiceServicer_to_server(admin, grpc_server)
    identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(IdentityServicer(identity, clock, control.hint), grpc_server)


async def _register_health(grpc_server: grpc.aio.Server, healthy: health.aio.HealthServicer) -> None:
    health_pb2_grpc.add_HealthServicer_to_server(healthy, grpc_server)
    for name in ("", *SERVICES):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), grpc_server)


def _credentials(host: str, tls: TlsFiles | None, insecure: bool) -> Any:
    """What the port speaks: None for plaintext. Raises TransportError when it is not said, or would be heard outside."""
    if tls is not None and insecure:
        raise TransportError("a certificate and insecure: only one can be meant", hint="leave one of them out")
    if tls is not None:
        return server_credentials(tls)
    if not insecure:
        raise TransportError("there is no certificate", hint=f"give --tls-cert and --tls-key ({HINT}), or --insecure")
    if not _is_loopback(host):
        raise TransportError(f"{host} is not the loopback", hint="insecure is for this machine only: listen on 127.0.0.1")
    return None


def _bind(grpc_server: grpc.aio.Server, host: str, port: int, credentials: Any) -> int:
    try:
        bound: int
        if credentials is None:
            bound = grpc_server.add_insecure_port(f"{host}:{port}")
        else:
            bound = grpc_server.add_secure_port(f"{host}:{port}", credentials)
    except RuntimeError:
        bound = 0
    if bound:
        return bound
    reason = _why_not(host, port)
    raise TransportError(f"cannot listen on {host}:{port}: {reason}", hint="choose another port, or stop what uses this one")


def _why_not(host: str, port: int) -> str:
    """The system's own word, asked for by binding once more: grpc tells it in prose only."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((host.strip("[]"), port))
    except OSError as error:
        return error.strerror or str(error)
    return "the port was taken a moment ago"


def http_options(address: str, tls: TlsFiles | None, proxies: Sequence[str] = ()) -> HttpOptions:
    """Where HTTP is to be served. Raises TransportError when the address is none, or a proxy's is none."""
    for proxy in proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            raise TransportError(f"{proxy!r} is no proxy's address", hint="write an address or a network: 10.0.0.0/8") from None
    return HttpOptions(*_split(address), tls=None if proxies else tls, proxies=tuple(proxies))


def _split(address: str) -> tuple[str, int]:
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65_535:
        raise TransportError(f"{address!r} is no address", hint="write it as host:port, for example 127.0.0.1:7443")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


__all__ = ["SERVICES", "Server", "http_options", "start_server"]
