"""The way of docs/security.md, walked by real processes: a new user's six commands, then renewal, rotation and revocation."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.house.rooms import ROOT

WAIT_S = 60
BLOCKS = re.findall(r"(?:^    [^\n]*\n)+", (ROOT / "docs" / "security.md").read_text(), re.MULTILINE)
COMMANDS = [line.strip() for line in BLOCKS[0].splitlines()]
DEVICE = "from reflexarc import Client, Config\n\n" + "\n".join(line[4:] for line in BLOCKS[1].splitlines())
STAYING = """
import json, sys
from reflexarc import Client, Config

told = []
config = Config(
    ca_file="tls/ca.pem", enrolment_token=open("token").read().strip(), poll_ms=100, backoff_ms_min=50, backoff_ms_max=200,
)
with Client("staying", server=sys.argv[1], config=config, on_error=lambda error: told.append(error.code)) as client:
    print(json.dumps({"installation": client.log.installation}), flush=True)
    for line in sys.stdin:
        for number in range(int(line)):
            client.page(f"/{number}")
        delivered = client.flush(20 if not told else 1).delivered
        said = client.stats()["uplink"]["last_error"]
        waiting = client.log.last_seq - client.log.acked_seq
        print(json.dumps({"delivered": delivered, "said": said, "told": told, "waiting": waiting}), flush=True)
"""


class World:
    """A folder, an environment and the address of a server, as a user's shell has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("REFLEXARC_")}
        self.environment |= {"HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
        self.server: subprocess.Popen[str] | None = None
        self.port = "0"

    def run(self, command: str) -> str:
        """Run a command; what it prints."""
        done = subprocess.run(
            self._words(command), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=WAIT_S
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert "ssl_transport" not in done.stderr, "grpc spoke on standard error"
        return done.stdout

    def fails(self, command: str) -> str:
        """Run a command that is refused; what it says."""
        done = subprocess.run(
            self._words(command), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=WAIT_S
        )
        assert done.returncode == 1, f"{command}\n{done.stdout}{done.stderr}"
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr

    def export(self, line: str) -> None:
        """What `export NAME=VALUE ...` does."""
        for pair in shlex.split(line)[1:]:
            name, _, value = pair.partition("=")
            self.environment[name] = value.replace(":7443", f":{self.port}")

    def serve(self, command: str) -> None:
        """Start the server and wait until it listens."""
        self.server = subprocess.Popen(
            [*self._words(command), "--address", f"127.0.0.1:{self.port}"],
            cwd=self.folder, env=self.environment, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.server.stderr is not None
        for line in self.server.stderr:
            if line.startswith("listening on "):
                self.port = line.strip().rpartition(":")[2]
                return
            assert "rxk_" not in line
        raise AssertionError("the server did not start")

    def stop(self) -> None:
        """End the server."""
        if self.server is not None:
            self.server.terminate()
            self.server.wait(WAIT_S)
            assert self.server.stderr is not None
            self.server.stderr.close()

    def _words(self, command: str) -> list[str]:
        words = shlex.split(command.replace(":7443", f":{self.port}"))
        return [sys.executable, "-m", "reflexarc_cli", *words[1:]] if words[0] == "reflexarc" else [sys.executable, *words[1:]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Six commands later."""
    made = World(tmp_path_factory.mktemp("security"))
    (made.folder / "device.py").write_text(DEVICE.replace(":7443", ":PORT"))
    try:
        for command in COMMANDS:
            if command.startswith("reflexarc serve"):
                made.serve(command)
                (made.folder / "device.py").write_text(DEVICE.replace(":7443", f":{made.port}"))
            elif command.startswith("export"):
                made.export(command)
            elif command.startswith("python"):
                assert "delivered=True" in made.run(command)
            else:
                made.run(command)
        yield made
    finally:
        made.stop()


def events(world: World) -> int:
    """How many events the server holds, asked with the operator's key."""
    script = (
        "from reflexarc.backend import Backend\n"
        f"print(Backend('localhost:{world.port}', ca_file='tls/ca.pem').status()['events'])\n"
    )
    (world.folder / "count.py").write_text(script)
    return int(world.run("python count.py"))


def ask(device: subprocess.Popen[str], count: int) -> dict[str, Any]:
    """Let the staying device capture that many events and flush; what it says."""
    assert device.stdin is not None and device.stdout is not None
    device.stdin.write(f"{count}\n")
    device.stdin.flush()
    said: dict[str, Any] = json.loads(device.stdout.readline())
    return said


def test_the_six_commands_bring_an_event_in(world: World) -> None:
    assert len(COMMANDS) == 6
    assert events(world) == 1
    listed = json.loads(world.run("reflexarc installation list --json"))
    assert [held["revoke_time"] for held in listed] == [0]
    for name in ("token", "server-data/admin-key", "server-data/identity.db", "tls/ca-key.pem", "tls/server-key.pem"):
        assert (world.folder / name).stat().st_mode & 0o077 == 0, name
    token = (world.folder / "token").read_text().strip()
    assert token not in world.run("reflexarc token list --json")


def test_a_device_lives_through_rotation_revocation_and_return(world: World) -> None:
    before = events(world)
    (world.folder / "staying.py").write_text(STAYING)
    device = subprocess.Popen(
        [sys.executable, "staying.py", f"localhost:{world.port}"],
        cwd=world.folder, env=world.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert device.stdout is not None and device.stderr is not None and device.stdin is not None
        name = json.loads(device.stdout.readline())["installation"]
        assert ask(device, 5)["delivered"]
        world.run("reflexarc rotate-signing-key")
        assert ask(device, 5)["delivered"], "what was signed before stays good"
        world.run("reflexarc rotate-signing-key --at-once")
        assert ask(device, 5)["delivered"], "the device renews by itself"
        world.run(f"reflexarc installation revoke {name}")
        refused = ask(device, 5)
        deadline = time.monotonic() + WAIT_S
        while not refused["told"] and time.monotonic() < deadline:
            refused = ask(device, 0)
        assert not refused["delivered"] and "revoked" in refused["said"] and refused["waiting"] >= 5
        assert refused["told"] == ["permission_denied"]
        assert events(world) == before + 15
        device.stdin.close()
        assert device.wait(WAIT_S) == 0
        assert device.stderr.read() == "", "nothing of ours or grpc's on the host's standard error"
    finally:
        device.kill()
        device.wait()
        for pipe in (device.stdin, device.stdout, device.stderr):
            if pipe is not None:
                pipe.close()
    (world.folder / "token").unlink()
    world.run(f"reflexarc token create --installation {name} -o token")
    (world.folder / "again.py").write_text(DEVICE.replace(":7443", f":{world.port}").replace('"store"', '"staying"'))
    assert "delivered=True" in world.run("python again.py")
    assert events(world) == before + 21


def test_keys_keep_to_their_role_and_end_when_they_are_revoked(world: World) -> None:
    world.run("reflexarc key create --role read --label dashboard -o read-key")
    world.run("reflexarc results --server localhost:7443 --api-key-file read-key --json")
    assert "role read" in world.fails("reflexarc token list --api-key-file read-key")
    kept = [key for key in json.loads(world.run("reflexarc key list --json")) if key["label"] == "dashboard"]
    world.run(f"reflexarc key revoke {kept[0]['key_id']}")
    assert "not known" in world.fails("reflexarc results --server localhost:7443 --api-key-file read-key")


def test_doctor_says_what_is_wrong_with_a_connection(world: World) -> None:
    world.run("reflexarc doctor --server localhost:7443")
    environment = {**world.environment, "REFLEXARC_CA_FILE": ""}
    done = subprocess.run(
        [sys.executable, "-m", "reflexarc_cli", "doctor", "--server", f"localhost:{world.port}"],
        cwd=world.folder, env=environment, capture_output=True, text=True, timeout=WAIT_S,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pin it with ca_file" in done.stdout


def test_a_certificate_is_renewed_while_the_server_runs(world: World) -> None:
    import ssl

    before = ssl.get_server_certificate(("localhost", int(world.port)))
    world.run("reflexarc tls init tls --days 30")
    assert ssl.get_server_certificate(("localhost", int(world.port))) != before
    assert events(world) > 0
