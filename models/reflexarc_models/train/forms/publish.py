"""Writes trained artifacts to a folder. Tables for other lines: `reflexarc_models.publish.publish_tables`."""

from __future__ import annotations

from pathlib import Path

from reflexarc_models.artifact import ONNX_FOREST, ONNX_TREES5, Artifact
from reflexarc_models.publish import publish_tables
from reflexarc_models.train.forms.lossless import lossless
from reflexarc_models.train.train import TrainedModel

__all__ = ["publish_tables", "write_artifact"]


def write_artifact(trained: TrainedModel, folder: Path, form: str) -> Artifact:
    """Write one form (the device's, as its spec declared it, `onnx-forest` for the server, `onnx-trees5` for devices with room
    for the forest itself) into `folder`, whole or not at all.

    Raises StorageError when the folder cannot be written, ManifestError when the form's gate refuses, KeyError for another.
    """
    made = {ONNX_FOREST: trained.server, trained.device.form: trained.device}
    artifact = lossless(trained.server) if form == ONNX_TREES5 else made[form]
    artifact.write(folder)
    return artifact
