import pytest

from reflexarc_server.collect import email


@pytest.fixture(autouse=True)
def _answers_behind_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowded machine stores slowly; a test looks for the event as soon as it has the answer."""
    monkeypatch.setattr(email, "WAIT_S", 30.0)
