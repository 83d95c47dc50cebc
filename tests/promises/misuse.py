"""Promise 20: misuse of TLS is refused. No byte of an event, no credential and no secret leaves before the server is verified.

Every case has a device that wants to send: an event with a canary in it, a secret, and where it can have one a credential. What
it says is recorded by an `Eavesdropper`, which would go on with whoever trusts it: the first case proves that, with a server that
may be trusted.
"""

from __future__ import annotations

import datetime
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reflexarc import Client, Config
from reflexarc.backend import Backend
from reflexarc.credential import device_secret
from reflexarc_core.errors import ReflexArcError, TransportError
from reflexarc_server.app import start_server
from reflexarc_server.certificates import TlsFiles
from tests.identity.kit import DAY, Authority, Secured
from tests.promises import kit
from tests.promises.eavesdropper import Eavesdropper, context_of
from tests.promises.outcome import Outcome

ATTEMPTS: Final = 3
WAIT_S: Final = 30.0
PREFACE: Final = b"PRI * HTTP/2.0"
HELLO: Final = b"\x16"
"""The first byte of a TLS record that begins a handshake: all that a peer in plaintext may hear."""


def run(count: int, seed: int) -> Outcome:
    """count cases of misuse: all of them in turn, as often as that takes."""
    outcome = Outcome(count)
    with kit.scratch("misuse") as place:
        authority = Authority(place / "authority")
        _control(place / "control", authority, outcome)
        for number in range(count):
            name, case = CASES[number % len(CASES)]
            folder = place / f"{number}"
            folder.mkdir()
            case(folder, authority, outcome)
            outcome.add(name)
    return outcome


# -- the device that wants to send ------------------------------------------------------------------------------------


class Device:
    """A client with something to say. config: how it reaches the server."""

    def __init__(self, folder: Path, address: str, config: Config) -> None:
        self.canary = f"canary-{secrets.token_hex(12)}"
        self.client = Client(folder, server=address, config=config)
        self.secret = device_secret(self.client.log)
        self.client.log.keep_meta("enrolled", True)  # it has a secret to show, and would
        self.capture()

    def capture(self) -> None:
        """Something to send."""
        assert self.client.page(f"/{self.canary}").accepted

    def tries(self, says: str = "") -> str:
        """What it says after it tried a few times, and says that."""
        before = self.client.stats()["uplink"]["failures"]
        deadline = time.monotonic() + WAIT_S
        while True:
            told = self.client.stats()["uplink"]
            if (told["failures"] >= before + ATTEMPTS and says in told["last_error"]) or time.monotonic() > deadline:
                return str(told["last_error"])
            self.client.flush(0.1)

    def close(self) -> None:
        """End it."""
        self.client.close()


def config(**given: object) -> Config:
    """A device's that does not wait long."""
    usual: dict[str, object] = {
        "poll_ms": 50, "backoff_ms_min": 10, "backoff_ms_max": 50, "flush_interval_ms": 1, "offset_minutes": 0, "locale": "en",
    }  # fmt: skip
    return Config(**{**usual, **given})  # type: ignore[arg-type]


def _judge(name: str, outcome: Outcome, device: Device, peer: Eavesdropper, says: str, said: str) -> None:
    """Nothing was told, nothing was given up, and the device says why."""
    check = outcome.check
    check(peer.connections > 0, f"{name}: the device did not even try")
    for what, text in (("an event", device.canary.encode()), ("the secret", device.secret)):
        check(text not in peer.said and text not in peer.wire, f"{name}: {what} left the device")
    if not device.client.device.config.insecure:
        check(peer.said[:1] in (b"", HELLO), f"{name}: it said {bytes(peer.said[:60])!r}")
        check(PREFACE not in peer.said and PREFACE not in peer.wire, f"{name}: it began to speak to whom it could not verify")
    check(says in said, f"{name}: it says {said!r}, not {says!r}")
    check(not device.client.moment().online, f"{name}: it takes itself to be online")
    log = device.client.log
    if log.acked_seq or log.last_seq < 1:
        outcome.lost += 1
        outcome.wrong.append(f"{name}: records up to {log.acked_seq} of {log.last_seq} count as delivered")


def _control(folder: Path, authority: Authority, outcome: Outcome) -> None:
    """A peer that may be trusted hears the device: so the recording records."""
    with Eavesdropper(context_of(authority.issue("control").files)) as peer:
        device = Device(folder, peer.address, config(ca_file=authority.ca_file))
        device.tries()
        device.close()
        outcome.check(PREFACE in peer.said, f"control: nothing was heard, so nothing is proved ({peer.handshakes} handshakes)")
        outcome.check(device.secret in peer.said, "control: a renewal sends the secret to a server that was verified")


def _refused(name: str, folder: Path, peer: Eavesdropper, ca_file: str, says: str, outcome: Outcome) -> None:
    with peer:
        device = Device(folder / "device", peer.address, config(ca_file=ca_file))
        try:
            _judge(name, outcome, device, peer, says, device.tries(says))
        finally:
            device.close()


# -- the cases --------------------------------------------------------------------------------------------------------


def wrong_authority(folder: Path, authority: Authority, outcome: Outcome) -> None:
    stranger = Authority(folder, "stranger")
    peer = Eavesdropper(context_of(stranger.issue().files))
    _refused("wrong authority", folder, peer, authority.ca_file, "not trusted here", outcome)


def wrong_host(folder: Path, authority: Authority, outcome: Outcome) -> None:
    peer = Eavesdropper(context_of(authority.issue("other-host", ("example.org", "192.0.2.1")).files))
    _refused("wrong host", folder, peer, authority.ca_file, "for another", outcome)


def expired(folder: Path, authority: Authority, outcome: Outcome) -> None:
    peer = Eavesdropper(context_of(authority.issue("expired", begins_in=-9 * DAY, ends_in=-DAY).files))
    _refused("expired", folder, peer, authority.ca_file, "is over", outcome)


def not_yet_valid(folder: Path, authority: Authority, outcome: Outcome) -> None:
    peer = Eavesdropper(context_of(authority.issue("early", begins_in=DAY).files))
    _refused("not yet valid", folder, peer, authority.ca_file, "not valid yet", outcome)


def clock_of_1970(folder: Path, authority: Authority, outcome: Outcome) -> None:
    """A certificate that begins as long after this machine's time as today is after 1970: the same comparison."""
    since_1970 = datetime.timedelta(seconds=time.time())
    pair = authority.issue("from-tomorrow", begins_in=since_1970, ends_in=since_1970 + DAY)
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    peer = Eavesdropper(context_of(pair.files))
    _refused("clock of 1970", folder, peer, authority.ca_file, f"clock, which says {today}", outcome)


def signed_by_itself(folder: Path, authority: Authority, outcome: Outcome) -> None:
    peer = Eavesdropper(context_of(authority.issue("itself", signs_itself=True).files))
    _refused("signed by itself", folder, peer, authority.ca_file, "signed by itself", outcome)


def in_plaintext(folder: Path, authority: Authority, outcome: Outcome) -> None:
    _refused("plaintext server", folder, Eavesdropper(None), authority.ca_file, "in plaintext?", outcome)


def old_version(folder: Path, authority: Authority, outcome: Outcome) -> None:
    peer = Eavesdropper(context_of(authority.issue("old").files, ssl.TLSVersion.TLSv1_1))
    _refused("TLS 1.1", folder, peer, authority.ca_file, "no TLS from version 1.2", outcome)


def plaintext_client(folder: Path, authority: Authority, outcome: Outcome) -> None:
    """The flag, on the loopback, and a port that speaks TLS: the connection is never there."""
    with Eavesdropper(context_of(authority.issue("plain-client").files)) as peer:
        device = Device(folder / "device", peer.address, config(insecure=True))
        try:
            _judge("plaintext client", outcome, device, peer, "", device.tries())
        finally:
            device.close()


def plaintext_elsewhere(folder: Path, authority: Authority, outcome: Outcome) -> None:
    """The flag and an address that is not the loopback's: nobody is called, and no port is opened."""
    name = "plaintext elsewhere"
    with Eavesdropper(None, host="0.0.0.0") as peer:
        hosts = ("0.0.0.0", "[::]", "192.0.2.1", "example.org", "localhost.example.org", "127.0.0.1.example.org", _own_address())
        for host in hosts:
            address = f"{host}:{peer.port}"
            calls: tuple[Callable[[], object], ...] = (
                lambda address=address: Client(folder / "device", server=address, insecure=True),
                lambda address=address: Client(folder / "device", server=address, config=Config(insecure=True)),
                lambda address=address: Backend(address, insecure=True),
                lambda address=address: start_server(folder / "server", address, kit.catalog(), insecure=True),
            )
            for call in calls:
                try:
                    call()
                    outcome.wrong.append(f"{name}: {address} was taken")
                except TransportError as error:
                    outcome.check("loopback" in str(error) or "not on this machine" in str(error), f"{name}: it says {error}")
        outcome.check(peer.connections == 0, f"{name}: {peer.connections} connections were made")


def downgraded(folder: Path, authority: Authority, outcome: Outcome) -> None:
    """A server that was verified is gone, and its port answers in plaintext: there is no way back from TLS."""
    _after_a_real_one("downgraded", folder, lambda secured, port: Eavesdropper(None, port), "in plaintext?", outcome)


def impostor(folder: Path, authority: Authority, outcome: Outcome) -> None:
    """A server that was verified is gone, and another with a certificate of its own takes the port and waits for credentials."""
    stranger = Authority(folder / "stranger", "stranger")
    files: TlsFiles = stranger.issue().files
    _after_a_real_one("impostor", folder, lambda _, port: Eavesdropper(context_of(files), port), "not trusted here", outcome)


def _after_a_real_one(
    name: str, folder: Path, taken_over: Callable[[Secured, int], Eavesdropper], says: str, outcome: Outcome
) -> None:
    secured = Secured(folder)
    device = Device(folder / "device", secured.address, config(ca_file=secured.ca_file, enrolment_token=_token(secured)))
    try:
        if not outcome.check(device.client.flush(WAIT_S).delivered, f"{name}: the real server took nothing"):
            return
        credential = device.client._at.uplink._transport._credential._text  # type: ignore[union-attr]
        held = device.client.log.acked_seq
        secured.stop()
        device.canary = f"canary-{secrets.token_hex(12)}"
        with taken_over(secured, int(secured.address.rpartition(":")[2])) as peer:
            device.capture()
            said = device.tries(says)
            for text in (device.canary.encode(), device.secret, credential.encode()):
                outcome.check(text not in peer.said and text not in peer.wire, f"{name}: a secret or an event left the device")
            outcome.check(PREFACE not in peer.said and PREFACE not in peer.wire, f"{name}: it spoke to whom it could not verify")
            outcome.check(peer.connections > 0 and says in said, f"{name}: it says {said!r}, not {says!r}")
        outcome.check(device.client.log.acked_seq == held, f"{name}: something counts as delivered")
    finally:
        device.close()
        secured.stop()


def revoked_or_unknown(folder: Path, authority: Authority, outcome: Outcome) -> None:
    """A credential that the server does not believe: nothing is stored, and nothing given up."""
    name = "revoked or unknown credential"
    secured = Secured(folder)
    try:
        device = Device(folder / "device", secured.address, config(ca_file=secured.ca_file))
        try:
            said = device.tries("does not know")
            outcome.check("does not know this device" in said, f"{name}: it says {said!r}")
            outcome.check(device.client.log.acked_seq == 0, f"{name}: something counts as delivered")
            outcome.check(secured.operator.status()["events"] == 0, f"{name}: the server stored it")
        finally:
            device.close()
        for key in ("rxk_guessed", "rxc_guessed", ""):
            try:
                Backend(secured.address, key=key, ca_file=secured.ca_file).status()
                outcome.wrong.append(f"{name}: {key!r} was believed")
            except ReflexArcError as error:
                outcome.check(error.code == "unauthenticated", f"{name}: {key!r} is answered {error.code}")
    finally:
        secured.stop()


def _token(secured: Secured) -> str:
    """A token for one device whose store says that it enrolled already."""
    return secured.operator.create_token()[0]


def _own_address() -> str:
    """An address of this machine's that is not the loopback's, where it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a datagram's connection sends nothing
            return str(probe.getsockname()[0])
        except OSError:
            return "192.0.2.2"


CASES: Final[tuple[tuple[str, Callable[[Path, Authority, Outcome], None]], ...]] = (
    ("wrong authority", wrong_authority),
    ("wrong host", wrong_host),
    ("expired", expired),
    ("not yet valid", not_yet_valid),
    ("clock of 1970", clock_of_1970),
    ("signed by itself", signed_by_itself),
    ("plaintext server", in_plaintext),
    ("TLS 1.1", old_version),
    ("plaintext client", plaintext_client),
    ("plaintext elsewhere", plaintext_elsewhere),
    ("downgraded", downgraded),
    ("impostor", impostor),
    ("revoked or unknown", revoked_or_unknown),
)
