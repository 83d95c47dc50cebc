"""ArtifactService."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from reflexarc_proto.v1 import artifact_service_pb2 as messages
from reflexarc_proto.v1.artifact_service_pb2_grpc import ArtifactServiceServicer
from reflexarc_server.distribution import Distribution
from reflexarc_server.live import Switch


class ArtifactServicer(ArtifactServiceServicer):
    """See the contract."""

    def __init__(self, distribution: Distribution, switch: Switch) -> None:
        self._distribution = distribution
        self._switch = switch

    def GetBundle(self, request: messages.GetBundleRequest, context: grpc.ServicerContext) -> messages.GetBundleResponse:
        bundle = self._switch.live.bundle
        if bundle is None:
            return messages.GetBundleResponse()
        manifest = b"" if bundle.digest == request.have_digest else bundle.manifest
        return messages.GetBundleResponse(digest=bundle.digest, version=bundle.version, manifest_json=manifest)

    def FetchFile(
        self,
        request: messages.FetchFileRequest,
        context: grpc.ServicerContext,
    ) -> Iterator[messages.FetchFileResponse]:
        for piece, total in self._distribution.chunks(request.sha256, request.offset):
            yield messages.FetchFileResponse(chunk=piece, total_bytes=total)
