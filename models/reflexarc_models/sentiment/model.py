"""One trained sentiment model: its files, checked, and what it says of a text.

Owns the manifest of such a model, the exact evaluation in integers and the calibrated probabilities made of them. It has a
manifest of its own because an artifact of the scorer answers one yes-or-no question about named numbers; this answers one
of three about a text. Must never train.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from reflexarc_core.errors import ManifestError, ScoringError, StorageError
from reflexarc_core.model import GRID
from reflexarc_models.artifact import (
    FILE_BYTES_MAX,
    MANIFEST_FILE,
    MODEL_FILE,
    PARITY_FILE,
    canonical_json,
    sha256_hex,
    write_folder,
)
from reflexarc_models.onnx_tensors import FLOAT, INT8, INT32, initializers
from reflexarc_models.sentiment.features import BUCKETS, FEATURES_VERSION, vector_of

FORMAT: Final = 1
KIND: Final = "sentiment"
CLASSES: Final = ("negative", "neutral", "positive")
ABSENT: Final = -(1 << 30)
"""The bias of a class the training table did not have: it is never said, with probability 0."""

# Names of the constants in the model file.
WEIGHTS, BIAS, STEP = "w", "b", "s"

AUTO: Final = "auto"
BUILT_IN: Final = "built-in"
ONNXRUNTIME: Final = "onnxruntime"


class Reading(NamedTuple):
    """label: the likeliest of CLASSES, the first of equals. probabilities: in the order of CLASSES, multiples of 1/GRID
    that add up to 1.
    """

    label: str
    probabilities: tuple[float, float, float]


class Sentiment:
    """A model that is called with a text. A text without a word or a mark gets the shares of the training table.

    Calls from several threads do not disturb each other. evidence: what was measured when it was trained. files: payload
    by name, the manifest among them. digest: of the manifest; equal digests mean equal models.
    """

    def __init__(self, files: Mapping[str, bytes], runtime: str = AUTO) -> None:
        """Check the files and score the texts of their parity file by the path this host will use.

        runtime: `auto` and `built-in` evaluate in plain Python, `onnxruntime` by the graph. Raises ManifestError naming
        the first thing that is off, ScoringError when the runtime is not there.
        """
        manifest = _checked(files)
        self.files = MappingProxyType(dict(files))
        self.digest = sha256_hex(files[MANIFEST_FILE])
        self.evidence: Mapping[str, Any] = MappingProxyType(dict(manifest.get("evidence") or {}))
        found = initializers(files[MODEL_FILE])
        try:
            weights, bias, step = found[WEIGHTS], found[BIAS], found[STEP]
        except KeyError as error:
            raise ManifestError(f"the model file has no constant {error}", hint="train the model again") from error
        width = len(CLASSES)
        if (
            (weights.data_type, bias.data_type, step.data_type) != (INT8, INT32, FLOAT)
            or weights.shape != (BUCKETS, width)
            or bias.shape != (width,)
            or len(step.values) != 1
            or not 0.0 < step.values[0] < 1.0
            or min(bias.values) < ABSENT
        ):
            raise ManifestError("the model file is no sentiment model of this version", hint="train the model again")
        self._columns = tuple(array("b", [int(value) for value in weights.values[place::width]]) for place in range(width))
        self._bias = tuple(int(value) for value in bias.values)
        self._step = float(step.values[0])
        self._graph = _Graph(files[MODEL_FILE]) if runtime == ONNXRUNTIME else None
        self._self_test()

    @staticmethod
    def load(folder: Path | str, runtime: str = AUTO) -> Sentiment:
        """The model in `folder`. Raises ManifestError when anything is off or missing, ScoringError as construction does."""
        place = Path(folder)
        try:
            manifest_bytes = (place / MANIFEST_FILE).read_bytes()
            files = {name: (place / name).read_bytes() for name in (MODEL_FILE, PARITY_FILE)}
        except OSError as error:
            raise ManifestError(f"sentiment model {place.name}: cannot read {error.filename}: {error.strerror}") from error
        return Sentiment({MANIFEST_FILE: manifest_bytes, **files}, runtime)

    def write(self, folder: Path) -> None:
        """Write all files into `folder` (made whole or not at all; one that is there is replaced only when it holds such a
        model). Raises StorageError.
        """
        if folder.exists() and not (folder / MANIFEST_FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise StorageError(f"{folder} holds something else", hint="name a new folder")
        write_folder(folder, self.files)

    @property
    def download_bytes(self) -> int:
        """What a host that takes this model downloads, manifest included."""
        return sum(len(content) for content in self.files.values())

    def __call__(self, text: str) -> Reading:
        """What the text says. Raises ScoringError when it is no text or the runtime fails."""
        return self.reading(self.logits(text))

    def logits(self, text: str) -> tuple[int, ...]:
        """The exact integer scores of CLASSES: equal on every host and path."""
        if not isinstance(text, str):
            raise ScoringError(f"a sentiment is read from text, not from {type(text).__name__}")
        rows, values = vector_of(text)
        if self._graph is not None:
            return self._graph.logits(rows, values)
        return tuple(
            bias + sum([column[row] * value for row, value in zip(rows, values, strict=True)])
            for column, bias in zip(self._columns, self._bias, strict=True)
        )

    def reading(self, logits: Sequence[int]) -> Reading:
        """Label and probabilities of integer scores."""
        best = max(range(len(CLASSES)), key=logits.__getitem__)
        shares = [math.exp(max(-745.0, (score - logits[best]) * self._step)) for score in logits]
        total = sum(shares)
        grids = [math.floor(share / total * GRID + 0.5) for share in shares]
        grids[best] += GRID - sum(grids)
        return Reading(CLASSES[best], (grids[0] / GRID, grids[1] / GRID, grids[2] / GRID))

    def _self_test(self) -> None:
        try:
            parity = json.loads(self.files[PARITY_FILE])
            pairs = [(str(text), tuple(int(score) for score in scores)) for text, scores in parity["texts"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ManifestError(f"{PARITY_FILE} of the sentiment model is not readable: {error!r}") from error
        if not pairs:
            raise ManifestError(f"{PARITY_FILE} of the sentiment model has no text")
        for place, (text, scores) in enumerate(pairs):
            if self.logits(text) != scores:
                raise ManifestError(
                    f"the sentiment model fails its self-test on text {place}: {self.logits(text)}, the file's is {scores}",
                    hint="it was made by another version: train it again",
                )


class _Graph:
    """The same integers by ONNX Runtime, one thread."""

    def __init__(self, model: bytes) -> None:
        try:
            import numpy
            import onnxruntime
        except ImportError as error:
            raise ScoringError("the graph needs onnxruntime", hint="pip install 'reflexarc[edge]'") from error
        self._numpy: Any = numpy
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen unrelated types; all mean the same here
            raise ManifestError(f"the sentiment model's file does not load: {type(error).__name__}") from error

    def logits(self, rows: Sequence[int], values: Sequence[int]) -> tuple[int, ...]:
        numpy = self._numpy
        given = {"rows": numpy.array(rows, numpy.int64), "values": numpy.array(values, numpy.int32)}
        try:
            found = self._session.run(["logits"], given)[0]
        except Exception as error:
            raise ScoringError(f"the runtime failed on a text: {type(error).__name__}") from error
        return tuple(int(score) for score in found)


def with_files(manifest: Mapping[str, Any], payload: Mapping[str, bytes]) -> dict[str, bytes]:
    """All files of a model: the payload and a manifest that lists it."""
    listing = {name: {"bytes": len(content), "sha256": sha256_hex(content)} for name, content in payload.items()}
    whole = {
        **manifest, "format": FORMAT, "kind": KIND, "features_version": FEATURES_VERSION, "buckets": BUCKETS,
        "classes": list(CLASSES), "files": listing,
    }  # fmt: skip
    return {MANIFEST_FILE: canonical_json(whole), **payload}


def _checked(files: Mapping[str, bytes]) -> dict[str, Any]:
    try:
        manifest = json.loads(files[MANIFEST_FILE])
        wanted = (FORMAT, KIND, FEATURES_VERSION, BUCKETS, list(CLASSES))
        if tuple(manifest.get(name) for name in ("format", "kind", "features_version", "buckets", "classes")) != wanted:
            raise ManifestError("this is no sentiment model of this version", hint="train it again, or update the software")
        listing = {name: (str(entry["sha256"]), int(entry["bytes"])) for name, entry in manifest["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(f"{MANIFEST_FILE} of the sentiment model is not readable: {error!r}") from error
    if set(listing) != {MODEL_FILE, PARITY_FILE} or set(files) != {MANIFEST_FILE, *listing}:
        raise ManifestError(f"a sentiment model is {MANIFEST_FILE}, {MODEL_FILE} and {PARITY_FILE}")
    for name, (digest, size) in listing.items():
        if size > FILE_BYTES_MAX or len(files[name]) != size or sha256_hex(files[name]) != digest:
            raise ManifestError(f"{name} is not the file the manifest names", hint="copy the model again")
    return dict(manifest)
