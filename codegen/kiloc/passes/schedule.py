"""What is remembered between a sample and the update of its batch, and the nodes of the update."""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph
from ..optim import with_accumulators, with_updates
from ..options import Options
from .pack_masks import pack_masks
from .page_updates import page_updates
from .stream_updates import stream_updates
from .update_early import update_early


def remember(graph: Graph, options: Options) -> Graph:
    """The graph with accumulators for the gradients of everything trained, and with the optimizer's moments."""
    at_once, in_ram = options.accumulate == 1, options.moments_in_ram if options.pages_moments else None
    return with_accumulators(graph, options.optimizer, options.seed, at_once=at_once, in_ram=in_ram, shard=options.shard)


def schedule(graph: Graph, options: Options, like: Graph | None = None) -> Graph:
    """A differentiated graph with its update: masks packed to bits, moments paged, each update as early as it can be.

    like: a graph with the same state, whose update it is, where layers of this one have fewer channels than what is updated.
    """
    graph = pack_masks(graph)
    updated = with_updates(graph if like is None else like, options.optimizer, options.shard)
    if like is not None:
        updated = replace(graph, nodes=(*graph.nodes, *updated.phase("update")))
    return update_early(page_updates(stream_updates(updated)))
