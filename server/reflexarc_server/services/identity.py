"""IdentityService."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import grpc

from reflexarc_core.errors import DefinitionError
from reflexarc_proto.v1 import identity_service_pb2 as messages
from reflexarc_proto.v1.identity_service_pb2_grpc import IdentityServiceServicer
from reflexarc_server.clock import Clock
from reflexarc_server.identity import Identity
from reflexarc_server.identity.gate import new_key
from reflexarc_server.identity.registry import Key, Token

PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 1_000


class IdentityServicer(IdentityServiceServicer):
    """See the contract. on_revoked: told which installation is believed no more, so that its open streams are ended."""

    def __init__(self, identity: Identity, clock: Clock, on_revoked: Callable[[str], object]) -> None:
        self._identity = identity
        self._on_revoked = on_revoked
        self._clock = clock

    def EnrolInstallation(
        self, request: messages.EnrolInstallationRequest, context: grpc.ServicerContext
    ) -> messages.EnrolInstallationResponse:
        credential, expiry_time = self._identity.enrolment.enrol(request.token, request.installation, request.secret)
        now = self._clock.now_ms()
        return messages.EnrolInstallationResponse(credential=credential, expires_in_ms=expiry_time - now, server_time=now)

    def RenewCredential(
        self, request: messages.RenewCredentialRequest, context: grpc.ServicerContext
    ) -> messages.RenewCredentialResponse:
        credential, expiry_time = self._identity.enrolment.renew(request.installation, request.secret)
        now = self._clock.now_ms()
        return messages.RenewCredentialResponse(credential=credential, expires_in_ms=expiry_time - now, server_time=now)

    def CreateToken(self, request: messages.CreateTokenRequest, context: grpc.ServicerContext) -> messages.CreateTokenResponse:
        text, token = self._identity.enrolment.create_token(
            request.label, request.uses_max, request.life_ms, request.installation
        )
        return messages.CreateTokenResponse(token=text, kept=_token(token))

    def ListTokens(self, request: messages.ListTokensRequest, context: grpc.ServicerContext) -> messages.ListTokensResponse:
        return messages.ListTokensResponse(tokens=[_token(token) for token in self._identity.registry.tokens()])

    def RevokeToken(self, request: messages.RevokeTokenRequest, context: grpc.ServicerContext) -> messages.RevokeTokenResponse:
        _known(self._identity.registry.revoke_token(request.token_id, self._clock.now_ms()), "token", request.token_id)
        return messages.RevokeTokenResponse()

    def ListInstallations(
        self, request: messages.ListInstallationsRequest, context: grpc.ServicerContext
    ) -> messages.ListInstallationsResponse:
        size = min(max(0, request.page_size) or PAGE_SIZE, PAGE_SIZE_MAX)
        return messages.ListInstallationsResponse(
            installations=[
                messages.Installation(
                    installation=held.installation,
                    token_id=held.token_id,
                    enrol_time=held.enrol_time,
                    revoke_time=held.revoke_time,
                )
                for held in self._identity.registry.installations(request.after, size)
            ]
        )

    def RevokeInstallation(
        self, request: messages.RevokeInstallationRequest, context: grpc.ServicerContext
    ) -> messages.RevokeInstallationResponse:
        found = self._identity.registry.revoke_installation(request.installation, self._clock.now_ms())
        _known(found, "installation", request.installation)
        self._on_revoked(request.installation)
        return messages.RevokeInstallationResponse()

    def CreateKey(self, request: messages.CreateKeyRequest, context: grpc.ServicerContext) -> messages.CreateKeyResponse:
        text, key = new_key(self._clock, request.role, request.label)
        self._identity.registry.add_key(key)
        return messages.CreateKeyResponse(key=text, kept=_key(key))

    def ListKeys(self, request: messages.ListKeysRequest, context: grpc.ServicerContext) -> messages.ListKeysResponse:
        return messages.ListKeysResponse(keys=[_key(key) for key in self._identity.registry.all_keys()])

    def RevokeKey(self, request: messages.RevokeKeyRequest, context: grpc.ServicerContext) -> messages.RevokeKeyResponse:
        _known(self._identity.registry.revoke_key(request.key_id, self._clock.now_ms()), "key", request.key_id)
        return messages.RevokeKeyResponse()

    def RotateSigningKey(
        self, request: messages.RotateSigningKeyRequest, context: grpc.ServicerContext
    ) -> messages.RotateSigningKeyResponse:
        return messages.RotateSigningKeyResponse(signing_key_id=self._identity.ring.turn(at_once=request.at_once))


def _known(found: bool, kind: str, name: str) -> None:
    if not found:
        raise DefinitionError(f"no {kind} {name!r}", hint=f"reflexarc {kind} list")


def _token(token: Token) -> messages.EnrolmentToken:
    return messages.EnrolmentToken(
        token_id=token.token_id,
        label=token.label,
        installation=token.installation,
        uses_max=token.uses_max,
        use_count=token.use_count,
        create_time=token.create_time,
        expiry_time=token.expiry_time,
        revoke_time=token.revoke_time,
    )


def _key(key: Key) -> messages.ServiceKey:
    return messages.ServiceKey(
        key_id=key.key_id, role=key.role, label=key.label, create_time=key.create_time, revoke_time=key.revoke_time
    )
