"""ScoringService."""

from __future__ import annotations

from typing import Final

import grpc

from reflexarc_core.errors import InvalidEventError
from reflexarc_proto.v1 import scoring_service_pb2 as messages
from reflexarc_proto.v1.scoring_service_pb2_grpc import ScoringServiceServicer
from reflexarc_proto.wire import result_to_proto, subject_from_proto
from reflexarc_server.scoring import Scoring

_FORMS: Final = {
    messages.ARTIFACT_FORM_UNSPECIFIED: "server",
    messages.ARTIFACT_FORM_DEVICE: "device",
    messages.ARTIFACT_FORM_SERVER: "server",
}


class ScoringServicer(ScoringServiceServicer):
    """See the contract."""

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring

    def Score(self, request: messages.ScoreRequest, context: grpc.ServicerContext) -> messages.ScoreResponse:
        form = _FORMS.get(request.form)
        if form is None:
            raise InvalidEventError(f"no artifact form {request.form}", hint="device or server")
        digest, inputs, scores = self._scoring.score(
            request.model_id,
            form,
            list(request.feature_names),
            [list(row.values) for row in request.rows],
            subject_from_proto(request.subject) if request.HasField("subject") else "",
            request.factors_above if request.HasField("factors_above") else None,
        )
        lines = tuple(request.lines)
        return messages.ScoreResponse(
            artifact_digest=digest, results=[result_to_proto(scored, lines) for scored in scores], inputs=inputs
        )
