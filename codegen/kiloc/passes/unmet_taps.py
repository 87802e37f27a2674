"""Drops the rows and columns of windows that meet nothing but the border, wherever a window stands: of a 3x3 window over a single row all but the
middle one, of one of 7x7 with a border of 3 over an image of 3x3 the outermost. The results keep their bits: what they multiply is the zero point.

Gradients to a layer's input read the same weights and are cut likewise. A window whose weights are trained, or that LoRA or a delta goes along, stays
whole: state and updates have all its values.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from ..ir.graph import Graph, Node
from ..ops._merged import MERGED
from ..ops._window import Window
from ..ops.backward.input_gradient import LinearInputGradient
from ..ops.model.conv_2d import Conv2D
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D, DepthwiseInputGradient

ALONG = ("lora_a", "delta", MERGED)
"""Operands whose values lie as the weights do."""


@dataclass(frozen=True)
class _Cut:
    """What a window keeps: taps [first, end) of rows and of columns."""

    window: Window
    rows: tuple[int, int]
    columns: tuple[int, int]


def without_unmet_taps(graph: Graph) -> Graph:
    """The same function, of smaller windows; the graph itself where all taps of all windows meet an image."""
    readers = defaultdict[str, list[Node]](list)
    for node in graph.nodes:
        for name in set(node.inputs.values()):
            readers[name].append(node)
    values, changed = [], dict[str, Node]()
    for name, nodes in readers.items():
        value = graph.values[name]
        if value.kind != "constant" or value.data is None or value.data.ndim != 4:
            continue
        cut = _cut_of(graph, name, nodes)
        if cut is not None:
            data = value.data[:, slice(*cut.rows), slice(*cut.columns)]
            values.append(replace(value, data=data, type=replace(value.type, shape=data.shape)))
            changed |= {n.name: replace(n, op=replace(n.op, window=cut.window)) for n in nodes}  # type: ignore[call-arg]
    return graph.with_values(values).with_nodes([changed.get(n.name, n) for n in graph.nodes]) if values else graph


def _cut_of(graph: Graph, name: str, nodes: list[Node]) -> _Cut | None:
    """How the windows of all nodes that read a constant are cut; None where they are not, or not alike, or it is something else to one of them."""
    cuts = set[_Cut | None]()
    for node in nodes:
        alone = [v for v in node.inputs.values() if v == name] == [node.inputs.get("weights")]
        if not alone or any(operand in node.inputs for operand in ALONG):
            return None
        cuts.add(_cut(graph, node))
    return cuts.pop() if len(cuts) == 1 else None


def _cut(graph: Graph, node: Node) -> _Cut | None:
    op = node.op
    if isinstance(op, Conv2D | DepthwiseConv2D):
        image, results = graph.type(node.inputs["x"]).shape[1:3], graph.type(node.outputs[0]).shape[1:3]
    elif isinstance(op, DepthwiseInputGradient):
        image, results = op.x_shape[1:3], op.y_shape[1:3]
    elif isinstance(op, LinearInputGradient):
        image, results = op.x_image[:2], op.y_image[:2]
    else:
        return None
    window = op.window
    rows, columns = (_met(window, axis, image[axis], results[axis]) for axis in (0, 1))
    kernel = rows[1] - rows[0], columns[1] - columns[0]
    if kernel == window.kernel:
        return None
    before, after = list[int](), list[int]()
    for axis, first in enumerate((rows[0], columns[0])):
        before.append(window.pad[axis] - first * window.dilation[axis])
        reach = (results[axis] - 1) * window.stride[axis] + (kernel[axis] - 1) * window.dilation[axis] + 1
        after.append(reach - image[axis] - before[axis])
    return _Cut(replace(window, kernel=kernel, pad=(before[0], before[1], after[0], after[1])), rows, columns)


def _met(window: Window, axis: int, size: int, results: int) -> tuple[int, int]:
    """The first tap along an axis that meets the image somewhere, and the one behind the last; of a window that never does, all of them."""
    met = [
        tap
        for tap in range(window.kernel[axis])
        if any(0 <= y * window.stride[axis] + tap * window.dilation[axis] - window.pad[axis] < size for y in range(results))
    ]
    return (met[0], met[-1] + 1) if met else (0, window.kernel[axis])
