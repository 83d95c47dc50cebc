"""Where a service's key comes from: an argument of the program's own, the environment, a file; and never from nowhere."""

from pathlib import Path

import pytest

from reflexarc.backend import Backend
from reflexarc.credential import service_key
from reflexarc_core.errors import UnauthenticatedError


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REFLEXARC_API_KEY", "REFLEXARC_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_a_file_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("given", "said"):
        (tmp_path / name).write_text(f"rxk_{name}\n")
    monkeypatch.setenv("REFLEXARC_API_KEY_FILE", str(tmp_path / "said"))
    assert service_key() == "rxk_said"
    monkeypatch.setenv("REFLEXARC_API_KEY", " rxk_direct ")
    assert service_key() == "rxk_direct"
    assert service_key(str(tmp_path / "given")) == "rxk_given"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_what_holds_no_key_is_one_clear_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnauthenticatedError, match="key"):
        service_key(str(path))


def test_without_a_key_a_backend_says_how_to_give_one() -> None:
    with pytest.raises(UnauthenticatedError, match="REFLEXARC_API_KEY_FILE"):
        Backend("localhost:7443")
    Backend("127.0.0.1:9", insecure=True).close()
