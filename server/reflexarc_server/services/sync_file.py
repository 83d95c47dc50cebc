"""SyncFileService."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from reflexarc_core.errors import PermissionDeniedError
from reflexarc_proto.v1 import sync_file_service_pb2 as messages
from reflexarc_proto.v1.sync_file_service_pb2_grpc import SyncFileServiceServicer
from reflexarc_server.identity.roles import INGEST
from reflexarc_server.interceptors import role
from reflexarc_server.sync_files import SyncFiles


class SyncFileServicer(SyncFileServiceServicer):
    """See the contract."""

    def __init__(self, sync_files: SyncFiles) -> None:
        self._sync_files = sync_files

    def Upload(self, request: messages.UploadRequest, context: grpc.ServicerContext) -> messages.UploadResponse:
        held = self._sync_files.receive(request.sha256, request.total_bytes, request.offset, request.chunk)
        return messages.UploadResponse(held_bytes=held)

    def Apply(self, request: messages.ApplyRequest, context: grpc.ServicerContext) -> Iterator[messages.ApplyResponse]:
        if request.allow_unsigned and role() == INGEST:  # a signature stands for its device; without one, the key would
            raise PermissionDeniedError("unsigned files are for the role admin", hint="bring signed ones")
        return self._applied(request)

    def _applied(self, request: messages.ApplyRequest) -> Iterator[messages.ApplyResponse]:
        for piece in self._sync_files.apply(list(request.sha256), allow_unsigned=request.allow_unsigned):
            yield messages.ApplyResponse(chunk=piece)

    def Enrol(self, request: messages.EnrolRequest, context: grpc.ServicerContext) -> messages.EnrolResponse:
        known = self._sync_files.keys.enrol(
            request.installation, request.file_key, request.secret_digest, replace=request.replace
        )
        return messages.EnrolResponse(was_known=known)
