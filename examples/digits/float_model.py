"""The same task as a float model, written as a training framework would export it: the first step with a model of one's own.

    python examples/digits/float_model.py FILE

A dense network with one hidden layer, trained by scikit-learn on the digits before the sensor changes, as an .onnx file in
FLOAT32: x [batch, 1, 8, 8] of 0 to 16, channels first as PyTorch has them, and the scores of ten classes. `kilotune quantize`
makes an INT8 model of it.
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
from data import SCALE, ZERO_POINT, digits
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.neural_network import MLPClassifier

HIDDEN, PASSES, SEED = 32, 200, 1


def trained(x: NDArray[np.float32], y: NDArray[np.int32]) -> MLPClassifier:
    """A classifier of pixels [N, 64]: so many passes over all of them."""
    classifier = MLPClassifier((HIDDEN,), random_state=SEED)
    for _ in range(PASSES):
        classifier.partial_fit(x, y, classes=np.arange(10))
    return classifier


def network(classifier: MLPClassifier) -> onnx.ModelProto:
    """Flatten, Gemm, Relu, Gemm."""
    weights = [np.asarray(w, np.float32) for w in classifier.coefs_]
    biases = [np.asarray(b, np.float32) for b in classifier.intercepts_]
    constants = {"w0": weights[0], "b0": biases[0], "w1": weights[1], "b1": biases[1]}
    nodes = [
        helper.make_node("Flatten", ["x"], ["pixels"], name="flat"),
        helper.make_node("Gemm", ["pixels", "w0", "b0"], ["sum"], name="hidden"),
        helper.make_node("Relu", ["sum"], ["features"], name="relu"),
        helper.make_node("Gemm", ["features", "w1", "b1"], ["scores"], name="classes"),
    ]
    graph = helper.make_graph(
        nodes,
        "digits_float",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", weights[1].shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main() -> None:
    rows = digits()
    x, test = ((part.x.reshape(-1, 64).astype(np.float32) - ZERO_POINT) * np.float32(SCALE) for part in (rows.base, rows.test))
    classifier = trained(x, rows.base.y)
    onnx.save(network(classifier), sys.argv[1])
    print(f"{sys.argv[1]}: float, {classifier.score(test, rows.test.y):.3f} of {len(test)} digits before the change")


if __name__ == "__main__":
    main()
