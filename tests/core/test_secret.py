"""Both sides derive the same from a secret, and neither what the other keeps."""

from reflexarc_core.secret import derive_file_key, secret_digest


def test_the_file_key_is_what_it_always_was() -> None:
    # A device and a server of different releases must agree for ever.
    assert derive_file_key(b"\x01" * 32).hex() == "90d0d6c03a47d2ff9351a405989d0e8ec0e1d57f4a3194f9510f6e935c9567f3"
    assert secret_digest(b"\x01" * 32).hex() == "72cd6e8422c407fb6d098690f1130b7ded7ec2f7f5e1d30bd9d521f015363793"


def test_another_secret_gives_another_key() -> None:
    assert len({derive_file_key(bytes([i]) * 32) for i in range(8)} | {secret_digest(bytes([i]) * 32) for i in range(8)}) == 16
