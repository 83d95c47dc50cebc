"""A typed client for whoever runs a server: who may call it, and what is live there.

Owns nothing but the words. Needs a key of the role admin. What it makes is shown once, and never kept here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reflexarc.backend import Backend, fields

if TYPE_CHECKING:
    from reflexarc_core.catalog import Catalog

PIECE_BYTES: Final = 65_536


class Operator(Backend):
    """A `Backend` that also makes and revokes tokens, installations and keys, and says which catalog is live. Every call raises a
    ReflexArcError."""

    def check_catalog(self, catalog: Catalog) -> list[str]:
        """What is worth knowing before it becomes live. Raises DefinitionError naming what a host there could not run."""
        return self._promote(catalog, check_only=True)[1]

    def promote(
        self, catalog: Catalog, *, by: str = "", note: str = "", live_catalog_digest: str = ""
    ) -> tuple[dict[str, Any], list[str]]:
        """Make a catalog live with the models that are; the change, and what is worth knowing.

        live_catalog_digest: of the catalog it was compared with, empty for whichever. Raises DefinitionError, and nothing has
        changed, for another one live, or for what a host there could not run.
        """
        return self._promote(catalog, by=by, note=note, live_catalog_digest=live_catalog_digest)

    def _promote(self, catalog: Catalog, **more: Any) -> tuple[dict[str, Any], list[str]]:
        from reflexarc_proto.v1 import admin_service_pb2 as messages

        built = catalog.to_bytes()
        pieces = [built[start : start + PIECE_BYTES] for start in range(0, len(built), PIECE_BYTES)]
        answer = self._admin("PromoteCatalog", messages.PromoteCatalogRequest(catalog_json=pieces, **more))
        return fields(answer.change), list(answer.notes)

    def roll_back(self, digest: str = "", *, by: str = "", note: str = "") -> dict[str, Any]:
        """Make an earlier bundle live again, the one before by default; the change. Raises DefinitionError when there is none."""
        from reflexarc_proto.v1 import admin_service_pb2 as messages

        return fields(self._admin("RollBack", messages.RollBackRequest(digest=digest, by=by, note=note)).change)

    def create_token(
        self, label: str = "", *, uses_max: int = 1, life_ms: int = 0, installation: str = ""
    ) -> tuple[str, dict[str, Any]]:
        """An enrolment token, and what the server keeps of it. life_ms 0: a week.

        installation: the only one that may use it, also in place of a lost secret or after it was revoked.
        """
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        request = messages.CreateTokenRequest(label=label, uses_max=uses_max, life_ms=life_ms, installation=installation)
        answer = self._identity("CreateToken", request)
        return answer.token, fields(answer.kept)

    def tokens(self) -> list[dict[str, Any]]:
        """Every token, oldest first."""
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        return [fields(token) for token in self._identity("ListTokens", messages.ListTokensRequest()).tokens]

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
            page = [fields(held) for held in self._identity("ListInstallations", request).installations]
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
        return answer.key, fields(answer.kept)

    def keys(self) -> list[dict[str, Any]]:
        """Every key, oldest first."""
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        return [fields(key) for key in self._identity("ListKeys", messages.ListKeysRequest()).keys]

    def revoke_key(self, key_id: str) -> None:
        """Believe it no more, from the next call on."""
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        self._identity("RevokeKey", messages.RevokeKeyRequest(key_id=key_id))

    def rotate_signing_key(self, *, at_once: bool = False) -> str:
        """Let a new key sign credentials; its id. at_once: what was signed before is refused, and every device renews."""
        from reflexarc_proto.v1 import identity_service_pb2 as messages

        answer = self._identity("RotateSigningKey", messages.RotateSigningKeyRequest(at_once=at_once))
        return str(answer.signing_key_id)

    def _admin(self, name: str, request: Any) -> Any:
        from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub

        return self._channel.call(AdminServiceStub, name, request, self._timeout_s)

    def _identity(self, name: str, request: Any) -> Any:
        from reflexarc_proto.v1.identity_service_pb2_grpc import IdentityServiceStub

        return self._channel.call(IdentityServiceStub, name, request, self._timeout_s)
