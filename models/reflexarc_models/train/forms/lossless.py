"""The forest itself as ai.onnx.ml 5 `TreeEnsemble`: a third of the size, every sum the same.

Owns the re-encoding and its gate. Must never round anything: nothing here is called quantized, for nothing is. For devices with
room for it and an ONNX Runtime that knows the operator; the server's kernel and older runtimes take the other form. Source: the
ai.onnx.ml operator TreeEnsemble, version 5 (leaves in arrays of their own, no base: it is added behind).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.errors import ManifestError
from reflexarc_models.artifact import MANIFEST_FILE, MODEL_FILE, ONNX_FOREST, ONNX_TREES5, Artifact, assemble
from reflexarc_models.onnx_trees import Trees, read_trees
from reflexarc_models.scorer import ONNXRUNTIME, self_test

OPSET: Final = {"": 17, "ai.onnx.ml": 5}
GATE_ROWS: Final = 4_000


def lossless(server: Artifact) -> Artifact:
    """The same model as another artifact: its file re-encoded, everything else as it was.

    Raises ManifestError when the artifact is no onnx-forest, or when the gate finds one sum that differs.
    """
    if server.form != ONNX_FOREST:
        raise ManifestError(f"model {server.model_id} has the form {server.form}", hint=f"only {ONNX_FOREST} can be re-encoded")
    width = len(server.inputs)
    trees = read_trees(server.files[MODEL_FILE], width)
    model = encoded(trees, width)
    gate(server.files[MODEL_FILE], model, trees, width)
    manifest = {key: value for key, value in server.manifest.items() if key != "files"}
    payload = {name: content for name, content in server.files.items() if name != MANIFEST_FILE}
    sizes = {MODEL_FILE: len(model), "server": len(server.files[MODEL_FILE])}
    manifest |= {"form": ONNX_TREES5, "evidence": {**server.evidence, "bytes": sizes}}
    made = assemble(manifest, {**payload, MODEL_FILE: model})
    self_test(made, ONNXRUNTIME)
    return made


def encoded(trees: Trees, input_count: int) -> bytes:
    """The trees as an ONNX file: x float32 [N, F] in, raw float32 [N, 1] out."""
    import onnx
    from onnx import helper, numpy_helper

    count = len(trees.lefts)
    is_leaf = trees.lefts == np.arange(count)
    lone = trees.starts[:-1][is_leaf[trees.starts[:-1]]]  # a tree that is one leaf needs a split, whose sides both lead to it
    splits = np.flatnonzero(~is_leaf)
    leaf_number = np.cumsum(is_leaf) - 1
    split_number = np.cumsum(~is_leaf) - 1
    split_number[lone] = len(splits) + np.arange(len(lone))
    children = {"true": np.concatenate([trees.lefts[splits], lone]), "false": np.concatenate([trees.lefts[splits] + 1, lone])}
    attributes: dict[str, Any] = {
        "n_targets": 1,
        "aggregate_function": 1,  # SUM
        "post_transform": 0,
        "tree_roots": split_number[trees.starts[:-1]].tolist(),
        "nodes_featureids": np.concatenate([trees.inputs[splits], np.zeros(len(lone), dtype=np.int64)]).tolist(),
        "nodes_splits": numpy_helper.from_array(
            np.concatenate([trees.thresholds[splits], np.zeros(len(lone), dtype=np.float32)]).astype(np.float32)
        ),
        "nodes_modes": numpy_helper.from_array(np.zeros(len(splits) + len(lone), dtype=np.uint8)),  # BRANCH_LEQ
        "leaf_targetids": [0] * int(is_leaf.sum()),
        "leaf_weights": numpy_helper.from_array(trees.weights[is_leaf].astype(np.float32)),
    }
    for side, of_side in children.items():
        attributes[f"nodes_{side}leafs"] = is_leaf[of_side].astype(int).tolist()
        attributes[f"nodes_{side}nodeids"] = np.where(is_leaf[of_side], leaf_number[of_side], split_number[of_side]).tolist()
    graph = helper.make_graph(
        [
            helper.make_node("TreeEnsemble", ["x"], ["s"], domain="ai.onnx.ml", **attributes),
            helper.make_node("Add", ["s", "b"], ["raw"]),
        ],
        "trees",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, input_count])],
        [helper.make_tensor_value_info("raw", onnx.TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(np.array([trees.base], dtype=np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSET.items()])
    model.ir_version = 10
    model.producer_name = "reflexarc"
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def gate(one: bytes, other: bytes, trees: Trees, input_count: int) -> None:
    """Both files give the same raw values for rows beside, on and between thresholds, NaN among them. Raises ManifestError."""
    rows = _rows(trees, input_count)
    if not np.array_equal(_raw(one, rows), _raw(other, rows)):
        raise ManifestError("export gate: the re-encoded trees do not give the values of the forest they come from")


def _rows(trees: Trees, input_count: int) -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    splits = np.flatnonzero(trees.lefts != np.arange(len(trees.lefts)))
    rows = random.normal(size=(GATE_ROWS, input_count)).astype(np.float32)
    if len(splits):
        # Values of an input are near thresholds of that input, so that every depth is reached.
        for place in range(input_count):
            of_input = trees.thresholds[splits][trees.inputs[splits] == place]
            if len(of_input):
                near = random.choice(of_input, GATE_ROWS)
                toward = np.array([-np.inf, np.inf], dtype=np.float32)[random.integers(2, size=GATE_ROWS)]
                rows[:, place] = np.where(random.random(GATE_ROWS) < 0.5, near, np.nextafter(near, toward))
    rows[random.random(rows.shape) < 0.02] = np.nan
    return rows


def _raw(model: bytes, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {"x": rows})[0].reshape(-1), dtype=np.float32)
    except Exception as error:  # onnxruntime raises a dozen unrelated types; all mean the same here
        raise ManifestError(f"export gate: the file does not run: {type(error).__name__}") from error
