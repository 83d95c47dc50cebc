"""Bundles: written, activated, fetched in pieces, scored by; damage is found before anything runs."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from reflexarc_core.errors import DefinitionError, InvalidEventError, ManifestError, ReflexArcError, ScoringError
from reflexarc_core.event import Event
from reflexarc_models.artifact import MANIFEST_FILE, Artifact, assemble
from reflexarc_models.scorer import ArtifactScorer
from reflexarc_models.train.train import TrainedModel
from reflexarc_proto.v1 import admin_service_pb2, artifact_service_pb2, event_service_pb2, scoring_service_pb2
from reflexarc_proto.wire import error_of_call, result_from_proto, subject_to_proto
from reflexarc_server import live
from reflexarc_server.app import Server, start_server
from reflexarc_server.distribution import keep_bundle, write_bundle
from tests.core.test_hostile_catalog import HOSTILE, UNSOUND, unsound
from tests.server.kit import DAY, T0, ManualClock, Stubs, catalog


@pytest.fixture
def publish(data: Path, tmp_path: Path, churn: TrainedModel) -> Callable[[], str]:
    """Writes a bundle with the churn model into the server's folder."""

    def write() -> str:
        folders = {"device": tmp_path / "device", "server": tmp_path / "heavy"}
        churn.device.write(folders["device"])
        churn.server.write(folders["server"])
        return write_bundle(data, catalog(), {"churn": folders})

    return write


def _activate(stubs: Stubs, digest: str) -> admin_service_pb2.ActivateBundleResponse:
    answer: admin_service_pb2.ActivateBundleResponse = stubs.admin.ActivateBundle(
        admin_service_pb2.ActivateBundleRequest(digest=digest), timeout=20
    )
    return answer


def _refused(call: Callable[[], object]) -> ReflexArcError:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return error_of_call(refused.value)


def _fetch(stubs: Stubs, sha256: str, offset: int = 0) -> list[bytes]:
    request = artifact_service_pb2.FetchFileRequest(sha256=sha256, offset=offset)
    return [piece.chunk for piece in stubs.artifacts.FetchFile(request, timeout=10)]


def test_a_bundle_is_activated_listed_and_fetched(stubs: Stubs, publish: Callable[[], str], churn: TrainedModel) -> None:
    empty = stubs.artifacts.GetBundle(artifact_service_pb2.GetBundleRequest(), timeout=10)
    assert (empty.digest, empty.version, empty.manifest_json) == ("", 0, b"")
    digest = publish()
    assert not stubs.artifacts.GetBundle(artifact_service_pb2.GetBundleRequest(), timeout=10).digest
    assert (_activate(stubs, digest).digest, _activate(stubs, digest).version) == (digest, 1)
    told = stubs.artifacts.GetBundle(artifact_service_pb2.GetBundleRequest(), timeout=10)
    assert hashlib.sha256(told.manifest_json).hexdigest() == told.digest == digest
    held = stubs.artifacts.GetBundle(artifact_service_pb2.GetBundleRequest(have_digest=digest), timeout=10)
    assert (held.digest, held.manifest_json) == (digest, b"")
    pulled = stubs.events.Pull(event_service_pb2.PullRequest(), timeout=10)
    assert (pulled.bundle_digest, pulled.bundle_version) == (digest, 1)
    files = json.loads(told.manifest_json)["files"]
    assert {name.split("/")[0] for name in files} == {"catalog.json", "churn"}
    for name, entry in files.items():
        pieces = _fetch(stubs, entry["sha256"])
        whole = b"".join(pieces)
        assert (len(whole), hashlib.sha256(whole).hexdigest()) == (entry["bytes"], entry["sha256"]), name
        assert max(map(len, pieces)) <= 65_536
        middle = entry["bytes"] // 3
        assert b"".join(_fetch(stubs, entry["sha256"], middle)) == whole[middle:]
        assert b"".join(_fetch(stubs, entry["sha256"], entry["bytes"])) == b""
    large = files["churn/server/model.onnx"]
    assert large["bytes"] > 65_536
    assert len(_fetch(stubs, large["sha256"])) > 1
    assert files["churn/device/manifest.json"]["sha256"] == churn.device.digest


def test_what_no_bundle_holds_is_not_served(stubs: Stubs, publish: Callable[[], str], data: Path) -> None:
    digest = publish()
    store = hashlib.sha256((data / "server.db").read_bytes()).hexdigest()
    for sha256 in ("0" * 64, "../server.db", store):
        assert type(_refused(lambda s=sha256: _fetch(stubs, s))) is DefinitionError
    entry = json.loads((data / "bundles" / digest / "bundle.json").read_bytes())["files"]["catalog.json"]
    for offset in (-1, entry["bytes"] + 1):
        assert type(_refused(lambda o=offset: _fetch(stubs, entry["sha256"], o))) is DefinitionError
    for name in ("", "x", "../../etc", "Z" * 64):
        assert type(_refused(lambda n=name: _activate(stubs, n))) is DefinitionError


@pytest.mark.parametrize("name", ["bundle.json", "catalog.json", "churn/server/model.onnx", "churn/device/parity.json"])
def test_a_damaged_bundle_never_becomes_live(stubs: Stubs, publish: Callable[[], str], data: Path, name: str) -> None:
    good, bad = publish(), publish()
    assert good != bad
    path = data / "bundles" / bad / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    _activate(stubs, good)
    assert type(_refused(lambda: _activate(stubs, bad))) is ManifestError
    path.unlink()
    assert type(_refused(lambda: _activate(stubs, bad))) is ManifestError
    assert stubs.status().bundle_digest == good


def test_a_bundle_that_cannot_be_is_not_written(data: Path, tmp_path: Path, churn: TrainedModel) -> None:
    churn.device.write(tmp_path / "device")
    for artifacts in ({"nobody": {"device": tmp_path / "device"}}, {"churn": {"middle": tmp_path / "device"}}):
        with pytest.raises(DefinitionError):
            write_bundle(data, catalog(), artifacts)
    with pytest.raises(ManifestError):
        write_bundle(data, catalog(), {"churn": {"device": tmp_path / "nowhere"}})
    assert list((data / "bundles").iterdir()) == []


def _score(stubs: Stubs, **fields: object) -> scoring_service_pb2.ScoreResponse:
    request = scoring_service_pb2.ScoreRequest(model_id="churn", **fields)  # type: ignore[arg-type]
    answer: scoring_service_pb2.ScoreResponse = stubs.scoring.Score(request, timeout=10)
    return answer


def test_scores_are_the_artifacts_own(stubs: Stubs, publish: Callable[[], str], churn: TrainedModel) -> None:
    row = scoring_service_pb2.Row
    assert type(_refused(lambda: _score(stubs, rows=[row(values=[1, 2, 3])]))) is ScoringError
    _activate(stubs, publish())
    heavy, small = ArtifactScorer({"churn": churn.server}), ArtifactScorer({"churn": churn.device})
    inputs = churn.server.inputs
    vectors = [[float(i), float(i % 4), float(i % 2)] for i in range(20)] + [[math.nan, 1.0, 0.0]]
    for form, scorer in ((0, heavy), (2, heavy), (1, small)):
        digest = scorer.artifact("churn").digest
        answer = _score(stubs, rows=[row(values=v) for v in vectors], form=form)
        assert (answer.artifact_digest, tuple(answer.inputs)) == (digest, inputs)
        expected = [scorer.score("churn", vector, None) for vector in vectors]
        got = [result_from_proto("churn", answer.artifact_digest, result) for result in answer.results]
        assert [g._replace(vector=()) for g in got] == [e._replace(vector=()) for e in expected]
    mixed = _score(stubs, feature_names=["support_tickets", "unheard_of", "engagement_score"], rows=[row(values=[2, 9, 5])])
    assert mixed.results[0].code == heavy.score("churn", [5.0, math.nan, 2.0], None).code
    explained = _score(stubs, rows=[row(values=[0, 0, 3])], factors_above=0.0, lines=[0.7]).results[0]
    assert explained.HasField("factors")
    assert [c.line for c in explained.confidences] == [0.7]
    assert not _score(stubs, rows=[row(values=[0, 0, 3])], lines=[0.123]).results[0].confidences
    assert not _score(stubs).results
    assert type(_refused(lambda: _score(stubs, rows=[row(values=[1])]))) is InvalidEventError
    assert type(_refused(lambda: _score(stubs, feature_names=["other"], rows=[row(values=[1])]))) is ScoringError


def test_an_input_the_caller_lacks_comes_from_the_subjects_state(
    stubs: Stubs, publish: Callable[[], str], churn: TrainedModel
) -> None:
    _activate(stubs, publish())
    stubs.track(*(Event(f"t{i}", "support_ticket", "known:1", T0, {"ticket_id": str(i)}) for i in range(4)))
    stubs.folded()
    names = ["engagement_score", "usage_frequency"]
    rows = [scoring_service_pb2.Row(values=[5.0, 2.0])]
    answer = _score(stubs, feature_names=names, rows=rows, subject=subject_to_proto("known:1"))
    assert list(answer.results[0].vector) == [5.0, 2.0, 4.0]
    unknown = _score(stubs, feature_names=names, rows=rows)
    assert math.isnan(unknown.results[0].vector[2])
    assert unknown.results[0].code == ArtifactScorer({"churn": churn.server}).score("churn", [5.0, 2.0, math.nan], None).code


def test_the_live_bundle_outlives_a_restart(data: Path, clock: ManualClock, publish: Callable[[], str]) -> None:
    digest = publish()
    for expected in ("", digest):
        server = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
        stubs = Stubs(server.address)
        assert stubs.status().bundle_digest == expected
        _activate(stubs, digest)
        clock.now += DAY
        stubs.close()
        server.stop()


def _by_hand(data: Path, catalog_bytes: bytes, manifest: bytes | None = None) -> str:
    """A bundle nobody built: its files are whole, and what they say cannot be."""
    listed = {"catalog.json": {"sha256": hashlib.sha256(catalog_bytes).hexdigest(), "bytes": len(catalog_bytes)}}
    manifest = manifest or json.dumps({"format": 1, "version": 7, "files": listed}).encode()
    digest = hashlib.sha256(manifest).hexdigest()
    (data / "bundles" / digest).mkdir(parents=True)
    (data / "bundles" / digest / "bundle.json").write_bytes(manifest)
    (data / "bundles" / digest / "catalog.json").write_bytes(catalog_bytes)
    return digest


def _reading(artifact: Artifact, name: str) -> Artifact:
    """The same model, of another first input."""
    first, *others = artifact.inputs
    manifest = {key: value for key, value in artifact.manifest.items() if key != "files"}
    manifest["inputs"] = [name, *others]
    absent: dict[str, float] = artifact.manifest["absent_values"]
    manifest["absent_values"] = {name if key == first else key: value for key, value in absent.items()}
    return assemble(manifest, {key: content for key, content in artifact.files.items() if key != MANIFEST_FILE})


def test_a_model_of_what_the_catalog_does_not_have_never_becomes_live(
    stubs: Stubs, publish: Callable[[], str], data: Path, churn: TrainedModel
) -> None:
    good = publish()
    _activate(stubs, good)
    for device_reads, server_reads in (("nonsense", churn.server.inputs[0]), (churn.device.inputs[0], "nonsense")):
        forms = {"device": _reading(churn.device, device_reads), "server": _reading(churn.server, server_reads)}
        bad = keep_bundle(data, catalog(), {"churn": forms})
        error = _refused(lambda digest=bad: _activate(stubs, digest))
        assert (type(error), "churn" in error.message, "nonsense" in error.message) == (DefinitionError, True, True)
    assert stubs.status().bundle_digest == good


def test_a_pause_does_not_wait_for_an_activation(
    server: Server, stubs: Stubs, publish: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, begun, end = publish(), threading.Event(), threading.Event()
    real = live.self_test

    def slow(artifact: Artifact, backend: str) -> None:
        begun.set()
        assert end.wait(20)
        real(artifact, backend)

    monkeypatch.setattr(live, "self_test", slow)
    activating = threading.Thread(target=_activate, args=(stubs, digest))
    activating.start()
    try:
        assert begun.wait(20)
        assert server.parts.switch.pause(("*",)) == ("*",)
        assert server.parts.switch.live.digest == "", "it is not there yet"
    finally:
        end.set()
        activating.join(20)
    assert stubs.status().bundle_digest == digest


def test_a_hostile_catalog_never_becomes_live(stubs: Stubs, publish: Callable[[], str], data: Path) -> None:
    good = publish()
    _activate(stubs, good)
    for content in (*HOSTILE.values(), *map(unsound, UNSOUND)):
        assert type(_refused(lambda held=content: _activate(stubs, _by_hand(data, held)))) is DefinitionError
    for manifest in (b"[]", b"{}", b'{"files": [], "version": 1}', b'{"files": {}, "version": "x"}', b"[" * 200_000):
        bad = _by_hand(data, b"", manifest)
        assert type(_refused(lambda digest=bad: _activate(stubs, digest))) is ManifestError
    assert stubs.status().bundle_digest == good
    assert _activate(stubs, good).digest == good, "it goes on"
