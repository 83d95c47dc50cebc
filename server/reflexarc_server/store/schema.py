"""The server's tables, and how an older store becomes a new one.

Owns every CREATE statement. An older store takes the steps it lacks, each in the transaction that records it, so a kill
between two of them leaves a store of one version.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from reflexarc_core.errors import StorageError

VERSION: Final = 9

# Events by subject, for the reports: filled from the log behind the answer to the sender (`by_subject.py`).
_BY_SUBJECT: Final = """
CREATE TABLE by_subject (
    subject TEXT NOT NULL,
    server_seq INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    event_time INTEGER NOT NULL,
    PRIMARY KEY (subject, server_seq)
) WITHOUT ROWID;
"""

# What comes down: decisions on their way to a device, who is who, and who was erased.
_DOWN: Final = """
CREATE TABLE deliveries (
    decision_id TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    expire_time INTEGER NOT NULL,
    installation TEXT NOT NULL,
    given_time INTEGER NOT NULL DEFAULT 0,
    taken_time INTEGER NOT NULL DEFAULT 0,
    handed_time INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX deliveries_open ON deliveries (installation) WHERE taken_time = 0;
CREATE INDEX deliveries_subject ON deliveries (subject);
CREATE TABLE links (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    link_id TEXT NOT NULL,
    is_undo INTEGER NOT NULL,
    subject TEXT NOT NULL,
    known TEXT NOT NULL,
    said_time INTEGER NOT NULL,
    said_by TEXT NOT NULL,
    UNIQUE (link_id, is_undo)
);
CREATE TABLE erased (
    subject_digest TEXT PRIMARY KEY,
    erase_time INTEGER NOT NULL,
    subject TEXT
) WITHOUT ROWID;
CREATE TABLE erasures (
    installation TEXT NOT NULL,
    subject_digest TEXT NOT NULL,
    erase_time INTEGER NOT NULL,
    PRIMARY KEY (installation, subject_digest)
) WITHOUT ROWID;
"""

# Checksums of the newest records of each numbering, a few hundred a row: another history with the same numbers is told apart.
_CHECKS: Final = """
CREATE TABLE checks (
    installation TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    entries BLOB NOT NULL,
    PRIMARY KEY (installation, incarnation, first_seq)
) WITHOUT ROWID;
"""

# Uses of global caps, given out in advance and reported back. subject: as the device calls the person.
_LEASES: Final = """
CREATE TABLE leases (
    lease_id TEXT PRIMARY KEY,
    cap TEXT NOT NULL,
    subject TEXT NOT NULL,
    installation TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    expire_time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX leases_subject ON leases (subject, cap);
CREATE TABLE lease_uses (
    decision_id TEXT NOT NULL,
    lease_id TEXT NOT NULL,
    cap TEXT NOT NULL,
    subject TEXT NOT NULL,
    use_time INTEGER NOT NULL,
    PRIMARY KEY (decision_id, cap)
) WITHOUT ROWID;
CREATE INDEX lease_uses_lease ON lease_uses (lease_id, cap);
CREATE INDEX lease_uses_subject ON lease_uses (subject, cap, use_time);
"""

# What goes out to foreign systems. turn: messages of one go in the order of their rows. state: 0 open, 1 sent (its key stays),
# 2 dead.
_OUTBOX: Final = """
CREATE TABLE outbox (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    key TEXT NOT NULL,
    turn TEXT NOT NULL,
    subject TEXT NOT NULL,
    body BLOB NOT NULL,
    put_time INTEGER NOT NULL,
    since_time INTEGER NOT NULL,
    expire_time INTEGER NOT NULL,
    due_time INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    state INTEGER NOT NULL DEFAULT 0,
    end_time INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    UNIQUE (channel, key)
);
CREATE INDEX outbox_due ON outbox (channel, due_time) WHERE state = 0;
CREATE INDEX outbox_turn ON outbox (channel, turn, row) WHERE state = 0;
CREATE INDEX outbox_ended ON outbox (state, end_time) WHERE state > 0;
CREATE INDEX outbox_subject ON outbox (subject) WHERE subject <> '';
"""

# What came of social posts, and who passed what on. digest: of a delivery's bytes. deadline: ms, 0 where nobody waits.
_SOCIAL: Final = """
CREATE TABLE social_seen (digest TEXT PRIMARY KEY, receive_time INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX social_seen_time ON social_seen (receive_time);
CREATE TABLE social_cases (
    case_id TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    platform TEXT NOT NULL,
    url TEXT NOT NULL,
    text TEXT NOT NULL,
    severity REAL NOT NULL,
    reasons TEXT NOT NULL,
    state TEXT NOT NULL,
    level INTEGER NOT NULL,
    open_time INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    done_by TEXT NOT NULL DEFAULT '',
    done_time INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX social_cases_due ON social_cases (deadline) WHERE deadline > 0;
CREATE INDEX social_cases_subject ON social_cases (subject, open_time);
CREATE TABLE social_responses (
    response_id TEXT PRIMARY KEY,
    rule TEXT NOT NULL,
    subject TEXT NOT NULL,
    platform TEXT NOT NULL,
    account TEXT NOT NULL,
    post_id TEXT NOT NULL,
    original TEXT NOT NULL,
    text TEXT NOT NULL,
    state TEXT NOT NULL,
    made_time INTEGER NOT NULL,
    done_by TEXT NOT NULL DEFAULT '',
    done_time INTEGER NOT NULL DEFAULT 0,
    detail TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX social_responses_state ON social_responses (state, made_time);
CREATE INDEX social_responses_subject ON social_responses (subject, rule, made_time);
CREATE TABLE shares (
    share_id TEXT PRIMARY KEY,
    parent_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    content_id TEXT NOT NULL,
    url TEXT NOT NULL,
    depth INTEGER NOT NULL,
    made_time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX shares_content ON shares (content_id, made_time);
CREATE INDEX shares_parent ON shares (parent_id);
CREATE INDEX shares_subject ON shares (subject);
CREATE TABLE share_visits (
    share_id TEXT NOT NULL,
    visitor TEXT NOT NULL,
    kind TEXT NOT NULL,
    visit_time INTEGER NOT NULL,
    PRIMARY KEY (share_id, visitor, kind)
) WITHOUT ROWID;
CREATE INDEX share_visits_visitor ON share_visits (visitor, visit_time);
"""

# What people sent by forms. state: partial, complete, spam.
_LEADS: Final = """
CREATE TABLE leads (
    lead_id TEXT PRIMARY KEY,
    form_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    state TEXT NOT NULL,
    body BLOB NOT NULL,
    create_time INTEGER NOT NULL,
    change_time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX leads_subject ON leads (subject);
CREATE INDEX leads_changed ON leads (change_time);
"""

TABLES: Final = """
CREATE TABLE log (
    server_seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    installation TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    seq INTEGER NOT NULL,
    subject TEXT NOT NULL,
    event_type TEXT NOT NULL,
    event_time INTEGER NOT NULL,
    receive_time INTEGER NOT NULL,
    record_id TEXT,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX log_identity ON log (kind, record_id) WHERE record_id IS NOT NULL;
CREATE TABLE streams (
    installation TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    upto_seq INTEGER NOT NULL,
    last_check INTEGER NOT NULL,
    PRIMARY KEY (installation, incarnation)
) WITHOUT ROWID;
CREATE TABLE decisions (
    server_seq INTEGER PRIMARY KEY,
    decision_id TEXT NOT NULL,
    record INTEGER NOT NULL,
    trigger_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    decision_time INTEGER NOT NULL,
    placement TEXT NOT NULL,
    variant TEXT NOT NULL DEFAULT ''
);
CREATE INDEX decisions_id ON decisions (decision_id, record, trigger_id, placement, reason, decision_time);
CREATE INDEX decisions_trigger ON decisions (trigger_id, reason, decision_time, subject);
CREATE TABLE outcomes (
    server_seq INTEGER PRIMARY KEY,
    decision_id TEXT NOT NULL,
    kind TEXT NOT NULL
);
CREATE TABLE subjects (subject TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE catalogs (digest TEXT PRIMARY KEY, built BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE kept (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""

# What brings a store of the version before to this one.
STEPS: Final = {
    2: f"DROP INDEX log_subject; {_BY_SUBJECT}",
    3: _DOWN,
    4: _CHECKS,
    5: _LEASES,
    # No trigger of a released version had variants.
    6: "ALTER TABLE decisions ADD COLUMN variant TEXT NOT NULL DEFAULT '';",
    7: _OUTBOX,
    8: _SOCIAL,
    9: _LEADS,
}


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """Create the tables, or bring an older store to this version. Raises StorageError for a newer one."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == VERSION:
        return
    if version > VERSION:
        raise StorageError(
            f"{path} was written by a later version (store {version}, this reads {VERSION})", hint="update reflexarc"
        )
    if version:
        for step in range(version + 1, VERSION + 1):
            connection.executescript(f"BEGIN IMMEDIATE; {STEPS[step]} PRAGMA user_version={step}; COMMIT;")
        return
    # EXTRA while creating: the switch to WAL is the one moment a power cut could undo the whole file.
    connection.execute("PRAGMA synchronous=EXTRA")
    tables = f"{TABLES} {_BY_SUBJECT} {_DOWN} {_CHECKS} {_LEASES} {_OUTBOX} {_SOCIAL} {_LEADS}"
    connection.executescript(f"BEGIN IMMEDIATE; {tables} PRAGMA user_version={VERSION}; COMMIT;")
