"""What a build for size needs to know of its layers: its kernels share functions (`runtime/src/product/short_blocks.h`)."""

from __future__ import annotations

from ..ir.graph import Graph
from ..ops.model._linear import Linear
from .steps import CStruct

SHORT_BLOCKS = "product/short_blocks.c"
"""What the kernels share."""

MOST_VALUES = 1 << 15
"""Under a window whose sums stay within 2^30 - 1: 255 * 128 each."""


def has_long_sums(graph: Graph) -> bool:
    """Whether a layer's sums may leave int32 with what a trained product adds, before the bias and the saturation."""
    weights = [graph.type(node.inputs["weights"]) for node in graph.nodes if isinstance(node.op, Linear)]
    return any(w.size > MOST_VALUES * w.shape[0] for w in weights)


def has_rank_four(structs: list[CStruct]) -> bool:
    """Whether there is LoRA, and all of rank 4."""
    return {f.text for s in structs if s.type == "kt_conv2d_params" for f in s.fields if f.name == "rank"} - {"0"} == {"4"}
