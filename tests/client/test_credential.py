"""A device's secret: made once, kept for good, the same after damage to what can be mended."""

from pathlib import Path

import pytest

from reflexarc import Client
from reflexarc.credential import device_secret, file_key
from reflexarc_core.secret import derive_file_key


def test_the_secret_is_made_once_and_outlives_a_restart(tmp_path: Path) -> None:
    with Client(tmp_path / "a") as client:
        first = device_secret(client.log)
        assert device_secret(client.log) == first
        assert file_key(client.log) == derive_file_key(first)
    with Client(tmp_path / "a") as client:
        assert device_secret(client.log) == first
    with Client(tmp_path / "b") as other:
        assert device_secret(other.log) != first


@pytest.mark.parametrize("left", [0, 100, 4_096])
def test_the_secret_outlives_a_database_that_is_lost(tmp_path: Path, left: int) -> None:
    with Client(tmp_path) as client:
        client.page("/")
        secret, name = device_secret(client.log), client.log.installation
    whole = (tmp_path / "store.db").read_bytes()
    (tmp_path / "store.db").write_bytes(whole[:left])
    with Client(tmp_path) as client:
        assert client.log.installation == name
        assert device_secret(client.log) == secret
    (tmp_path / "secret").write_text("what was here is gone")
    with Client(tmp_path) as client:
        assert device_secret(client.log) == secret
    assert (tmp_path / "secret").read_text() == f"{name} {secret.hex()}\n"


def test_another_devices_secret_beside_the_store_is_not_taken(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with Client(tmp_path / name) as client:
            device_secret(client.log)
    theirs = (tmp_path / "a" / "secret").read_text()
    (tmp_path / "b" / "secret").write_text(theirs)
    (tmp_path / "b" / "store.db").write_bytes(b"")
    with Client(tmp_path / "b") as client:
        assert device_secret(client.log).hex() not in theirs


def test_an_encrypted_store_seals_the_secret(tmp_path: Path) -> None:
    with Client(tmp_path / "plain") as client:
        plain = device_secret(client.log)
    with Client(tmp_path / "sealed", key=b"k" * 32) as client:
        sealed = device_secret(client.log)
    assert any(plain in path.read_bytes() for path in (tmp_path / "plain").iterdir() if path.is_file())
    assert all(sealed not in path.read_bytes() for path in (tmp_path / "sealed").iterdir() if path.is_file())


def test_only_the_owner_of_the_store_can_read_it(tmp_path: Path) -> None:
    with Client(tmp_path / "a") as client:
        device_secret(client.log)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "a").iterdir() if path.is_file())
