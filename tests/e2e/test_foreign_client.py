"""A client in another language talks to the real server, from the .proto files and from reflection alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2

from reflexarc.backend import Backend
from reflexarc.definitions import load_catalog
from reflexarc_cli.demo.simulated import simulated_source
from reflexarc_cli.progress import Progress
from reflexarc_cli.shoppers import ShopperWorld, event_of
from reflexarc_cli.training import train
from reflexarc_server.app import Server, start_server
from reflexarc_server.clock import SystemClock

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose models were trained on its own log of simulated shoppers."""
    data = tmp_path_factory.mktemp("server")
    catalog = simulated_source(1, 1, Progress(quiet=True)).catalog
    started = start_server(data, "127.0.0.1:0", catalog, SystemClock(), insecure=True)
    backend = Backend(started.address, insecure=True)
    events = [event_of(row) for row in ShopperWorld(1, 400, 120, 1).history()]
    for start in range(0, len(events), 1_000):
        assert {verdict for verdict, _ in backend.track(events[start : start + 1_000])} == {"stored"}
    report = train(data, catalog, None, 1, Progress(quiet=True))
    assert "auc" in report["models"]["churn"], report["models"]
    backend.activate(report["bundle"])
    backend.close()
    yield started
    started.stop()


@pytest.mark.parametrize("way", ["protos", "reflection"])
def test_grpc_js_lists_the_services_scores_a_row_and_pushes_an_event(server: Server, tmp_path: Path, way: str) -> None:
    descriptors = descriptor_pb2.FileDescriptorSet()
    descriptors.file.append(descriptor_pb2.FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb))
    reflection = tmp_path / "reflection.bin"
    reflection.write_bytes(descriptors.SerializeToString())
    finished = subprocess.run(
        ["node", "foreign_client.js", server.address, str(ROOT / "proto"), str(reflection), way],
        cwd=HERE, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    told = json.loads(finished.stdout)
    services = {f"reflexarc.v1.{name}Service" for name in ("Event", "Scoring", "Artifact", "Report", "Admin")}
    assert services | {"grpc.health.v1.Health"} <= set(told["services"])
    assert (told["first"], told["second"]) == ("VERDICT_CODE_STORED", "VERDICT_CODE_DUPLICATE")
    assert 0.0 <= told["score"] <= 1.0
    assert [entry["line"] for entry in told["confidences"]] == [0.7]
    assert told["inputs"]
    assert load_catalog(None).models["churn"].output == "predicted_churn_risk"
