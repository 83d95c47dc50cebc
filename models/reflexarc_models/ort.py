"""ONNX Runtime behind the one question asked of it: the codes of these rows.

Owns sessions, buffers and the mapping of onnxruntime's exceptions into ours. numpy and onnxruntime are
imported by the first construction, never with the module.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

from reflexarc_core.errors import ManifestError, ScoringError
from reflexarc_models.artifact import MODEL_FILE, OBLIVIOUS_INT8, Artifact


class OnnxRunner:
    """Codes of one artifact by ONNX Runtime, one thread. Vectors hold no NaN.

    An oblivious student's graph gives the code itself. A forest's graph gives a raw value that is a sum of dyadic
    fractions small enough to be exact in float32, so the order of summation cannot change it; a network's gives one
    of 256. The manifest bins them.
    """

    def __init__(self, artifact: Artifact) -> None:
        """Raises ScoringError without onnxruntime, ManifestError when the model file does not load or fit."""
        try:
            import numpy
            import onnxruntime
        except ImportError as error:
            raise ScoringError(f"model {artifact.model_id} needs onnxruntime", hint="pip install 'reflexarc[edge]'") from error
        self._numpy: Any = numpy
        self._is_code = artifact.form == OBLIVIOUS_INT8
        self._low, self._scale, self._top = artifact.raw_low, artifact.raw_scale, artifact.code_count - 1
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                artifact.files[MODEL_FILE], options, providers=["CPUExecutionProvider"]
            )
            self._name = self._session.get_inputs()[0].name
            self._input = numpy.zeros((1, len(artifact.inputs)), dtype=numpy.float32)
            self._cells = self._input[0]
            self._binding = self._session.io_binding()
            self._binding.bind_input(self._name, "cpu", 0, numpy.float32, self._input.shape, self._input.ctypes.data)
            output = self._session.get_outputs()[0]
            shape = (1,) if self._is_code else (1, 1)
            kind = numpy.int32 if self._is_code else numpy.float32
            self._output: Any = numpy.zeros(shape, dtype=kind)
            self._binding.bind_output(output.name, "cpu", 0, kind, shape, self._output.ctypes.data)
            self._result = self._output.reshape(-1)
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # onnxruntime raises a dozen unrelated types; all mean the same here
            raise ManifestError(f"the model file of {artifact.model_id} does not load: {type(error).__name__}") from error
        self._lock = threading.Lock()

    def code(self, vector: Sequence[float]) -> int:
        """The code of one vector. Raises ScoringError when the runtime fails."""
        with self._lock:  # one input buffer, written in place
            try:
                self._cells[:] = vector
                self._session.run_with_iobinding(self._binding)
                raw = self._result.item(0)
            except Exception as error:
                raise ScoringError(f"the runtime failed on a vector: {type(error).__name__}") from error
        if self._is_code:
            return int(raw)
        code: int = math.floor((raw - self._low) * self._scale)
        return max(0, min(self._top, code))

    def codes(self, rows: Sequence[Sequence[float]] | Any) -> list[int]:
        """The codes of many vectors (or of the rows of an array) in one run. Raises ScoringError when the
        runtime fails.
        """
        numpy = self._numpy
        if not len(rows):
            return []
        try:
            raw = self._session.run(None, {self._name: numpy.asarray(rows, dtype=numpy.float32)})[0].reshape(-1)
        except Exception as error:
            raise ScoringError(f"the runtime failed on {len(rows)} rows: {type(error).__name__}") from error
        if self._is_code:
            return [int(code) for code in raw]
        binned = numpy.floor((raw.astype(numpy.float64) - self._low) * self._scale)
        return [int(code) for code in numpy.clip(binned, 0, self._top)]
