"""A typed client for whoever runs a server: who may call it.

Owns nothing but the words. Needs a key of the role admin. What it makes is shown once, and never kept here.
"""

from __future__ import annotations

from typing import Any

from reflexarc.backend import Backend


class Operator(Backend):
    """A `Backend` that also makes and revokes tokens, installations and keys. Every call raises a ReflexArcError."""

    def create_token(
        self, label: str = "", *, uses_max: int = 1, life_ms: int = 0, installation: str = ""
    ) -> tuple[str, dict[str, Any]]:
        """An enrolment token, and what the server keeps of it. life_ms 0: a week.

        installation: the only one that may use it, also in place of a lost secret or after it was revoked.
        """
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        request = messages.CreateTokenRequest(label=label, uses_max=uses_max, life_ms=life_ms, installation=installation)
        answer = self._identity("CreateToken", request)
        return answer.token, _fields(answer.kept)

    def tokens(self) -> list[dict[str, Any]]:
        """Every token, oldest first."""
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        return [_fields(token) for token in self._identity("ListTokens", messages.ListTokensRequest()).tokens]

    def revoke_token(self, token_id: str) -> None:
        """Take no more enrolments with it."""
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        self._identity("RevokeToken", messages.RevokeTokenRequest(token_id=token_id))

    def installations(self) -> list[dict[str, Any]]:
        """Every installation by name."""
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["installation"] if found else ""
            request = messages.ListInstallationsRequest(after=after, page_size=1_000)
            page = [_fields(held) for held in self._identity("ListInstallations", request).installations]
            found += page
            if not page:
                return found

    def revoke_installation(self, installation: str) -> None:
        """Believe it no more, from its next call on."""
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        self._identity("RevokeInstallation", messages.RevokeInstallationRequest(installation=installation))

    def create_key(self, role: str, label: str = "") -> tuple[str, dict[str, Any]]:
        """A service's key, and what the server keeps of it. role: ingest, score, read or admin."""
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        answer = self._identity("CreateKey", messages.CreateKeyRequest(role=role, label=label))
        return answer.key, _fields(answer.kept)

    def keys(self) -> list[dict[str, Any]]:
        """Every key, oldest first."""
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        return [_fields(key) for key in self._identity("ListKeys", messages.ListKeysRequest()).keys]

    def revoke_key(self, key_id: str) -> None:
        """Believe it no more, from the next call on."""
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        self._identity("RevokeKey", messages.RevokeKeyRequest(key_id=key_id))

    def rotate_signing_key(self, *, at_once: bool = False) -> str:
        """Let a new key sign credentials; its id. at_once: what was signed before is refused, and every device renews."""
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        answer = self._identity("RotateSigningKey", messages.RotateSigningKeyRequest(at_once=at_once))
        return str(answer.signing_key_id)

    def _identity(self, name: str, request: Any) -> Any:
        from reflexarc_proto.v1.identity_service_pb2_grpc import IdentityServiceStub

        return self._channel.call(IdentityServiceStub, name, request, self._timeout_s)


def _fields(message: Any) -> dict[str, Any]:
    return {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}
