"""The conventional student: a small network, statically quantized, that imitates the heavy model's log-odds.

Owns its fit and its graph. Weights, inputs and what passes between the layers are int8 or uint8 (ONNX Runtime's static
quantization writes them as pairs of QuantizeLinear and DequantizeLinear), the output too: it takes 256 values, and a code is
one of them, so what a runtime rounds on the way cannot move a code over the edge of a bin. Needs ONNX Runtime.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.errors import ManifestError
from reflexarc_models.train.fit.threads import one_thread

CODE_COUNT: Final = 256
HIDDEN: Final = (48, 24)
EPOCHS_MAX: Final = 60
BATCH_ROWS: Final = 500
LEARNING_RATE: Final = 0.003
LOGIT_MAX: Final = 5.0
INPUT_MAX: Final = 4.0
"""Scaled inputs are cut off here: a long tail would leave the middle, where people are, few of the 256 steps."""
SHOWN_ROWS: Final = 2_000
"""Rows by which the ranges of the layers are chosen."""
BYTE_KINDS: Final = frozenset({"INT8", "UINT8"})


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """middle, spread: of each input, [F]. weights, biases: of each layer, [in, out] and [out]."""

    middle: NDArray[np.float32]
    spread: NDArray[np.float32]
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]


def fit_network(x: NDArray[np.float64], logits: NDArray[np.float64], seed: int) -> Network:
    """Least squares on the log-odds, cut off at LOGIT_MAX. x: float64 [n, F] without NaN. Deterministic on one machine."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    middle = np.median(x, axis=0)
    low, high = np.quantile(x, (0.05, 0.95), axis=0)
    wide = np.where(high > low, (high - low) / 3.3, np.maximum(x.std(axis=0), 1e-6))  # of a bell, about one deviation
    scaled = np.clip((x - middle) / wide, -INPUT_MAX, INPUT_MAX)
    fitted = MLPRegressor(
        hidden_layer_sizes=HIDDEN, batch_size=BATCH_ROWS, learning_rate_init=LEARNING_RATE, max_iter=EPOCHS_MAX,
        n_iter_no_change=6, tol=1e-5, random_state=seed,
    )  # fmt: skip
    with one_thread(), warnings.catch_warnings():  # matrices this small gain nothing by more, and sums keep their order
        warnings.simplefilter("ignore", ConvergenceWarning)  # EPOCHS_MAX is the budget
        fitted.fit(scaled, np.clip(logits, -LOGIT_MAX, LOGIT_MAX))
    return Network(
        middle.astype(np.float32),
        wide.astype(np.float32),
        tuple(np.asarray(layer, dtype=np.float32) for layer in fitted.coefs_),
        tuple(np.asarray(layer, dtype=np.float32) for layer in fitted.intercepts_),
    )


def export_network(network: Network, x: NDArray[np.float64]) -> tuple[bytes, dict[str, float]]:
    """(ONNX file: x float32 [N, F] in, raw float32 [N, 1] out; where its bins begin, and bins per unit of raw).

    x: rows by which the ranges are chosen. Raises ManifestError when a layer is not stored in bytes (nothing is called quantized
    that is not), or when the quantizer fails.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    shown = x[:: max(1, len(x) // SHOWN_ROWS)].astype(np.float32)

    class Rows(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            self._rows: Iterator[NDArray[np.float32]] = iter(np.array_split(shown, 8))

        def get_next(self) -> dict[str, Any] | None:
            rows = next(self._rows, None)
            return None if rows is None else {"x": rows}

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises a preprocessing that a graph of three layers has no use for
    try:
        with tempfile.TemporaryDirectory(prefix="reflexarc-network-") as folder:
            whole, small = Path(folder) / "whole.onnx", Path(folder) / "small.onnx"
            whole.write_bytes(_graph(network))
            quantize_static(
                whole, small, Rows(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                op_types_to_quantize=["Gemm"],
            )  # fmt: skip
            model = onnx.load(small)
    except Exception as error:  # the quantizer raises a dozen unrelated types; all mean the same here
        raise ManifestError(f"quantization gate: the network cannot be quantized: {type(error).__name__}") from error
    finally:
        root.setLevel(level)
    return _finished(model, len(network.weights))


def _graph(network: Network) -> bytes:
    """The network in float32."""
    import onnx
    from onnx import helper, numpy_helper

    constants: dict[str, Any] = {
        "m": network.middle, "s": 1.0 / network.spread, "lo": np.float32(-INPUT_MAX), "hi": np.float32(INPUT_MAX),
    }  # fmt: skip
    nodes = [
        helper.make_node("Sub", ["x", "m"], ["c"]),
        helper.make_node("Mul", ["c", "s"], ["d"]),
        helper.make_node("Clip", ["d", "lo", "hi"], ["h0"]),
    ]
    last = len(network.weights) - 1
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        constants |= {f"w{layer}": weight, f"b{layer}": bias}
        out = "raw" if layer == last else f"g{layer}"
        nodes.append(helper.make_node("Gemm", [f"h{layer}", f"w{layer}", f"b{layer}"], [out]))
        if layer != last:
            nodes.append(helper.make_node("Relu", [out], [f"h{layer + 1}"]))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, len(network.middle)])],
        [helper.make_tensor_value_info("raw", onnx.TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(np.asarray(value, dtype=np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _finished(model: Any, layer_count: int) -> tuple[bytes, dict[str, float]]:
    """The quantized file as it is published, and its bins: one for each value of the output."""
    import onnx
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    kinds = [
        onnx.TensorProto.DataType.Name(tensor.data_type)
        for name, tensor in tensors.items()
        if name.startswith("w") and name.endswith("_quantized")
    ]
    of_output = [node for node in model.graph.node if node.op_type == "DequantizeLinear" and "raw" in node.output]
    if len(kinds) != layer_count or not BYTE_KINDS.issuperset(kinds) or len(of_output) != 1:
        raise ManifestError("quantization gate: a layer or the output of the network is not stored in bytes")
    _, scale, zero = of_output[0].input
    step = float(numpy_helper.to_array(tensors[scale]).reshape(-1)[0])
    lowest = -float(numpy_helper.to_array(tensors[zero]).reshape(-1)[0]) * step
    model.producer_name = "reflexarc"
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content, {"low": lowest - step / 2, "scale": 1.0 / step}
