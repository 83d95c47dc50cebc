"""A decision on a device with no network: which packages it needs, and that a bundle is only taken when it is whole."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from reflexarc import Client
from reflexarc.bundle import Bundles
from reflexarc.testing import ManualClock
from reflexarc_core.errors import ManifestError

DAY = 86_400_000
T0 = 1_700_000_000_000 // DAY * DAY


def fetch_from(folder: Path, spoil: str = "") -> object:
    files = json.loads((folder / "bundle.json").read_text())["files"]
    by_digest = {entry["sha256"]: name for name, entry in files.items()}

    def fetch(sha256: str, byte_count: int) -> bytes:
        content = (folder / by_digest[sha256]).read_bytes()
        assert len(content) == byte_count
        if spoil and by_digest[sha256].endswith(spoil):
            content = bytes([content[0] ^ 1]) + content[1:]
        return content

    return fetch


def install(store: Path, published: tuple[str, Path]) -> None:
    """Leave the bundle in a device's store as an earlier contact with the server would have."""
    digest, folder = published
    Bundles(store / "bundles").install(digest, (folder / "bundle.json").read_bytes(), fetch_from(folder))  # type: ignore[arg-type]
    with Client(store, clock=ManualClock(T0)) as client:
        client.log.keep_meta("bundle", digest)


OFFLINE = """
import json, socket, sys

def refuse(*arguments, **named):
    raise AssertionError("a device that decides offline opened a socket")

socket.socket.connect = refuse
socket.create_connection = refuse

from reflexarc import Client
from reflexarc.testing import ManualClock

clock = ManualClock(int(sys.argv[2]))
with Client(sys.argv[1], clock=clock) as client:
    acted = []
    client.on("proactive_re_engagement", acted.append)
    for i in range(20):
        assert client.track("page_view", {"page_url": "/"}, subject=f"known:{i}").accepted
    clock.advance(30 * 86_400_000)
    client.run_due()
    client.settle()
    decisions = client.stats()["decisions"]
    payload = acted[0].payload if acted else None
packages = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"decisions": decisions, "packages": packages, "payload": payload}))
"""


def test_an_offline_decision_needs_no_network_no_protobuf_no_training_packages(
    tmp_path: Path, published: tuple[str, Path]
) -> None:
    install(tmp_path / "store", published)
    finished = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(tmp_path / "store"), str(T0)], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
    told = json.loads(finished.stdout)
    heavy = {"grpc", "google", "sklearn", "skl2onnx", "onnx", "onnxruntime", "numba", "numpy", "scipy", "yaml", "cel_expr_python"}
    assert not heavy & set(told["packages"])
    assert not {"reflexarc_proto", "reflexarc_server", "reflexarc_build", "sqlite_utils"} & set(told["packages"])
    assert told["decisions"]["FIRED"] > 0
    assert told["decisions"]["HOLDOUT"] > 0
    reasons = told["payload"]["reasons"]
    assert set(reasons) == {"engagement_score", "usage_frequency"}
    assert told["payload"]["risk"] > 0.7


def test_a_spoilt_file_is_refused_and_nothing_is_left(tmp_path: Path, published: tuple[str, Path]) -> None:
    digest, folder = published
    bundles = Bundles(tmp_path / "bundles")
    for spoil in ("catalog.json", "model.onnx", "parity.json", "device/manifest.json"):
        with pytest.raises(ManifestError, match="not what the manifest lists"):
            bundles.install(digest, (folder / "bundle.json").read_bytes(), fetch_from(folder, spoil))  # type: ignore[arg-type]
        assert bundles.held(digest) is None
        assert not list((tmp_path / "bundles").glob("*"))
    with pytest.raises(ManifestError, match="not the one that was announced"):
        bundles.install("0" * 64, (folder / "bundle.json").read_bytes(), fetch_from(folder))  # type: ignore[arg-type]


def test_a_bundle_that_rotted_on_the_disk_is_not_opened(tmp_path: Path, published: tuple[str, Path]) -> None:
    digest, folder = published
    bundles = Bundles(tmp_path / "bundles")
    bundles.install(digest, (folder / "bundle.json").read_bytes(), fetch_from(folder))  # type: ignore[arg-type]
    assert bundles.held(digest) is not None
    model = tmp_path / "bundles" / digest / "churn" / "device" / "model.onnx"
    content = bytearray(model.read_bytes())
    content[100] ^= 4
    model.write_bytes(bytes(content))
    assert bundles.held(digest) is None


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/device/../../../evil"])
def test_a_manifest_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    manifest = json.dumps({"files": {name + "/device/x": {"sha256": "0" * 64, "bytes": 1}}}).encode()
    with pytest.raises(ManifestError, match="outside itself"):
        Bundles(tmp_path / "bundles").install(hashlib.sha256(manifest).hexdigest(), manifest, lambda sha256, byte_count: b"x")
    assert not list(tmp_path.glob("**/x"))
