"""Who may call what: one line for every call of the contract.

Owns the table. A call without a line is refused to everybody, and a test walks the contract: whoever adds a call says here who
may make it. An admin's key may make every call but those that need to know which device calls.
"""

from __future__ import annotations

from typing import Final

DEVICE: Final = "device"
"""An enrolled installation, by its credential."""
INGEST: Final = "ingest"
SCORE: Final = "score"
READ: Final = "read"
ADMIN: Final = "admin"
ANYBODY: Final = "anybody"
"""No credential: the call shows in itself what gives the right to it, or tells nothing worth keeping from anybody."""

KEY_ROLES: Final = (INGEST, SCORE, READ, ADMIN)
"""What a service's key may be for."""

ROLES: Final[dict[str, frozenset[str]]] = {
    f"/{service}/{call}": frozenset(roles.split())
    for service, calls in {
        "reflexarc.v1.EventService": {
            "Push": DEVICE,
            "Pull": DEVICE,
            "Watch": DEVICE,
            "Track": f"{INGEST} {ADMIN}",
        },
        "reflexarc.v1.ScoringService": {"Score": f"{DEVICE} {SCORE} {ADMIN}"},
        "reflexarc.v1.ArtifactService": {
            "GetBundle": f"{DEVICE} {SCORE} {ADMIN}",
            "FetchFile": f"{DEVICE} {SCORE} {ADMIN}",
        },
        "reflexarc.v1.ReportService": {
            "GetResults": f"{READ} {ADMIN}",
            "ListDecisions": f"{READ} {ADMIN}",
            "CountEvents": f"{READ} {ADMIN}",
            "ExplainTrigger": f"{READ} {ADMIN}",
            "CountSegments": f"{READ} {ADMIN}",
            "GetTimeline": f"{READ} {ADMIN}",
        },
        "reflexarc.v1.EmailService": {
            "PrepareEmail": f"{INGEST} {ADMIN}",  # whoever sends mail also says what came of it
            "GetEmailPath": f"{READ} {ADMIN}",
            "ListMailboxes": f"{READ} {ADMIN}",
            "GetEmailOpens": f"{READ} {ADMIN}",
            "CountCampaigns": f"{READ} {ADMIN}",
        },
        "reflexarc.v1.AdminService": {
            "SetPaused": ADMIN,
            "ActivateBundle": ADMIN,
            "PromoteCatalog": ADMIN,
            "RollBack": ADMIN,
            "ListChanges": f"{READ} {ADMIN}",
            "GetCatalog": f"{READ} {ADMIN}",
            "GetStatus": f"{READ} {ADMIN}",
            "ForgetSubject": ADMIN,
            "LinkSubjects": ADMIN,
            "UndoLink": ADMIN,
            "ListLinks": f"{READ} {ADMIN}",
            "CountOutbox": f"{READ} {ADMIN}",
            "ListDeadLetters": f"{READ} {ADMIN}",
            "ReplayDeadLetters": ADMIN,
        },
        "reflexarc.v1.SyncFileService": {
            "Upload": f"{INGEST} {ADMIN}",  # whoever carries a file need not be an admin: its device signed it
            "Apply": f"{INGEST} {ADMIN}",  # but for unsigned files
            "Enrol": ADMIN,
        },
        "reflexarc.v1.IdentityService": {
            "EnrolInstallation": ANYBODY,  # shows an enrolment token
            "RenewCredential": ANYBODY,  # shows the installation's secret
            "CreateToken": ADMIN,
            "ListTokens": ADMIN,
            "RevokeToken": ADMIN,
            "ListInstallations": ADMIN,
            "RevokeInstallation": ADMIN,
            "CreateKey": ADMIN,
            "ListKeys": ADMIN,
            "RevokeKey": ADMIN,
            "RotateSigningKey": ADMIN,
        },
    }.items()
    for call, roles in calls.items()
}
