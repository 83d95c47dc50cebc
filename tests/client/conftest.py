"""A published bundle: what a device's tests download or find in its store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reflexarc.definitions import load_catalog
from reflexarc_models.train.rows.dataset import Dataset
from reflexarc_models.train.train import TrainedModel, TrainSpec, train_model
from reflexarc_server.distribution import write_bundle

DAY = 86_400_000
T0 = 1_700_000_000_000 // DAY * DAY


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A bundle with a churn model trained on people whose risk falls with their engagement; (digest, its folder)."""
    draw = np.random.default_rng(5)
    count = 4_000
    engagement = draw.exponential(6.0, count)
    risk = 1.0 / (1.0 + np.exp(engagement - 3.0))
    dataset = Dataset(
        inputs=("engagement_score", "usage_frequency"),
        x=np.column_stack([engagement, draw.uniform(0, 3, count)]),
        y=(draw.uniform(size=count) < risk * 0.97).astype(np.int8),
        subjects=np.array([f"known:{i}" for i in range(count)], dtype=object),
        score_time=np.sort(T0 - draw.integers(0, 90 * DAY, count)).astype(np.int64),
        recency_days=draw.uniform(0, 30, count),
        horizon_ms=30 * DAY,
        inputs_left_out=("support_tickets",),
    )
    catalog = load_catalog(None)
    model = catalog.models["churn"]
    spec = TrainSpec("churn", model.algorithm, catalog.lines("churn"), model.confidence_min, 30 * DAY, model.update_ms, seed=1)
    trained = train_model(spec, dataset)
    assert isinstance(trained, TrainedModel)
    data = tmp_path_factory.mktemp("published")
    trained.device.write(data / "work" / "device")
    trained.server.write(data / "work" / "server")
    digest = write_bundle(data, catalog, {"churn": {"device": data / "work" / "device", "server": data / "work" / "server"}})
    return digest, data / "bundles" / digest
