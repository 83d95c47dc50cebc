"""A running server per test, and one trained pair of artifacts for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from reflexarc_models.train.rows.dataset import Dataset
from reflexarc_models.train.train import TrainedModel, TrainSpec, train_model
from reflexarc_server.app import Server, start_server
from tests.server.kit import ManualClock, Stubs, catalog

DAY = 86_400_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "server"


@pytest.fixture
def server(data: Path, clock: ManualClock) -> Iterator[Server]:
    started = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    yield started
    started.stop()


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[[str], Stubs]]:
    """Stubs as any installation."""
    opened: list[Stubs] = []

    def one(installation: str) -> Stubs:
        opened.append(Stubs(server.address, installation))
        return opened[-1]

    yield one
    for stubs in opened:
        stubs.close()


@pytest.fixture
def stubs(connect: Callable[[str], Stubs]) -> Stubs:
    return connect("device-1")


@pytest.fixture(scope="session")
def churn() -> TrainedModel:
    """A churn model over people whose engagement keeps them."""
    draw = np.random.default_rng(3)
    n = 2_000
    engagement = draw.exponential(6, n)
    usage = draw.poisson(3, n).astype(float)
    tickets = draw.poisson(0.5, n).astype(float)
    left = (draw.random(n) < 1 / (1 + np.exp(-(1.5 - 0.4 * engagement - 0.2 * usage + tickets)))).astype(np.int8)
    rows = Dataset(
        ("engagement_score", "usage_frequency", "support_tickets"), np.column_stack([engagement, usage, tickets]), left,
        np.array([f"known:{i}" for i in range(n)]), (draw.integers(0, 200, n) * DAY + 1_600_000_000_000).astype(np.int64),
        draw.exponential(5, n), 30 * DAY, (),
    )  # fmt: skip
    spec = TrainSpec(
        model_id="churn", algorithm="random_forest", lines=(0.7,), confidence_min=0.8, horizon_ms=30 * DAY,
        update_interval_ms=7 * DAY,
    )  # fmt: skip
    trained = train_model(spec, rows)
    assert isinstance(trained, TrainedModel)
    return trained
