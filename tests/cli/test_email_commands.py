"""`reflexarc email prepare`."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from reflexarc_cli.main import cli
from tests.email.kit import SITE


def test_a_mail_is_written_with_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_KEY", "a signing key of 32 bytes or more")
    (tmp_path / "site.yaml").write_text(SITE)
    given = '<p>Grüße</p>\r\n<a href="https://shop.example/?a=1&amp;b=2#c">x</a><a href="mailto:a@b.example">y</a>\n'
    (tmp_path / "in.html").write_bytes(given.encode())
    said = [
        "email", "prepare", "--site", str(tmp_path / "site.yaml"), "--html", str(tmp_path / "in.html"), "--subject", "known:42",
        "--message", "m-1", "--utm", "utm_source=mail", "--no-pixel", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    done = CliRunner().invoke(cli, said)
    assert done.exit_code == 0, done.output
    assert "1 links rewritten, 1 left alone" in done.output
    made = (tmp_path / "out" / "mail.html").read_bytes().decode()
    assert made.startswith('<p>Grüße</p>\r\n<a href="https://go.example/c/')
    assert made.endswith('">x</a><a href="mailto:a@b.example">y</a>\n')
    assert "?a=1&b=2&utm_source=mail#c" in (tmp_path / "out" / "mail.json").read_text()
