"""From texts with labels to a sentiment model: weights, calibration, int8, the graph and the gates before it is a file.

Multinomial logistic regression over the vectors of `reflexarc_models.sentiment.features`; its strength is chosen, and its
temperature and class biases are fitted, on rows that inner models did not see. Must never read a file or judge a model:
that is the evaluation's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from reflexarc_core.errors import DefinitionError, ManifestError
from reflexarc_models.artifact import MODEL_FILE, PARITY_FILE
from reflexarc_models.onnx_tensors import INT8, initializers
from reflexarc_models.sentiment import model as shape
from reflexarc_models.sentiment.features import BUCKETS, UNIT, vector_of
from reflexarc_models.sentiment.model import ABSENT, CLASSES, ONNXRUNTIME, Sentiment, with_files

STRENGTHS: Final = (0.15, 0.5, 1.5, 4.0)
"""Inverse penalties tried, the strongest penalty first."""
INNER_FOLDS: Final = 3
CHOICE_ROWS_MAX: Final = 8_000
"""Rows on which strength and calibration are chosen; more change nothing but the time."""
ROWS_MIN: Final = 50
CLASS_ROWS_MIN: Final = 10
GATE_TEXTS_MAX: Final = 1_000

PARITY_TEXTS: Final = (
    "",
    "   ",
    "I love it",
    "I do NOT love it at all!",
    "Not bad, but not good either...",
    "sooooo goooood :)",
    "WORST. SERVICE. EVER!!!",
    "The parcel arrived on 2024-03-01 at 10:30.",
    "Where is my order #4711??",
    "@support thanks, that helped \U0001f44d https://example.org/a?b=c",
    "It isn’t what I hoped for, however the colour is lovely",
    "don't ever buy this &amp; don't trust them :-(",
    "Das ist wirklich schön, vielen Dank!",
    "C’est nul, je suis très déçu",
    "最高です ありがとう \U0001f60d",
    "отлично, спасибо",
    "\ud800 half a pair",
    "<3 <3 :D ;-) -_- </3",
    "meh",
    "never again " * 40,
)
"""What parity files hold: texts of ours, so that none of a user's table leaves with the model."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Integer weights [BUCKETS, 3], integer biases [3] and what one unit of a score is in log odds.

    strength: the inverse penalty that was chosen. temperature: above 1 the scores were too sure. float_weights,
    float_bias: what the integers stand for, in log odds.
    """

    weights: NDArray[np.int8]
    bias: NDArray[np.int64]
    step: float
    strength: float
    temperature: float
    float_weights: NDArray[np.float64]
    float_bias: NDArray[np.float64]


def matrix_of(texts: Sequence[str]) -> csr_array:
    """The vectors of the texts, float64 [n, BUCKETS] holding whole numbers up to UNIT."""
    starts, rows, values = [0], list[int](), list[int]()
    for text in texts:
        of_text, strengths = vector_of(text)
        rows += of_text
        values += strengths
        starts.append(len(rows))
    parts = (np.array(values, np.float64), np.array(rows, np.int32), np.array(starts, np.int64))
    return csr_array(parts, shape=(len(texts), BUCKETS))


def check_labels(labels: NDArray[np.int8]) -> None:
    """Raises DefinitionError where rows or classes are too few to learn from."""
    counts = np.bincount(labels, minlength=len(CLASSES))
    if len(labels) < ROWS_MIN:
        raise DefinitionError(f"{len(labels)} labelled texts, at least {ROWS_MIN} are needed")
    if (counts >= CLASS_ROWS_MIN).sum() < 2:
        held = ", ".join(f"{count:,} {name}" for name, count in zip(CLASSES, counts, strict=True))
        raise DefinitionError(
            f"two classes with at least {CLASS_ROWS_MIN} texts are needed, the table has {held}", hint="is it the right label?"
        )


def fit(x: csr_array, labels: NDArray[np.int8], seed: int) -> Fitted:
    """Fit, calibrate and quantize. x: from `matrix_of`. labels: places in CLASSES. Raises DefinitionError without two classes
    (`check_labels` asks for more: enough of each to measure).
    """
    if len(labels) < INNER_FOLDS or labels.min() == labels.max():
        raise DefinitionError("two classes of texts are needed to learn from", hint="is it the right label?")
    random = np.random.default_rng(seed)
    some = random.permutation(len(labels))[:CHOICE_ROWS_MAX]
    inner = dealt(labels[some], np.arange(len(some)), seed, INNER_FOLDS)
    held = {strength: np.zeros((len(some), len(CLASSES))) for strength in STRENGTHS}
    for fold in range(INNER_FOLDS):
        train, test = some[inner != fold], some[inner == fold]
        for strength, (weights, bias) in _path(x[train], labels[train], STRENGTHS).items():
            held[strength][inner == fold] = x[test] @ weights / UNIT + bias
    calibrations = {strength: _calibration(scores, labels[some]) for strength, scores in held.items()}
    strength = min(STRENGTHS, key=lambda one: calibrations[one][2])
    temperature, shift, _ = calibrations[strength]
    weights, bias = _path(x, labels, (strength,))[strength]
    return _quantized(weights / temperature / UNIT, bias / temperature + shift, strength, temperature)


def predict(fitted: Fitted, x: csr_array) -> NDArray[np.int64]:
    """Integer scores [n, 3], the very ones a host computes."""
    return np.asarray(np.rint(x @ fitted.weights.astype(np.float64)), np.int64) + fitted.bias


def build(texts: Sequence[str], fitted: Fitted, evidence: dict[str, Any]) -> Sentiment:
    """The model, gated: the graph must give the built-in integers on texts of the table. Raises ManifestError."""
    onnx = export(fitted)
    bare = Sentiment(with_files({"evidence": {}}, {MODEL_FILE: onnx, PARITY_FILE: _parity([("", fitted.bias.tolist())])}))
    parity = _parity([(text, list(bare.logits(text))) for text in PARITY_TEXTS])
    files = with_files({"evidence": evidence}, {MODEL_FILE: onnx, PARITY_FILE: parity})
    built, by_graph = Sentiment(files), Sentiment(files, ONNXRUNTIME)
    step = max(1, len(texts) // GATE_TEXTS_MAX)
    wrong = sum(built.logits(text) != by_graph.logits(text) for text in texts[::step])
    if wrong:
        raise ManifestError(f"parity gate: {wrong} texts are scored otherwise by the graph than by the built-in evaluation")
    return built


def export(fitted: Fitted) -> bytes:
    """The model as ONNX from standard operators: rows int64 [k] and values int32 [k] of one text in, logits int32 [3] and
    probabilities float [3] out. Raises ManifestError when the weights are not stored as int8.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        shape.WEIGHTS: fitted.weights,
        shape.BIAS: fitted.bias.astype(np.int32),
        shape.STEP: np.array([fitted.step], np.float32),
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", [shape.WEIGHTS, "rows"], ["picked"], axis=0),
        helper.make_node("Cast", ["picked"], ["wide"], to=TensorProto.INT32),
        helper.make_node("Unsqueeze", ["values", "second"], ["column"]),
        helper.make_node("Mul", ["wide", "column"], ["shares"]),
        helper.make_node("ReduceSum", ["shares", "first"], ["sums"], keepdims=0),
        helper.make_node("Add", ["sums", shape.BIAS], ["logits"]),
        helper.make_node("Cast", ["logits"], ["scores"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["scores", shape.STEP], ["odds"]),
        helper.make_node("Softmax", ["odds"], ["probabilities"], axis=0),
    ]
    graph = helper.make_graph(
        nodes,
        "sentiment",
        [
            helper.make_tensor_value_info("rows", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("values", TensorProto.INT32, [None]),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.INT32, [len(CLASSES)]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [len(CLASSES)]),
        ],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    if initializers(content)[shape.WEIGHTS].data_type != INT8:
        raise ManifestError("quantization gate: the weights are not stored as int8")
    return content


def dealt(labels: NDArray[np.int8], keys: NDArray[Any], seed: int, count: int) -> NDArray[np.int64]:
    """A fold 0..count-1 for each row: rows of one key together, the classes spread evenly. Drawn by the seed."""
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(first))
    order = order[np.argsort(labels[first][order], kind="stable")]
    fold_of_group = np.empty(len(first), np.int64)
    fold_of_group[order] = np.arange(len(first)) % count
    return np.asarray(fold_of_group[group.reshape(-1)])


def _path(
    x: csr_array, labels: NDArray[np.int8], strengths: Sequence[float]
) -> dict[float, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """(weights, biases) over all classes for each strength, each fit starting where the one before ended.

    A class without rows gets weights of 0 and the bias ABSENT.
    """
    from sklearn.linear_model import LogisticRegression

    columns = np.unique(x.indices)
    kept = x[:, columns] / UNIT
    present = np.unique(labels)
    found = {}
    model = LogisticRegression(warm_start=True, max_iter=200, tol=1e-3)
    for strength in strengths:
        # The vectors are sparse: threads of a linear algebra library would only wait for each other.
        with threadpool_limits(1):
            model.set_params(C=strength).fit(kept, labels)
        coefficients, intercepts = model.coef_, model.intercept_
        if len(present) == 2:  # one row of log odds stands for two classes
            coefficients = np.vstack([-coefficients / 2, coefficients / 2])
            intercepts = np.concatenate([-intercepts / 2, intercepts / 2])
        weights, bias = np.zeros((BUCKETS, len(CLASSES))), np.full(len(CLASSES), float(ABSENT))
        weights[np.ix_(columns, present)] = coefficients.T
        bias[present] = intercepts
        found[strength] = (weights, bias)
    return found


def _calibration(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> tuple[float, NDArray[np.float64], float]:
    """(temperature, shift per class, log loss) that fit held-out scores best.

    Bias-corrected temperature scaling: Alexandari, Kundaje and Shrikumar (2020), "Maximum likelihood with bias-corrected
    calibration is hard-to-beat at label shift adaptation". The shifts are drawn towards 0 as by one row.
    """
    known = np.clip(scores, -50.0, 50.0)
    rows = np.arange(len(labels))

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope = np.exp(-parameters[0])
        z = known * slope + parameters[1:]
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z)
        p /= p.sum(axis=1, keepdims=True)
        gap = p.copy()
        gap[rows, labels] -= 1.0
        value = -np.log(np.maximum(p[rows, labels], 1e-300)).mean() + (parameters[1:] ** 2).sum() / len(labels)
        gradient = np.concatenate([[-(gap * known).sum() * slope], gap.sum(axis=0)]) / len(labels)
        gradient[1:] += 2 * parameters[1:] / len(labels)
        return float(value), gradient

    bounds = [(-2.0, 3.0)] + [(-4.0, 4.0)] * len(CLASSES)
    with threadpool_limits(1):
        found = minimize(loss, np.zeros(1 + len(CLASSES)), jac=True, method="L-BFGS-B", bounds=bounds)
    return float(np.exp(found.x[0])), np.asarray(found.x[1:] - found.x[1:].mean()), float(found.fun)


def _quantized(weights: NDArray[np.float64], bias: NDArray[np.float64], strength: float, temperature: float) -> Fitted:
    """The nearest int8 weights at one step for all. weights: log odds for one unit of a vector's value."""
    present = bias > ABSENT / 2
    centred = weights - weights[:, present].mean(axis=1, keepdims=True) * present
    step = float(np.float32(max(float(np.abs(centred).max()), 1e-9) / 127.0))
    whole = np.clip(np.rint(centred / step), -127, 127).astype(np.int8)
    shown = np.where(present, np.rint(np.clip(bias, -60.0, 60.0) / step), ABSENT)
    return Fitted(whole, shown.astype(np.int64), step, strength, temperature, centred, np.where(present, bias, ABSENT))


def _parity(pairs: Sequence[tuple[str, list[int]]]) -> bytes:
    """Half a surrogate pair cannot be UTF-8: the texts are written in ASCII escapes."""
    return json.dumps({"texts": pairs}, separators=(",", ":")).encode()
