"""Who may call what: every call of the contract has a line, and the line is kept by a running server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory

from reflexarc_proto.v1 import (
    admin_service_pb2,
    artifact_service_pb2,
    email_service_pb2,
    event_service_pb2,
    identity_service_pb2,
    report_service_pb2,
    scoring_service_pb2,
    sync_file_service_pb2,
)
from reflexarc_server.app import SERVICES
from reflexarc_server.identity.roles import ADMIN, ANYBODY, DEVICE, INGEST, KEY_ROLES, READ, ROLES, SCORE
from tests.identity.kit import Secured

MODULES = (
    admin_service_pb2, artifact_service_pb2, email_service_pb2, event_service_pb2, identity_service_pb2, report_service_pb2,
    scoring_service_pb2, sync_file_service_pb2,
)  # fmt: skip
METHODS = {
    f"/{service.full_name}/{method.name}": method
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    running = Secured(tmp_path_factory.mktemp("roles"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def shown(secured: Secured) -> dict[str, str]:
    """What each role shows."""
    credential, _ = secured.server.identity.ring.issue("dev-1")
    return {role: secured.operator.create_key(role)[0] for role in KEY_ROLES} | {DEVICE: credential}


def status(secured: Secured, path: str, shown: str, message: bytes = b"") -> grpc.StatusCode:
    """How a message, an empty one by default, is answered."""
    with open(secured.ca_file, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    method = METHODS[path]
    answer_of: Any = message_factory.GetMessageClass(method.output_type)
    metadata = (("authorization", f"Bearer {shown}"),) if shown else ()
    with grpc.secure_channel(secured.address, credentials) as channel:
        try:
            if method.server_streaming:
                call = channel.unary_stream(path, bytes, answer_of.FromString)(message, timeout=1, metadata=metadata)
                next(iter(call), None)
                call.cancel()
            else:
                channel.unary_unary(path, bytes, answer_of.FromString)(message, timeout=10, metadata=metadata)
        except grpc.RpcError as error:
            found: grpc.StatusCode = error.code()  # type: ignore[attr-defined]
            return found
    return grpc.StatusCode.OK


def test_every_call_of_the_contract_has_a_line_and_no_line_is_left_over() -> None:
    assert set(SERVICES) == {path.split("/")[1] for path in METHODS}
    assert set(ROLES) == set(METHODS)
    assert set().union(*ROLES.values()) == {ANYBODY, DEVICE, INGEST, SCORE, READ, ADMIN}


@pytest.mark.parametrize("path", sorted(METHODS))
def test_the_line_is_kept(secured: Secured, shown: dict[str, str], path: str) -> None:
    for role, credential in shown.items():
        answered = status(secured, path, credential)
        if ANYBODY in ROLES[path]:
            assert answered is grpc.StatusCode.INVALID_ARGUMENT or answered is grpc.StatusCode.UNAUTHENTICATED
        else:
            assert (answered not in REFUSED) == (role in ROLES[path]), role
    if ANYBODY not in ROLES[path]:
        assert status(secured, path, "") is grpc.StatusCode.UNAUTHENTICATED
        assert status(secured, path, "rxk_wrong") is grpc.StatusCode.UNAUTHENTICATED
        assert status(secured, path, "rxc_wrong") is grpc.StatusCode.UNAUTHENTICATED


def test_unsigned_sync_files_are_for_admins(secured: Secured, shown: dict[str, str]) -> None:
    unsigned = sync_file_service_pb2.ApplyRequest(sha256=[b"x" * 32], allow_unsigned=True).SerializeToString()
    for role, is_refused in ((INGEST, True), (ADMIN, False)):
        answered = status(secured, "/reflexarc.v1.SyncFileService/Apply", shown[role], unsigned)
        assert (answered is grpc.StatusCode.PERMISSION_DENIED) == is_refused


def test_no_role_but_the_device_reaches_a_device_call() -> None:
    assert all(roles == {DEVICE} for path, roles in ROLES.items() if path.endswith(("/Push", "/Pull")))
