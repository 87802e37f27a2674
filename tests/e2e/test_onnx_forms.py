"""Every form that onnxruntime's static quantiser writes of a few small models, against onnxruntime.

What is claimed: an operator that is given onnxruntime's integers gives its integers to within one step, because the graph rounds a
fixed-point product where onnxruntime rounds a float32 one, and ties of a mean away from zero where it rounds them to even. How far
a whole model may be off follows from that: a step of a layer's input is scale * weight / scale steps of its result, and behind a
softmax n steps of scale s are at most n * s / 4 * 256. An LSTM or a GRU rounds its weights and its state, of which onnxruntime does
neither: there it is two steps.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_forms
import pytest
from onnx_forms import FORMS, MODELS, OPSETS, distances, exists, quantized, saturates, steps_of_pieces

from kiloc.errors import CompileError, ModelError
from kiloc.export import onnx as writer
from kiloc.frontend import onnx as frontend
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.verify import verify
from kiloc.ops.model.gru import Gru
from kiloc.ops.model.lstm import Lstm
from kiloc.ops.model.pad_axes import PadAxes
from kiloc.passes.simplify import simplify

STEPS = {
    "dense": 1, "convolution": 10, "normalization": 3, "reshaped": 1, "signal": 1, "gates": 2, "branches": 2, "upsampled": 13, "attention": 2,
    "joined": 2, "normalized_rows": 2, "long_memory": 2, "gated_unit": 2,
}  # fmt: skip
"""Bound of the whole model. `convolution` ends in a softmax of logits with steps of up to 0.08; `normalization` has a pool whose ties are
a step apart in front of factors of up to 2; `upsampled` averages an image that was resized, where one of four elements is a tie."""
OF_ONE_OPERATOR = {"long_memory": 2, "gated_unit": 2}
PIECES_OF = (11, 21)
"""Opsets whose files are cut into operators; whole models are compared in all of them."""


def load(data: bytes) -> Graph:
    return simplify(verify(frontend.load(data, "m", "m.onnx")))


def refusal(name: str, form: str) -> str:
    """Why a form is refused; empty where it is not."""
    if form == "qdq_asymmetric_weights" and name in ("convolution", "signal", "branches", "upsampled"):  # which have depthwise layers
        return "around their zero point, which does not fit int8"
    if name == "normalization" and form.startswith("qoperator"):
        return "without QuantizeLinear"  # the format has no BatchNormalization: what follows one stays in float
    return "float32, not quantised" if name == "upsampled" and form.startswith("qoperator") else ""  # nor ConvTranspose


TAKEN = [(name, form) for name in MODELS for form in FORMS if not refusal(name, form)]


def needs_whole_sums(form: str) -> None:
    if form == "qoperator_uint8" and saturates():
        pytest.skip("onnxruntime saturates sums of uint8 and int8 on this processor, which has no VNNI")


@pytest.mark.parametrize(("name", "form"), TAKEN)
def test_every_opset_is_near_onnxruntime(name: str, form: str) -> None:
    needs_whole_sums(form)
    for opset in OPSETS:
        if exists(name, form, opset):
            assert distances(quantized(name, form, opset), MODELS[name].sample).max() <= STEPS[name], opset


@pytest.mark.parametrize(("name", "form"), TAKEN)
def test_every_operator_is_within_a_step(name: str, form: str) -> None:
    needs_whole_sums(form)
    for opset in PIECES_OF:
        if exists(name, form, opset):
            found = steps_of_pieces(quantized(name, form, opset), MODELS[name].sample)
            assert max(found.values()) <= OF_ONE_OPERATOR.get(name, 1), {n: s for n, s in found.items() if s > 1}


@pytest.mark.parametrize(("name", "form"), [(name, form) for name in MODELS for form in FORMS if refusal(name, form)])
def test_what_is_refused_says_why(name: str, form: str) -> None:
    with pytest.raises(ModelError, match=refusal(name, form)) as caught:
        load(quantized(name, form, max(13, MODELS[name].since)))
    assert all(reason.hint for reason in caught.value.reasons)


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_transposed_behind_the_first_layer(name: str) -> None:
    """Channels first in the file: the input is transposed once, and weights behind a flatten move instead of what they multiply."""
    for form in ("qdq", "qoperator"):
        if not refusal(name, form):
            kinds = [n.op.mnemonic for n in load(quantized(name, form, max(13, MODELS[name].since))).nodes]
            assert name in ("attention", "normalized_rows") or "transpose" not in kinds[1:], kinds


def test_uint8_is_int8_that_is_shifted() -> None:
    """The same scales with activations 128 higher give the same graph, constants included."""
    for name in ("dense", "reshaped"):
        signed, unsigned = load(quantized(name, "qdq", 13)), load(quantized(name, "qdq_uint8", 13))
        assert [n.op for n in signed.nodes] == [n.op for n in unsigned.nodes]
        assert [v.type for v in signed.values.values()] == [v.type for v in unsigned.values.values()]


def test_the_script_writes_what_it_tells(tmp_path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("sys.argv", ["onnx_forms.py", str(tmp_path), "--model", "dense", "--form", "qoperator", "--opset", "13"])
    assert onnx_forms.main() == 0
    assert "1 in one operator" in capsys.readouterr().out
    onnx.checker.check_model(onnx.load(tmp_path / "dense.qoperator.13.onnx"))


@pytest.mark.parametrize(("name", "form"), [(n, f) for n, f in TAKEN if f in ("qdq_per_channel", "qoperator")])
def test_what_was_read_is_written(name: str, form: str) -> None:
    """The file that the writer makes is read as the same integers."""
    graph = load(quantized(name, form, max(13, MODELS[name].since)))
    if any((isinstance(n.op, PadAxes) and any(n.op.between)) or isinstance(n.op, Lstm | Gru) for n in graph.nodes):
        with pytest.raises(CompileError, match=r"values between two of its input|no scales? in \.onnx files"):
            writer.write(graph)
        return
    again = load(writer.write(graph))
    x = np.random.default_rng(5).integers(-128, 128, (20, *graph.type(graph.inputs[0]).shape[1:])).astype(np.int8)
    assert np.array_equal(interp.infer(again, x)[0], interp.infer(graph, x)[0])
