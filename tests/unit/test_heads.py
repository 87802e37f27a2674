"""What a model ends in, which logits a loss finds there, and what it says where it finds none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradients.graphs import Maker

from kiloc.errors import CompileError
from kiloc.heads import Head, head_of
from kiloc.ir.graph import Graph
from kiloc.ir.operator import Op
from kiloc.losses import BinaryCrossEntropy, CrossEntropy, Huber, Loss, MeanSquaredError, SoftCrossEntropy, as_loss
from kiloc.ops.model.concatenate import Concatenate
from kiloc.ops.model.logistic import Logistic
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.requantize import Requantize
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax
from kiloc.ops.model.transpose import Transpose


def ending(*ops: tuple[Op, tuple[int, ...]]) -> Graph:
    """A layer of six values, and what comes after it."""
    m = Maker("model", (1, 4), 1)
    y = m.dense("input", "logits", 6)
    for i, (op, shape) in enumerate(ops):
        probabilities = isinstance(op, Softmax | Logistic)
        y = m.op(y, f"after{i}", op, shape, 1 / 256 if probabilities else None, -128 if probabilities else None)
    return m.finish(y)


ROW = (1, 6)
ENDS: dict[str, tuple[tuple[tuple[Op, tuple[int, ...]], ...], Head]] = {
    "logits": ((), Head("", "logits")),
    "logits, reshaped": (((Reshape((1, 3, 2)), (1, 3, 2)),), Head("", "after0")),
    "softmax": (((Softmax(), ROW),), Head("softmax", "logits")),
    "softmax, reshaped": (((Softmax(), ROW), (Reshape((1, 1, 6)), (1, 1, 6))), Head("softmax", "logits")),
    "softmax in another scale": (((Softmax(), ROW), (Requantize(), ROW)), Head("softmax", "logits")),
    "softmax, turned": (((Softmax(), ROW), (Transpose((0, 1)), ROW)), Head("softmax", "logits")),
    "logistic": (((Logistic(), ROW),), Head("logistic", "logits")),
    "logistic of a reshape, in another scale": (((Reshape((1, 6, 1)), (1, 6, 1)), (Logistic(), (1, 6, 1)), (Requantize(), (1, 6, 1))),
                                                Head("logistic", "after0")),
    "softmax of rows": (((Reshape((1, 2, 3)), (1, 2, 3)), (Softmax(), (1, 2, 3)), (Reshape(ROW), ROW)), Head("softmax", "after0", 2)),
    "softmax of rows, turned": (((Reshape((1, 2, 3)), (1, 2, 3)), (Softmax(), (1, 2, 3)), (Transpose((0, 2, 1)), (1, 3, 2))),
                                Head("", "after2", beside=("softmax",), behind="transpose")),
    "mean of softmaxes": (((Reshape((1, 2, 3)), (1, 2, 3)), (Softmax(), (1, 2, 3)), (Mean((1,)), (1, 3))),
                          Head("", "after2", beside=("softmax",), behind="mean")),
    "softmax, cut off": (((Softmax(), ROW), (Requantize("relu6"), ROW)), Head("", "after1", beside=("softmax",), behind="requantize")),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_the_head_is_found(name: str) -> None:
    ops, expected = ENDS[name]
    graph = ending(*ops)
    assert head_of(graph, graph.outputs[0]) == expected


def several_heads() -> Graph:
    m = Maker("model", (1, 4), 1)
    left = m.op(m.dense("input", "left", 6), "one", Softmax(), ROW, 1 / 256, -128)
    right = m.op(m.dense("input", "right", 6), "two", Logistic(), ROW, 1 / 256, -128)
    return m.finish(m.op(left, "both", Concatenate(1), (1, 12), 1 / 256, -128, x1=right))


def test_several_heads_in_one_result() -> None:
    graph = several_heads()
    assert head_of(graph, graph.outputs[0]) == Head("", "both", beside=("logistic", "softmax"), behind="concatenate")
    m = Maker("model", (1, 4), 1)
    left, right = m.dense("input", "left", 6), m.dense("input", "right", 6)
    joined = m.finish(m.op(left, "both", Concatenate(1), (1, 12), x1=right))
    assert head_of(joined, joined.outputs[0]) == Head("", "both"), "logits beside each other are logits"


@pytest.mark.parametrize("loss", [CrossEntropy(), SoftCrossEntropy()])
@pytest.mark.parametrize("name", ["logits", "logits, reshaped", "softmax", "softmax, reshaped", "softmax in another scale", "softmax, turned"])
def test_losses_of_classes_read_the_logits(name: str, loss: Loss) -> None:
    ops, expected = ENDS[name]
    assert loss.attach(ending(*ops)).inputs["y"] == expected.logits


@pytest.mark.parametrize("name", ["logits", "logits, reshaped", "logistic", "logistic of a reshape, in another scale"])
def test_binary_cross_entropy_reads_the_logits(name: str) -> None:
    ops, expected = ENDS[name]
    attached = BinaryCrossEntropy().attach(graph := ending(*ops))
    assert attached.inputs["y"] == expected.logits and attached.target is not None
    assert attached.target.type.shape == graph.type(expected.logits).shape


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("loss", [MeanSquaredError(), Huber()], ids=Loss.describe)
def test_values_are_compared_as_they_leave_the_model(name: str, loss: Loss) -> None:
    graph = ending(*ENDS[name][0])
    assert loss.attach(graph).inputs["y"] == graph.outputs[0]


REFUSED: dict[str, tuple[Callable[[], Graph], str, str, str]] = {
    "a logistic function": (lambda: ending(*ENDS["logistic"][0]), "cross_entropy", "a yes or no of its own", 'loss="bce"'),
    "a logistic function of distributions": (lambda: ending(*ENDS["logistic"][0]), "soft_cross_entropy", "a yes or no of its own", "bce"),
    "rows": (lambda: ending(*ENDS["softmax of rows"][0]), "cross_entropy", "one for each of 2 rows of 3 values", "mse"),
    "turned rows": (lambda: ending(*ENDS["softmax of rows, turned"][0]), "soft_cross_entropy", "TRANSPOSE of what a softmax has made", "mse"),
    "a mean": (lambda: ending(*ENDS["mean of softmaxes"][0]), "cross_entropy", "MEAN of what a softmax has made", "logits as result"),
    "several heads": (several_heads, "cross_entropy", "CONCATENATE of what a logistic and softmax has made", "mse"),
    "several heads of bits": (several_heads, "bce", "binary cross-entropy reads logits", "logits as result"),
    "a softmax of bits": (lambda: ending(*ENDS["softmax in another scale"][0]), "bce", "ends in a softmax", "cross_entropy"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_loss_says_why_it_finds_no_logits(name: str) -> None:
    make, loss, what, hint = REFUSED[name]
    with pytest.raises(CompileError) as caught:
        as_loss(loss).attach(make())
    assert what in caught.value.what and hint in caught.value.hint


OPTIONS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "smoothing": (lambda: BinaryCrossEntropy(label_smoothing=1.0), "BinaryCrossEntropy(label_smoothing=...)", "not a number in [0, 1)"),
    "smoothing of distributions": (lambda: SoftCrossEntropy(label_smoothing=-1), "SoftCrossEntropy(label_smoothing=...)", "[0, 1)"),
    "weights": (lambda: SoftCrossEntropy(class_weights=[1, -1]), "SoftCrossEntropy(class_weights=...)", "positive numbers"),
    "a weight of nothing": (lambda: BinaryCrossEntropy(positive_weights=0), "BinaryCrossEntropy(positive_weights=...)", "positive numbers"),
    "weights in words": (lambda: BinaryCrossEntropy(positive_weights="two"), "BinaryCrossEntropy(positive_weights=...)", "numbers"),  # type: ignore[arg-type]
    "weights of other classes": (lambda: SoftCrossEntropy(class_weights=[1, 2]).attach(ending()), "SoftCrossEntropy(class_weights=...)", "6 classes"),
    "weights of other results": (
        lambda: BinaryCrossEntropy(positive_weights=[1, 2]).attach(ending()), "BinaryCrossEntropy(positive_weights=...)", "6 results",
    ),
    "no delta": (lambda: Huber(delta=0), "Huber(delta=...)", "not a positive number"),
    "an endless delta": (lambda: Huber(delta=float("inf")), "Huber(delta=...)", "not a positive number"),
    "a delta in words": (lambda: Huber(delta="one"), "Huber(delta=...)", "'one'"),  # type: ignore[arg-type]
    "a tiny delta": (lambda: Huber(delta=1e-6).attach(ending()), "Huber(delta=1e-06)", "no gradient that int8 can hold"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_losses_that_are_refused(name: str) -> None:
    make, where, what = OPTIONS[name]
    with pytest.raises(CompileError) as caught:
        make()
    assert caught.value.where == where and what in caught.value.what


def test_one_weight_is_for_all_results() -> None:
    attached = BinaryCrossEntropy(positive_weights=3).attach(ending())
    assert attached.operator == BinaryCrossEntropy(positive_weights=[3.0] * 6).attach(ending()).operator


HALVES = np.full((2, 6), 1 / 6, np.float32)
TARGETS: dict[str, tuple[Any, str]] = {
    "a sum of two": (HALVES * 2, "hold 2 in all for sample 0"),
    "a second one that misses": (np.concatenate([HALVES[:1], HALVES[:1] * 0.99]), "hold 0.99 in all for sample 1"),
    "below zero": (HALVES - 1, "numbers from 0 to 1"),
    "nan": (np.full((2, 6), np.nan), "finite"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_calibration_targets_that_are_no_distributions(name: str) -> None:
    given, what = TARGETS[name]
    with pytest.raises(CompileError, match="calibration targets") as caught:
        SoftCrossEntropy().targets(ending().type("logits"), given, 2)
    assert what in caught.value.what


def test_random_targets_are_taken_by_their_own_loss() -> None:
    t = ending().type("logits")
    for loss in (SoftCrossEntropy(), BinaryCrossEntropy(), Huber()):
        drawn = loss.targets(t, None, 32)
        assert drawn is not None and drawn.shape == (32, 6) and drawn.dtype == np.float32 and not loss.problem(drawn)
