"""A real IMAP server on the loopback: Debian's Dovecot, with a folder, a user and a port of its own.

Owns its configuration and its process. Needs no privileges; as root it serves mail as `nobody`, which it insists on.
"""

from __future__ import annotations

import getpass
import grp
import imaplib
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

from reflexarc_server.certificates import TlsFiles
from tests.server.kit import wait_for

USER, PASSWORD = "reply", 'a pass "word" of Grüße'
_CONFIG = """
protocols = imap
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
auth_verbose = yes
auth_mechanisms = {mechanisms}
disable_plaintext_auth = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
mail_location = maildir:{folder}/mail/%u
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
mail_plugins = acl
plugin {{
  acl = vfile
}}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {plain}
  }}
  inet_listener imaps {{
    port = {tls}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


class Dovecot:
    """plain_port, tls_port: stay the same over a restart. ca_file: who vouches for it."""

    def __init__(self, tls: TlsFiles, ca_file: str, mechanisms: str = "plain") -> None:
        assert shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin"), "run `make setup-e2e`"
        self.folder = Path(tempfile.mkdtemp(prefix="reflexarc-dovecot-"))
        os.chmod(self.folder, 0o755)
        self.ca_file = ca_file
        self.plain_port, self.tls_port = _free_port(), _free_port()
        user = "nobody" if os.geteuid() == 0 else getpass.getuser()
        entry = pwd.getpwnam(user)
        self.owner = entry.pw_uid, entry.pw_gid
        for name in ("run", "state", "mail"):
            (self.folder / name).mkdir()
        os.chown(self.folder / "mail", *self.owner)
        self.folder.joinpath("users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        self.folder.joinpath("dovecot.conf").write_text(_CONFIG.format(
            folder=self.folder, cert=tls.cert, key=tls.key, user=user, tls=self.tls_port,
            group=grp.getgrgid(entry.pw_gid).gr_name, plain=self.plain_port, mechanisms=mechanisms,
        ))  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        path = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        assert path is not None
        self._process = subprocess.Popen([path, "-F", "-c", str(self.folder / "dovecot.conf")])
        wait_for(self._listens)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def client(self) -> imaplib.IMAP4:
        """Somebody else's client, logged in."""
        client = imaplib.IMAP4_SSL("127.0.0.1", self.tls_port, ssl_context=ssl.create_default_context(cafile=self.ca_file))
        client.authenticate("PLAIN", lambda _: f"\0{USER}\0{PASSWORD}".encode())
        client.select("INBOX")
        return client

    def deliver(self, mails: list[bytes]) -> None:
        """As a mail server does: a file each, in the user's maildir, which a first login makes."""
        inbox = self.folder / "mail" / USER
        for number, content in enumerate(mails):
            name = f"{time.time_ns()}.{number}.host"
            path = inbox / "tmp" / name
            path.write_bytes(content)
            os.chown(path, *self.owner)
            os.rename(path, inbox / "new" / name)

    def restrict(self, rights: str) -> None:
        """Leave the owner these rights to the inbox (RFC 4314)."""
        path = self.folder / "mail" / USER / "dovecot-acl"
        path.write_text(f"owner {rights}\n")
        os.chown(path, *self.owner)

    def _listens(self) -> bool:
        try:
            for port in (self.plain_port, self.tls_port):
                socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
