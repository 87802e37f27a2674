"""Order: slices of inference and training, their nodes in an order of few bytes alive at once, attention and chains with constants as one node."""

from __future__ import annotations

from ..ir.graph import Graph
from ..passes.by_position import by_position
from ..passes.fold_transposes import fold_transposes
from ..passes.fuse_attention import fuse_attention
from ..passes.fuse_elementwise import fuse_elementwise
from ..passes.kernels import with_kernels
from ..passes.reconstruct import reconstruct
from ..passes.slices import inference_slice, training_slice
from ..plan import alignment
from ..plan.lifetimes import lifetimes
from ..plan.order import best_order, branches, forward_in_order
from ..plan.problem import total_bytes
from ..plan.slice import caller_buffers, scratch_of


def order_inference(whole: Graph, target: str, buffers: str, one_position: bool = False) -> Graph:
    """What inference runs, in an order of few bytes alive at once. buffers: see `Graph`; one_position: of a sequence."""
    rows = _by_rows(whole)
    return fuse_elementwise(_inference_in_order(by_position(inference_slice(rows, buffers)) if one_position else rows, target, buffers))


def _by_rows(whole: Graph) -> Graph:
    """With attention that has no matrix in memory, nor copies of what it reads."""
    return fold_transposes(fuse_attention(whole))


def _inference_in_order(whole: Graph, target: str, buffers: str) -> Graph:
    part = inference_slice(whole, buffers)
    if not branches(part):
        return part
    kernels = with_kernels(part, target)
    order = best_order(kernels, scratch_of(kernels), frozenset(caller_buffers(kernels)), alignment(target))
    named = {n.name: n for n in part.nodes}
    return part.with_nodes(named[n.name] for n in order)


def order_training(whole: Graph, target: str, buffers: str, reversing: bool = False) -> Graph:
    """What one training sample runs: forward in the order of inference, where that keeps no more bytes alive at once.

    reversing: with the activations of reversible blocks reconstructed.
    """
    part = _training_in_order(whole, target, buffers)
    return reconstruct(part) if reversing else part


def _training_in_order(whole: Graph, target: str, buffers: str) -> Graph:
    whole = _by_rows(whole)
    part = training_slice(whole, buffers)
    usual, order = inference_slice(whole, buffers).nodes, _inference_in_order(whole, target, buffers).nodes
    if order == usual:
        return fuse_elementwise(part)
    other = fuse_elementwise(forward_in_order(part, order))
    part = fuse_elementwise(part)
    return min(part, other, key=lambda p: _most_alive(with_kernels(p, target), alignment(target)))


def _most_alive(kernels: Graph, align: int) -> int:
    found = lifetimes(kernels, scratch_of(kernels), frozenset(caller_buffers(kernels)))
    return max(total_bytes(found, len(kernels.nodes), align), default=0)
