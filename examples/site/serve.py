"""A shop with articles, forms, a video and downloads, watched by reflexarc.

`python examples/site/serve.py`, then open the address it prints. Two processes: the shop's own pages here, under a strict
Content-Security-Policy, and `reflexarc serve` beside it, as it would stand on another host. Nothing is written outside --folder
(a temporary one by default).
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import re
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.request
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
PAGES: Final = HERE / "pages"
TITLE: Final = re.compile(r"<!-- title: (.*?) -->\n")
CONTENT: Final = re.compile(r"<!-- content: (\S+) (\S+) -->\n")
START_S: Final = 60
TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".pdf": "application/pdf", ".csv": "text/csv", ".wav": "audio/wav"}
VIDEO_S: Final = 2


def tone() -> bytes:
    """Two seconds of sound: what the video page plays."""
    kept = io.BytesIO()
    with wave.open(kept, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(8_000)
        samples = (int(2_000 * math.sin(n * math.tau * 220 / 8_000)) for n in range(8_000 * VIDEO_S))
        written.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return kept.getvalue()


FILES: Final = {
    "kettle.wav": tone(),
    "prices.csv": b"tea,price\nSencha,12.50\nAssam,9.80\nOolong,16.00\n",
    **{f"{name}.pdf": b"%PDF-1.4\n%%EOF\n" for name in ("sencha", "assam", "oolong", "brewing-card")},
}


class Shop(BaseHTTPRequestHandler):
    """The shop's pages. `backend`: reflexarc's origin, `sdk` and `integrity`: path and digest of its browser SDK."""

    backend = ""
    sdk = ""
    integrity = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        found = self._found(path)
        status, kind, content = (404, "text/html", b"<h1>Not here</h1>") if found is None else (200, *found)
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", self._policy())
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        """The help desk, to which replies to our mail are passed on. A real one looks at the signature first."""
        status = 404
        if self.path == "/helpdesk":
            try:
                body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), 1_000_000))
                said = json.loads(body)["data"]["properties"]
                print(f"  help desk: a {said['mood']} reply for {said['queue']}", flush=True)
                status = 204
            except (ValueError, LookupError, TypeError):
                status = 400
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _found(self, path: str) -> tuple[str, bytes] | None:
        if path in ("/style.css", "/site.js"):
            return TYPES[path[path.rindex(".") :]], (HERE / path[1:]).read_bytes()
        if path.startswith("/files/"):
            name = path.removeprefix("/files/")
            return (TYPES[Path(name).suffix], FILES[name]) if name in FILES else None
        name = "tea-finder" if path.startswith("/tea-finder") else path.strip("/") or "index"
        for candidate in (PAGES / f"{name}.html", PAGES / name / "index.html"):
            if candidate.resolve().is_relative_to(PAGES) and candidate.is_file():
                return "text/html", self._page(candidate.read_text())
        return None

    def _page(self, text: str) -> bytes:
        title, content = TITLE.search(text), CONTENT.search(text)
        head = ""
        if content:
            pairs = (("content-id", content[1]), ("category", content[2]))
            head = "".join(f'<meta name="reflexarc:{name}" content="{value}">\n' for name, value in pairs)
        words = {
            "title": title[1] if title else "", "head": head, "body": CONTENT.sub("", TITLE.sub("", text)),
            "server": self.backend, "sdk": self.sdk, "integrity": self.integrity,
        }  # fmt: skip
        page = (HERE / "layout.html").read_text()
        for _ in range(2):  # a page's body has words of its own
            page = re.sub(r"\{\{(\w+)\}\}", lambda found: words.get(found[1], found[0]), page)
        return page.encode()

    def _policy(self) -> str:
        return (
            f"default-src 'none'; script-src 'self' {self.backend}; connect-src {self.backend}; style-src 'self'; "
            f"img-src 'self' data:; media-src 'self'; form-action 'self' {self.backend}; base-uri 'none'; "
            "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types reflexarc"
        )

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the terminal is for the addresses."""


def with_mail(text: str, folder: Path, mail: tuple[str, int], shop: str, backend: str) -> str:
    """The site file with its mail, whose templates are put into `folder`; secrets that nobody gave are made up."""
    words = {"shop": shop, "backend": backend, "smtp_host": mail[0], "smtp_port": str(mail[1])}
    (folder / "mails").mkdir(exist_ok=True)
    for path in sorted((HERE / "mail").iterdir()):
        written = re.sub(r"\{\{(\w+)\}\}", lambda found: words.get(found[1], found[0]), path.read_text())
        if path.name == "site.yaml":
            text += written
        else:
            (folder / "mails" / path.name).write_text(written)
    for name in ("MAIL_KEY", "REFLEXARC_INBOUND_SECRET", "HELPDESK_SECRET"):
        os.environ.setdefault(name, secrets.token_urlsafe(32))
    return text


def free_port() -> int:
    """A port that nobody listens on now: the mails' links need to know it before anybody does."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def start_backend(folder: Path, shop: str, port: int, mail: tuple[str, int] | None = None) -> tuple[subprocess.Popen[str], str]:
    """reflexarc serve as a process of its own: (process, its origin). mail: where mail is handed over, None without mail."""
    site = folder / "site.yaml"
    text = (HERE / "site.yaml").read_text().replace("{{shop}}", shop)
    if mail is not None:
        port = port or free_port()
        text = with_mail(text, folder, mail, shop, f"http://127.0.0.1:{port}")
    site.write_text(text)
    command = [
        sys.executable, "-m", "reflexarc_cli", "serve", "--data", str(folder / "server"), "--address", "127.0.0.1:0",
        "--insecure", "--http", f"127.0.0.1:{port}", "--site", str(site), "--catalog", str(HERE / "catalog.yaml"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    # A start that hangs ends, and with it the reading below.
    guard = threading.Timer(START_S, process.kill)
    guard.start()
    for line in process.stderr or ():
        print(f"  reflexarc: {line.rstrip()}", flush=True)
        if line.startswith("HTTP on "):
            guard.cancel()
            threading.Thread(target=_drain, args=(process,), daemon=True).start()
            return process, "http://" + line.split()[-1]
    guard.cancel()
    process.wait()
    raise SystemExit("reflexarc did not start")


def _drain(process: subprocess.Popen[str]) -> None:
    for line in process.stderr or ():
        print(f"  reflexarc: {line.rstrip()}", flush=True)


def sdk_of(backend: str) -> tuple[str, str]:
    """(path, integrity) of the browser SDK: a path that always holds the same bytes, and what the browser holds them against."""
    with urllib.request.urlopen(f"{backend}/sdk/manifest.json", timeout=10) as answer:
        bundle = json.load(answer)["files"]["reflexarc.js"]
    return str(bundle["path"]), str(bundle["integrity"])


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8000, help="of the shop (0: any free one)")
    parser.add_argument("--backend-port", type=int, default=0, help="of reflexarc's HTTP (0: any free one)")
    parser.add_argument("--mail", metavar="HOST:PORT", help="send mail by the SMTP server there; see docs/email.md")
    parser.add_argument("--folder", type=Path, help="keep what reflexarc stores here")
    given = parser.parse_args()
    mail = None
    if given.mail:
        host, _, smtp_port = given.mail.rpartition(":")
        if not host or not smtp_port.isdigit():
            parser.error("--mail is HOST:PORT, such as 127.0.0.1:2525")
        mail = (host, int(smtp_port))
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            shop = ThreadingHTTPServer(("127.0.0.1", given.port), Shop)
        except OSError as error:
            raise SystemExit(f"cannot listen on port {given.port}: {error.strerror}; give another --port") from None
        origin = f"http://127.0.0.1:{shop.server_port}"
        try:
            process, Shop.backend = start_backend(folder, origin, given.backend_port, mail)
        except BaseException:
            shop.server_close()
            raise
        try:
            Shop.sdk, Shop.integrity = sdk_of(Shop.backend)
            print(f"the shop is at {origin}/", flush=True)
            for name in (signal.SIGINT, signal.SIGTERM):
                signal.signal(name, lambda *_: threading.Thread(target=shop.shutdown).start())
            shop.serve_forever()
        finally:
            process.terminate()
            process.wait(timeout=20)
            shop.server_close()


if __name__ == "__main__":
    main()
