"""The sections `social` and `sharing`: what they say, and that each mistake is told with its line and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from reflexarc_build.source import SourceError, parse
from reflexarc_server.site.reader import site_of
from tests.social.kit import SECRETS, site


def test_what_the_sections_say(monkeypatch: pytest.MonkeyPatch) -> None:
    said = site(monkeypatch)
    assert said.social.platforms["twitter"].keys == (b"x-secret", b"x-before")
    assert said.social.platforms["facebook"].accounts is None
    assert [level.timeout_ms for level in said.social.levels] == [1_800_000, 3_600_000, 3_600_000]
    assert [rule.is_approved for rule in said.social.responses] == [False, True]  # nothing goes out unless somebody wrote so
    assert said.sharing.targets == ("https://shop.example",)
    assert "x-secret" not in repr(said)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("social:\n  twitter: {secrets: my-secret}", 2, "no reference to a secret"),
        ("social:\n  twitter: {}", 2, "has no secrets"),
        ("social:\n  facebook: {secrets: env:FB_SECRET}", 2, "no verify_token"),
        ("social:\n  twitter: {secrets: env:X_SECRET, base: 'http://api.example'}", 2, "base is"),
        ("social:\n  mastodon: {secrets: env:X_SECRET}", 2, "no field 'mastodon'"),
        ("social:\n  keywords: {outage: 3}", 2, "outage is 3"),
        (
            "social:\n  levels:\n    - {severity: 0.5, notify: a, timeout: 1h}\n    - {severity: 0.4, notify: b}",
            4,
            "begins at 0.4",
        ),
        ("social:\n  levels:\n    - {severity: 0.5, notify: a}\n    - {severity: 0.6, notify: b}", 3, "has no timeout"),
        ("social:\n  responses:\n    r: {text: 'Hi ${password}'}", 3, "names something else"),
        ("social:\n  responses:\n    r: {text: Hi, moods: [cheerful]}", 3, "no mood 'cheerful'"),
        (
            "sharing:\n  base: https://go.example/path\n  signing_keys: env:SHARE_KEY\n  targets: [https://a.example]",
            2,
            "is no origin",
        ),
        ("sharing:\n  base: https://go.example\n  signing_keys: env:FB_WORD\n  targets: [https://a.example]", 3, "too short"),
        ("sharing:\n  base: https://go.example\n  signing_keys: env:SHARE_KEY\n  targets: ['*']", 4, "is no origin"),
    ],
)
def test_a_mistake_names_its_line(monkeypatch: pytest.MonkeyPatch, text: str, line: int, message: str) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    with pytest.raises(SourceError) as error:
        site_of(parse(text, "site.yaml"), Path())
    assert any(message in str(one) and one.line == line for one in error.value.mistakes), str(error.value)
    assert "my-secret" not in str(error.value)
