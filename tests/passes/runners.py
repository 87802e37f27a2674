"""How each pass and stage runs on the graph of a case: what its arguments are, and what it must not change."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc import peft
from kiloc.autodiff import differentiate
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.lowering import fit, offload_least, order_inference, order_training, place, with_long_kernels_cut, with_shared_weights
from kiloc.optim import SGD, Adam, with_accumulators, with_storage, with_updates
from kiloc.options import Options
from kiloc.passes.bounded_biases import with_bounded_biases, without_bounded_biases
from kiloc.passes.by_position import by_position
from kiloc.passes.calibrate import calibrate
from kiloc.passes.channel_bounds import channel_bounds
from kiloc.passes.channel_moments import with_moments
from kiloc.passes.check_sums import check_sums
from kiloc.passes.constant_channels import needed_channels, on_fewer_channels, without_constant_channels
from kiloc.passes.fold_transposes import fold_transposes
from kiloc.passes.frozen_front import frozen_first
from kiloc.passes.fuse_attention import fuse_attention
from kiloc.passes.fuse_elementwise import fuse_elementwise
from kiloc.passes.kernels import with_kernels
from kiloc.passes.merge import merge
from kiloc.passes.offload import offload
from kiloc.passes.pack_masks import pack_masks
from kiloc.passes.page_updates import page_updates
from kiloc.passes.postpone import postponed
from kiloc.passes.recompute import recompute
from kiloc.passes.reconstruct import reconstruct
from kiloc.passes.repeat_channels import with_repeated_channels
from kiloc.passes.row_stripes import in_stripes
from kiloc.passes.schedule import remember, schedule
from kiloc.passes.simplify import simplify, with_rounding
from kiloc.passes.slices import adapted_slice, inference_slice, prune, training_slice
from kiloc.passes.spread_again import spread_again
from kiloc.passes.stream_rows import stream_rows
from kiloc.passes.stream_updates import stream_updates
from kiloc.passes.stripes import chains, striped
from kiloc.passes.unmet_taps import without_unmet_taps
from kiloc.passes.update_early import update_early
from kiloc.passes.whole_sequences import with_whole_sequences
from kiloc.passes.with_window import with_window
from kiloc.peft import Calibration, attach_all

OPTIMIZERS = {"sgd": SGD, "adam": Adam}


@dataclass(frozen=True)
class Pass:
    """run: the graph and the arguments of the case to the graph after it.

    keeps: "results" of inference, "everything", which is also the loss and the state after training, or "nothing": bit for bit.
    """

    run: Callable[..., Graph]
    keeps: str = "everything"


def _calibrate(graph: Graph, samples: list[Any], target: list[int]) -> Graph:
    inputs = {graph.inputs[0]: np.array(samples, np.int8)}
    return calibrate(graph, interp.run(graph, inputs), np.array(target, np.int32))


def _attach(graph: Graph, method: str, **options: Any) -> Graph:
    sample = {name: np.ones((1, *graph.type(name).shape[1:]), np.int8) for name in graph.inputs}
    return attach_all(graph, [peft.REGISTRY[method](**options)], Calibration(interp.run(graph, sample)))


def _accumulators(graph: Graph, optimizer: str = "sgd", at_once: bool = False, paged: bool = False, **options: Any) -> Graph:
    return with_accumulators(graph, OPTIMIZERS[optimizer](**options), at_once=at_once, in_ram=0 if paged else None)


def _on_fewer_channels(graph: Graph, kept: Mapping[str, list[bool]]) -> Graph:
    every = needed_channels(graph, bounds := channel_bounds(graph))
    whole = {name: np.ones_like(mask) for name, mask in every.items()}
    return on_fewer_channels(graph, bounds, whole | {name: np.array(mask) for name, mask in kept.items()})


def _options(options: Mapping[str, Any]) -> Options:
    """Options of a case: SGD with a rate, and no more than it names."""
    return Options(**{"optimizer": SGD(lr=0.5), **options})


def _fit(graph: Graph, arena: int) -> Graph:
    found = fit(place(graph), arena)
    assert found is not None, f"nothing fits {arena} bytes"
    return found.graph


PASSES: Mapping[str, Pass] = {
    "simplify": Pass(simplify),
    "with_rounding": Pass(with_rounding, "nothing"),
    "with_repeated_channels": Pass(with_repeated_channels),
    "with_whole_sequences": Pass(with_whole_sequences, "nothing"),
    "by_position": Pass(by_position, "nothing"),
    "with_window": Pass(lambda graph, window=None: with_window(graph, window), "nothing"),
    "calibrate": Pass(_calibrate, "results"),
    "with_moments": Pass(with_moments, "results"),
    "with_bounded_biases": Pass(with_bounded_biases),
    "without_bounded_biases": Pass(without_bounded_biases),
    "pack_masks": Pass(pack_masks),
    "without_constant_channels": Pass(without_constant_channels),
    "without_unmet_taps": Pass(without_unmet_taps),
    "on_fewer_channels": Pass(_on_fewer_channels),
    "inference_slice": Pass(inference_slice, "results"),
    "adapted_slice": Pass(adapted_slice, "results"),
    "training_slice": Pass(training_slice),
    "prune": Pass(prune),
    "stream_updates": Pass(stream_updates),
    "stream_rows": Pass(stream_rows),
    "spread_again": Pass(spread_again),
    "update_early": Pass(update_early),
    "page_updates": Pass(page_updates),
    "remember": Pass(lambda graph, **options: remember(graph, _options(options)), "results"),
    "schedule": Pass(lambda graph, **options: schedule(graph, _options(options)), "results"),
    "postponed": Pass(postponed),
    "recompute": Pass(recompute),
    "reconstruct": Pass(reconstruct),
    "striped": Pass(lambda graph, count: striped(graph, chains(graph)[0], count)),
    "in_stripes": Pass(lambda graph, names, count: in_stripes(graph, names, count) or graph),
    "offload": Pass(offload),
    "merge": Pass(lambda graph: merge(graph, interp.initial_state(graph)), "nothing"),
    "with_kernels": Pass(with_kernels),
    "check_sums": Pass(check_sums),
    "attach": Pass(_attach, "results"),
    "with_storage": Pass(with_storage, "results"),
    "with_accumulators": Pass(_accumulators, "results"),
    "differentiate": Pass(differentiate, "results"),
    "with_updates": Pass(lambda graph, optimizer="sgd", **options: with_updates(graph, OPTIMIZERS[optimizer](**options)), "results"),
    "fold_transposes": Pass(lambda graph: fold_transposes(fuse_attention(graph))),
    "fuse_attention": Pass(fuse_attention),
    "fuse_elementwise": Pass(fuse_elementwise),
    "order_inference": Pass(lambda graph: order_inference(graph, "", "caller"), "results"),
    "frozen_first": Pass(frozen_first),
    "order_training": Pass(lambda graph: order_training(graph, "", "caller")),
    "with_shared_weights": Pass(lambda graph, chosen=(), **options: with_shared_weights(graph, _options(options), frozenset(chosen))),
    "with_long_kernels_cut": Pass(lambda graph, **options: with_long_kernels_cut(place(graph), **options)),
    "place": Pass(lambda graph, **options: place(graph, **options).placed),
    "fit": Pass(_fit),
    "offload_least": Pass(lambda graph, least=0: offload_least(place(graph), least).graph),
}
"""By the name of the function, which is the name of the folder of its cases."""


def behaviour(graph: Graph, phases: tuple[str, ...], samples: int = 3) -> dict[str, NDArray[Any]]:
    """What a graph computes from the same random samples: its results, its loss and, after an update, its state."""
    state, found = interp.initial_state(graph), dict[str, NDArray[Any]]()
    for number in range(samples):
        inputs = {name: _sample(graph, name, number) for name in graph.inputs}
        arrays = interp.train_step(graph, inputs, state) if "backward" in phases else interp.run(graph, inputs, state)
        found |= {f"{name} of sample {number}": arrays[name] for name in (*graph.outputs, "loss.value") if name in arrays}
    if "update" in phases:
        interp.apply(graph, state)
    if "backward" in phases:
        found |= {f"state {name}": array for name, array in state.items()}
    return found


def _sample(graph: Graph, name: str, number: int) -> NDArray[Any]:
    """The same for every graph with an input of this name."""
    rng, type_ = np.random.default_rng([number, *name.encode()]), graph.type(name)
    low, high = (-128, 128) if type_.dtype == "int8" else (0, 2)
    return rng.integers(low, high, type_.shape).astype(type_.dtype)


def arguments_of(text: str) -> dict[str, Any]:
    return dict(json.loads(text)) if text.strip() else {}
