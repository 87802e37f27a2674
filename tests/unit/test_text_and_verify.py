"""The text form parses back to an equal graph, and the verifier refuses every kind of planted fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from kiloc.cores import TARGETS
from kiloc.errors import CompileError
from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph, Node, Value
from kiloc.ir.text import parse_graph, print_graph
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window
from kiloc.ops.model.add import Add
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.requantize import Requantize
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax
from kiloc.ops.model.transpose import Transpose
from kiloc.optim import SGD
from kiloc.options import Options
from kiloc.peft import BiasOnly, Head, LoRA, Method
from kiloc.pipeline import Compilation, compile_graph

SCALE = 0.05000000074505806


@cache
def model() -> Graph:
    """Forks, a sum, views and per-channel scales, with origins and notes that need quoting."""
    rng = np.random.default_rng(4)
    b = GraphBuilder("small", 'a "quoted" data name {x}.tflite')
    b.notes.append('a note with "quotes", commas and data words')

    def weights(name: str, shape: tuple[int, ...], axis: int) -> dict[str, str]:
        scales = Quantization(tuple(float(np.float32(s)) for s in rng.uniform(0.005, 0.02, shape[axis])), 0, axis)
        return {
            "weights": b.constant(f"{name}.weights", rng.integers(-127, 128, shape).astype(np.int8), scales, f"model/{name} data 1; origin x"),
            "bias": b.constant(f"{name}.bias", rng.integers(-500, 500, shape[axis]).astype(np.int32), None, ""),
        }

    def image(channels: int, zero: int = -4) -> TensorType:
        return activation((1, 4, 4, channels), SCALE, zero)

    same = Window((3, 3), (1, 1), (1, 1, 1, 1))
    x = b.input(image(2, 3), "serving_default_x:0")
    c = b.node("first", Conv2D(activation="relu", window=same), {"x": x, **weights("first", (3, 3, 3, 2), 0)}, image(3), 'operator 0 "CONV_2D"')
    d = b.node("second", DepthwiseConv2D(same, "relu6"), {"x": c, **weights("second", (1, 3, 3, 3), 3)}, image(3), "operator 1")
    q = b.node("scaled", Requantize("relu"), {"x": c}, activation((1, 4, 4, 3), 0.25, 7), "operator 2")
    s = b.node("sum", Add(), {"x": q, "other": d}, image(3), "operator 3")
    t = b.node("turned", Transpose((0, 2, 1, 3)), {"x": s}, image(3), "operator 4")
    m = b.node("mean", Mean((1, 2)), {"x": t}, activation((1, 3), SCALE, 0), "operator 5")
    r = b.node("flat", Reshape((1, 3)), {"x": m}, activation((1, 3), SCALE, 0), "operator 6")
    f = b.node("head", FullyConnected(), {"x": r, **weights("head", (4, 3), 0)}, activation((1, 4), SCALE, 0), "operator 7")
    y = b.node("classes", Softmax(), {"x": f}, activation((1, 4), 1 / 256, -128), "operator 8")
    return verify(b.finish([y]))


METHODS: dict[str, tuple[Method, ...]] = {
    "inference": (),
    "bias": (BiasOnly(),),
    "head": (Head(),),
    "lora": (LoRA(rank=2, layers="all", alpha=3.0),),
    "lora-and-bias": (LoRA(rank=1, layers="first"), BiasOnly(), Head()),
}


@cache
def compiled(name: str) -> Compilation:
    return compile_graph(model(), Options(methods=METHODS[name], optimizer=SGD(momentum=0.9)), "0")


# -- text ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("brief", [False, True])
def test_inference_graph_round_trips(brief: bool) -> None:
    parsed = parse_graph(print_graph(model(), brief=brief))
    assert parsed == model()
    assert list(parsed.values) == list(model().values)


@pytest.mark.parametrize("name", METHODS)
def test_compiled_graphs_round_trip(name: str) -> None:
    c = compiled(name)
    parts = [c.graph, c.base, c.infer.graph] + ([c.train.graph] if c.train else [])
    for graph in parts:
        for brief in (False, True):
            text = print_graph(graph, brief=brief)
            parsed = verify(parse_graph(text))
            assert parsed == graph
            assert print_graph(parsed, brief=brief) == text


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", METHODS)
def test_text_at_every_stage_round_trips(name: str, target: str) -> None:
    """Also of what lowering makes: the kernels of a core with their constants, and the place of everything in the arena."""
    seen: list[str] = []

    def dump(stage: str, graph: Graph) -> None:
        seen.append(stage)
        assert verify(parse_graph(print_graph(graph))) == graph, stage
        assert verify(parse_graph(print_graph(graph, brief=True))) == graph, stage

    c = compile_graph(model(), Options(methods=METHODS[name], target=target), "0", dump)
    parts = ["infer", "train"] if c.train else ["infer"]
    ordered = [f"order.{part}" for part in parts]
    lowered = [f"{stage}.{part}" for part in parts for stage in ("fit", "kernels", "place")]
    before = ["attach", "diff", "calibrate", "schedule"] if c.train else []
    assert seen == ["simplify", *before, "reduce", *ordered, *lowered]
    assert c.infer.placed.offsets == c.infer.plan.offsets and c.infer.placed.nodes == c.infer.kernels.nodes


def test_what_a_slice_says_of_itself_round_trips() -> None:
    graph = replace(model(), buffers="arena", shared=frozenset({"b.dx", "a.dx"}), repacked=frozenset({"c.dx", "d.dx"}), repeated=frozenset({"d.dx"}))
    text = print_graph(graph)
    assert "buffers arena\nshared a.dx\nshared b.dx\n" in text and parse_graph(text) == graph


def test_any_float32_scale_is_exact() -> None:
    scales = np.frombuffer(np.random.default_rng(0).integers(1, 0x7F7FFFFF, 200).astype(np.int32).tobytes(), np.float32)
    quantization = Quantization(tuple(float(s) for s in scales), 0, 0)
    weights = Value("w", TensorType((200,), "int8", quantization), "constant", np.zeros(200, np.int8))
    graph = replace(model(), values={**model().values, "w": weights})
    assert parse_graph(print_graph(graph)) == graph


def test_brief_text_holds_every_number() -> None:
    numbers = {
        "codes": np.array([-128, 127, 0], np.int8),
        "zeros": np.zeros((3, 100), np.int16),
        "signs": np.array([0.0, -0.0] * 8, np.float32),
        "reals": np.array([0.1, 1e-38, np.inf, 2**24 + 2], np.float32),
    }
    values = {name: Value(name, TensorType(data.shape, str(data.dtype)), "constant", data) for name, data in numbers.items()}
    text = print_graph(replace(model(), values={**model().values, **values}), brief=True)
    parsed = parse_graph(text).values
    assert "data [-128, 127, 0]\n" in text and "data [0] * 300\n" in text
    assert all(parsed[name].data.tobytes() == data.tobytes() for name, data in numbers.items())  # type: ignore[union-attr]


@pytest.mark.parametrize("data", ["[1, 2]", "[1, 2, 3.5]", "[1, 2, 300]", "[1] * x", "[1, 2, 3", '[1, 2, "3"]'])
def test_numbers_that_are_no_constant_are_refused(data: str) -> None:
    with pytest.raises(CompileError, match=r"^line 2: "):
        parse_graph(f'graph g ""\nvalue codes constant int8[3] data {data}\n')


def test_an_origin_like_attributes_is_no_attribute() -> None:
    graph = replace(model(), nodes=tuple(replace(n, origin="a {b} origin c") for n in model().nodes))
    assert parse_graph(print_graph(graph, brief=True)) == graph


def test_without_data_the_text_is_short() -> None:
    assert len(print_graph(model(), data=False)) < len(print_graph(model()))
    assert " data " not in "".join(line.split(" origin ")[0] for line in print_graph(model(), data=False).splitlines() if line.startswith("value"))


@pytest.mark.parametrize(
    "line",
    [
        "nonsense 1 2 3",
        "value",
        "value x input int8",
        "value x input int8[1, a]",
        "value x constant int8[4] data AAAA",
        "value x constant int8[4] data !",
        'node n forward no_such_operator(x=a) -> b {} origin ""',
        'node n forward add(x=a) -> b {"no_such_attribute": 1} origin ""',
        'node n forward add(x=a) -> b {broken origin ""',
        "parameter [1]",
        "note unquoted",
    ],
)
def test_lines_that_cannot_be_read(line: str) -> None:
    with pytest.raises(CompileError, match="line 2"):
        parse_graph(f'graph g "g.tflite"\n{line}\n')


# -- verify -------------------------------------------------------------------------------------------
Fault = Callable[[Graph], Graph]


def changed_node(name: str, **fields: object) -> Fault:
    def plant(g: Graph) -> Graph:
        return replace(g, nodes=tuple(replace(n, **fields) if n.name == name else n for n in g.nodes))  # type: ignore[arg-type]

    return plant


def changed_value(name: str, **fields: object) -> Fault:
    def plant(g: Graph) -> Graph:
        return replace(g, values={**g.values, name: replace(g.values[name], **fields)})  # type: ignore[arg-type]

    return plant


def blank(name: str, *shape: int) -> Fault:
    return changed_value(name, type=TensorType(shape, "int8"), data=np.zeros(shape, np.int8))


def rewired(name: str, **inputs: str | None) -> Fault:
    def plant(g: Graph) -> Graph:
        merged = {**g.node(name).inputs, **inputs}
        return changed_node(name, inputs={o: v for o, v in merged.items() if v is not None})(g)

    return plant


def filed_wrongly(g: Graph) -> Graph:
    return replace(g, values={**g.values, "other": g.values["sum"]})


def backwards(g: Graph) -> Graph:
    return replace(g, nodes=g.nodes[::-1])


def doubled(g: Graph) -> Graph:
    return replace(g, nodes=(*g.nodes, g.nodes[-1]))


def computed_twice(g: Graph) -> Graph:
    return replace(g, nodes=(*g.nodes, replace(g.nodes[-1], name="again")))


def batch_moved(g: Graph) -> Graph:
    turned = changed_value("turned", type=activation((4, 1, 4, 3), SCALE, -4))(g)
    return changed_node("turned", op=Transpose((1, 0, 2, 3)))(turned)


def unknown_result(g: Graph) -> Graph:
    return replace(g, outputs=("nowhere",))


def result_without_type(g: Graph) -> Graph:
    return replace(g, values={k: v for k, v in g.values.items() if k != "mean"})


FAULTS: dict[str, tuple[Fault, str]] = {
    "filed under another name": (filed_wrongly, "filed under another name"),
    "unknown kind": (changed_value("sum", kind="activity"), "has kind activity"),
    "data of another shape": (changed_value("head.bias", data=np.zeros(3, np.int32)), "holds int32"),
    "data of another type": (changed_value("head.bias", data=np.zeros(4, np.int8)), "holds int8"),
    "two nodes of one name": (doubled, "two nodes are called"),
    "missing operand": (rewired("sum", other=None), "operands"),
    "operand too many": (rewired("sum", third="second"), "operands"),
    "out of order": (backwards, "before it is computed"),
    "unknown operand": (rewired("sum", x="nowhere"), "before it is computed"),
    "computed twice": (computed_twice, "computed twice or unknown"),
    "result without a type": (result_without_type, "computed twice or unknown"),
    "unknown result": (unknown_result, "never computed"),
    "update of what is no state": (changed_node("sum", updates=("scaled",)), "may change"),
    "inferred type differs": (changed_value("turned", type=activation((1, 4, 4, 3), 2 * SCALE, -4)), "results are"),
    "sum of two shapes": (
        changed_value("sum", type=activation((1, 4, 3, 4), SCALE, -4)),
        "add: takes (1, 4, 4, 3) and (1, 4, 4, 3) for (1, 4, 3, 4)",
    ),
    "kernel of another size": (changed_node("first", op=Conv2D(activation="relu", window=Window((2, 2)))), "do not fit"),
    "window of another size": (changed_node("first", op=Conv2D(activation="relu", window=Window((3, 3)))), "expected"),
    "depth that does not divide": (blank("second.weights", 1, 3, 3, 4), "do not fit"),
    "layer of another depth": (blank("head.weights", 4, 2), "do not fit"),
    "mean over the batch": (changed_node("mean", op=Mean((0, 1))), "reduces axes"),
    "mean of another size": (changed_node("mean", op=Mean((1,))), "result is"),
    "view of another size": (changed_node("flat", op=Reshape((1, 4))), "results are"),
    "permutation moves the batch": (batch_moved, "moves the batch"),
    "softmax of another scale": (changed_value("classes", type=activation((1, 4), 1 / 128, -128)), "scale 1/256"),
    "scales far apart": (changed_value("scaled", type=activation((1, 4, 4, 3), 1e-20, 7)), "apart"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_refused(name: str) -> None:
    fault, words = FAULTS[name]
    with pytest.raises(CompileError) as caught:
        verify(fault(model()))
    assert words in str(caught.value)


def test_the_message_names_the_node_as_the_file_does() -> None:
    with pytest.raises(CompileError) as caught:
        verify(rewired("sum", other=None)(model()))
    assert caught.value.where == "operator 3"


def test_updates_are_checked_in_training_graphs() -> None:
    graph = compiled("bias").graph
    node: Node = next(n for n in graph.nodes if n.updates)
    unread = replace(node, inputs={o: v for o, v in node.inputs.items() if v not in node.updates})
    with pytest.raises(CompileError):
        verify(replace(graph, nodes=tuple(unread if n is node else n for n in graph.nodes)))
