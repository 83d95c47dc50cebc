"""What the server keeps of identities: it outlives a restart, is readable by its owner alone, and holds no secret."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc_core.errors import StorageError
from reflexarc_core.secret import derive_file_key, secret_digest
from reflexarc_server.identity.registry import FILE, NEVER, Installation, Registry, RingKey, Token

SECRET = b"s" * 32
DEVICE = Installation("dev-1", secret_digest(SECRET), derive_file_key(SECRET), "t1", 1_000)
TOKEN = Token("t1", b"digest", "shop 4", "", 2, 0, 1_000, 9_000, 0)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    held = Registry(tmp_path)
    yield held
    held.close()


def test_an_enrolment_counts_its_token_and_gives_the_file_key(registry: Registry, tmp_path: Path) -> None:
    registry.add_token(TOKEN)
    assert registry.file_key("dev-1") is None
    registry.enrol(DEVICE, "t1")
    assert registry.file_key("dev-1") == derive_file_key(SECRET)
    registry.close()
    again = Registry(tmp_path)
    assert again.installation("dev-1") == DEVICE
    held = again.token("t1")
    assert held is not None and held.use_count == 1
    again.close()


def test_a_revoked_installation_has_no_file_key(registry: Registry) -> None:
    registry.enrol(DEVICE, "t1")
    assert registry.revoke_installation("dev-1", 2_000)
    assert not registry.revoke_installation("dev-2", 2_000)
    assert registry.file_key("dev-1") is None
    assert registry.believed_from() == {"dev-1": NEVER}


def test_the_file_is_for_its_owner_and_holds_no_secret(registry: Registry, tmp_path: Path) -> None:
    registry.enrol(DEVICE, "t1")
    registry.close()
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    assert all(SECRET not in path.read_bytes() for path in tmp_path.iterdir())


def test_the_ring_forgets_what_is_over(registry: Registry) -> None:
    registry.turn_ring(RingKey("a", b"1", 1_000, 0), 0, 1_000)
    registry.turn_ring(RingKey("b", b"2", 2_000, 0), 5_000, 2_000)
    assert [(key.ring_id, key.retire_time) for key in registry.ring()] == [("a", 5_000), ("b", 0)]
    registry.turn_ring(RingKey("c", b"3", 6_000, 0), 9_000, 6_000)
    assert [(key.ring_id, key.retire_time) for key in registry.ring()] == [("b", 9_000), ("c", 0)]


def test_a_new_device_is_no_reason_to_look_again_and_every_revocation_is(registry: Registry, tmp_path: Path) -> None:
    registry.add_token(TOKEN)
    registry.enrol(DEVICE, "t1")
    assert registry.change_count == 0
    registry.enrol(DEVICE, "t1")
    assert registry.change_count == 1, "what the first one was given counts no more"
    registry.revoke_installation("dev-1", 2_000)
    assert registry.change_count == 2
    with sqlite3.connect(tmp_path / FILE) as database:
        plan = database.execute(
            "EXPLAIN QUERY PLAN SELECT installation, believed_from, revoke_time FROM installations"
            " WHERE revoke_time > 0 OR believed_from > 0"
        ).fetchall()
    database.close()
    assert "installations_not_believed" in str(plan), "not a walk over every installation"


def test_what_is_no_registry_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database, by any means" * 100)
    with pytest.raises(StorageError, match=r"identity\.db"):
        Registry(tmp_path)
