"""Kernels and placement: the fastest kernels that the arena has room for, and gradients that share weights with inference for flash."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..cores import bus_of, kernels_of
from ..ir.graph import Graph
from ..ir.operator import Op
from ..ir.verify import node_types, total_macs
from ..ops.backward.input_gradient import LinearInputGradient
from ..ops.fast.blocked_input_gradient import BlockedInputGradient
from ..ops.fast.repacked import RepackedInputGradient
from ..ops.fast.shared_input_gradient import is_single
from ..passes.kernels import choose, forms, layer_of, repacking_forms, second_copy, spend_flash, with_kernels
from ..plan import WORD, check_plan, plan_memory
from ..plan.lifetimes import lifetimes
from ..plan.problem import total_bytes
from ..plan.slice import Slice, caller_buffers, scratch_bytes, scratch_of

INFERENCE_GROWTH = 0.05, 1024
TRAINING_GROWTH = 0.01, 0
"""Share of the arena and bytes that faster kernels may add to it; the same share of the caller's buffers where that is more bytes, since beside large
inputs or results of a small model its arena says little."""
BESIDE_TRAINING = 0.15, 1024
"""Share of inference's arena that faster kernels may add to it in a training build, too, and the most bytes. It is what counts where a step takes
little more than inference, as of a head: one of all biases takes so much more that its own arena decides. Of a large arena the bytes are few."""

MORE_MEMORY = (0.02, 0.05, 0.1, 0.15, 0.25, 0.5)
"""Shares of what a build takes, arena and state, that faster kernels may add beyond that, where they are `WORTH` it."""
LEAST_MEMORY = 8192
"""Bytes that this counts as there at least: no core has less, and of a model of a few hundred bytes a share says nothing."""
WORTH = 2.0
"""Times the share of memory that kernels add by which they make inference or a step faster, at least."""
SLOWER = 1.01
"""Times the instructions that the other of the two may take then: estimates are no closer."""

SHARING_CODE = 4096
"""Bytes of code that the first gradient brings that shares its weights with inference, while others do not."""

ENOUGH_MACS, ENOUGH_INPUTS, MOST_OF = 1024, 32, 0.9
"""Layers of one position whose gradient takes no longer when it shares: counted on a Cortex-M4 on fourteen layers of 12 to 256 channels, of which
those of so many MACs and input channels take 0.94 to 1.00 of the instructions, and others up to 1.21."""

REPACKING = 0.015
"""Weights that gradients transpose again in each step, of its MACs: two instructions a weight, where a MAC takes 1.3 to 1.5, are 2 % of the step."""
REPEATING = 0.03
"""The same of a build whose flash has a budget, with those that are made again for each block of positions where memory has no room for all."""

REPACKING_CODE = 512
"""Bytes of code that the first of them brings."""

ROUNDS = 12
"""Forms are given up in so many rounds at most; then every kernel is portable."""
BUDGET_ROUNDS, TAKEN_BACK = 24, 24
"""The same within a budget, for which values are computed again; and how many placements may look for forms to take back there."""
FARTHER = tuple(range(1, 9))
"""Where a placement does not fit although its steps do, those give up forms that are so many times its excess below the limit: the first that
have one left, and then all."""


def place(
    part: Graph,
    align: int = WORD,
    prove: bool = False,
    check: bool = True,
    target: str = "",
    saving: Mapping[str, int] | None = None,
    patience: int = 1,
) -> Slice:
    """A slice with its plan (align, prove, patience: see `plan_memory`), for the kernels of a target; the plan is checked independently."""
    kernels = with_kernels(part, target, saving)
    plan = plan_memory(kernels, scratch_of(kernels), frozenset(caller_buffers(kernels)), align, prove, patience=patience)
    found = Slice(part, plan, kernels, target, dict(saving or {}))
    return checked(found) if check else found


def checked(part: Slice) -> Slice:
    """The slice, whose plan is checked independently. Raises PlanError."""
    check_plan(part.kernels, part.kernels.nodes, part.plan.offsets, part.plan.arena_bytes, scratch_of(part.kernels))
    return part


def choose_kernels(
    parts: Sequence[Graph],
    align: int,
    prove: bool,
    target: str,
    taken: Callable[[Slice], float],
    ram: int = 0,
    check: bool = True,
    speed: bool = False,
) -> list[Slice]:
    """The slices of a build, which share an arena, with the fastest kernels that the arena has room for. speed: flash does not count.

    Kernels may add to what portable ones take: `INFERENCE_GROWTH` where nothing is trained, `TRAINING_GROWTH` otherwise, but to inference
    `BESIDE_TRAINING`, and `MORE_MEMORY` where they are worth it, or up to `ram` bytes. Where a step takes more, its node gets the next form, which
    takes less; both slices use the same. taken: about how many instructions a slice takes.
    """
    growth, spare = TRAINING_GROWTH if len(parts) > 1 else INFERENCE_GROWTH

    def limit_of(arenas: Sequence[int]) -> int:
        limit = int(max(arenas) * (1 + growth)) + max(spare, int(growth * _caller_bytes(parts)))
        return max(limit, ram, _beside_training(arenas[0]) if len(parts) > 1 else 0)

    limit, least = limit_of([_alive(part, align, target) for part in parts]), list[Slice]()  # what portable kernels take is no less
    fastest = {name: level for part in parts for name, level in spend_flash(part, target).items()} if speed else {}
    fastest |= {node.name: copies for part in parts for node in part.nodes if (copies := repacking_forms(part, node, target))}
    usual = [place(part, align, check=False, target=target, saving=fastest) for part in parts]
    if _arena(usual) > limit:
        least = [place(part, align, check=False, target=target, saving=_portable(part, target)) for part in parts]
        limit = limit_of([part.plan.arena_bytes for part in least])
    found = _within(usual, limit)
    if found is not usual and not ram:
        found, limit = _with_more_memory(usual, found or least, limit, taken)
    found = _with_repacking(found, limit) if found else least
    if prove:
        return [place(part.graph, align, prove, check, target, part.saving) for part in found]
    return [checked(part) for part in found] if check else found


def _arena(parts: Sequence[Slice]) -> int:
    """Bytes of the arena that slices share."""
    return max(part.plan.arena_bytes for part in parts)


def _within(usual: list[Slice], limit: int) -> list[Slice] | None:
    """The slices with the next forms at their fullest steps, until the arena fits the limit; None where every kernel is portable then."""
    found, saving = usual, dict(usual[0].saving)
    for _ in range(ROUNDS):
        changed = [name for part in found if part.plan.arena_bytes > limit for name in _at_fault(part, limit)]
        if not changed:
            break
        saving |= {name: saving.get(name, 0) + 1 for name in changed}
        found = with_forms(found, saving)
    return found if _arena(found) <= limit else None


def _with_more_memory(usual: list[Slice], found: list[Slice], limit: int, taken: Callable[[Slice], float]) -> tuple[list[Slice], int]:
    """Slices with kernels that are faster by `WORTH` times the share of memory that they add, and the limit that they keep to;
    `found` where there are none."""
    whole = max(_arena(found) + sum(value.type.bytes for value in found[-1].graph.state()), LEAST_MEMORY)
    times, start, best = [taken(part) for part in found], _arena(found), _arena(found)
    if not _worth(times, [taken(part) for part in usual], MORE_MEMORY[0]):
        return found, limit
    for share in MORE_MEMORY:
        wider = start + int(share * whole)
        other = _within(usual, wider) if wider > limit else None
        if other is None:
            continue
        faster = [taken(part) for part in other]
        if _worth(times, faster, (_arena(other) - best) / whole):
            found, times, limit, best = other, faster, wider, _arena(other)
        if other is usual:
            break
    return found, limit


def _worth(times: Sequence[float], faster: Sequence[float], share: float) -> bool:
    """Whether a share of memory is, for which inference and a step take fewer instructions."""
    gained = max(usual / max(less, 1) for usual, less in zip(times, faster, strict=True)) - 1
    return gained > WORTH * share and all(less <= SLOWER * usual for usual, less in zip(times, faster, strict=True))


def _beside_training(arena: int) -> int:
    """The limit that inference's arena alone sets in a training build."""
    growth, most = BESIDE_TRAINING
    return arena + min(int(growth * arena), most)


def _alive(part: Graph, align: int, target: str) -> int:
    """The most bytes alive at one step with portable kernels."""
    kernels = with_kernels(part, target, _portable(part, target))
    return max(total_bytes(lifetimes(kernels, scratch_of(kernels), frozenset(caller_buffers(kernels))), len(kernels.nodes), align), default=0)


def share_weights(part: Slice, excess: int) -> frozenset[str]:
    """Gradients of a training slice that share their weights with inference, with so many more that `excess` bytes of flash are saved, if
    there are any more: those first that save most for a MAC, each of which takes longer. The kernel that they share takes flash itself, and at last
    those share as well that make their weights, with code of their own."""
    bytes_of = {node.name: second_copy(part.graph, node, part.target, part.saving) for node in part.graph.nodes}
    macs = {node.name: node.op.macs(node_types(part.graph, node)) for node in part.graph.nodes if bytes_of[node.name]}
    shared, left = set(part.graph.shared), excess + (0 if part.graph.shared else SHARING_CODE)
    for name in sorted(macs.keys() - shared, key=lambda n: (-bytes_of[n] / macs[n], n)):
        if left <= 0:
            break
        shared.add(name)
        left -= bytes_of[name]
    return frozenset(shared if left <= 0 else shared | part.graph.repacked)


def share_at_no_cost(part: Graph, target: str) -> frozenset[str]:
    """Gradients of a training slice that share their weights with inference without a budget, since that takes no longer: those of one position,
    where nearly all of their MACs are in layers that are large enough, and the copies are larger than the code that it brings.

    Where one load takes two words, copies are read faster.
    """
    if kernels_of(target) != "dsp" or bus_of(target) > WORD:
        return frozenset()
    macs, bytes_, large = dict[str, int](), 0, 0
    for node in part.nodes:
        if not isinstance(node.op, LinearInputGradient) or not is_single(node.op):
            continue
        saved = second_copy(part, node, target)
        if saved and not choose(replace(part, shared=frozenset({node.name})), node, target).slow:
            macs[node.name] = node.op.macs(node_types(part, node))
            bytes_ += saved
            large += macs[node.name] if macs[node.name] >= ENOUGH_MACS and node.op.x_image[2] >= ENOUGH_INPUTS else 0
    return frozenset(macs) if bytes_ >= SHARING_CODE and large >= MOST_OF * sum(macs.values()) else frozenset()


def repack_at_little_cost(part: Graph, target: str) -> frozenset[str]:
    """Gradients of a training slice that make their transposed weights in front of each call, where memory has room for them: of the most positions
    first, as many as take `REPACKING` of the step."""
    if kernels_of(target) != "dsp":
        return frozenset()
    sizes = dict[str, int]()
    for node in part.nodes:
        if isinstance(node.op, LinearInputGradient):
            found = choose(replace(part, repacked=frozenset({node.name})), node, target).node.op
            if made := transposed_again(found):
                sizes[node.name] = made
    macs = {node.name: node.op.macs(node_types(part, node)) for node in part.nodes}
    left, chosen = REPACKING * sum(macs.values()), set[str]()
    for name in sorted(sizes, key=lambda n: (-macs[n] / sizes[n], n)):
        if sizes[name] <= left:
            chosen.add(name)
            left -= sizes[name]
    return frozenset(chosen) if sum(sizes[name] for name in chosen) > REPACKING_CODE else frozenset()


def _caller_bytes(parts: Sequence[Graph]) -> int:
    """Bytes of inputs and results that lie in buffers of the caller; 0 where something is trained."""
    if len(parts) > 1 or parts[0].buffers != "caller":
        return 0
    return sum(parts[0].type(name).bytes for name in (*parts[0].inputs, *parts[0].outputs))


def _portable(part: Graph, target: str) -> dict[str, int]:
    """Every node in its last form."""
    return {node.name: forms(part, node, target) - 1 for node in part.nodes}


def _at_fault(part: Slice, limit: int) -> list[str]:
    """Layers with a form left that takes less, at steps whose bytes do not fit, or where all fit but the placement, at the largest, or
    at those that the placement leaves no room."""
    totals = [sum(kinds.values()) for kinds in part.plan.live]
    left = {node.name for node in part.graph.nodes if part.saving.get(layer_of(node), 0) + 1 < forms(part.graph, node, part.target)}
    gap = part.plan.arena_bytes - max(totals)
    excess = max(part.plan.arena_bytes - limit, limit // 128)
    for threshold in (limit, max(totals) - 1, limit - gap, *(limit - excess * far for far in FARTHER), 0):
        crowded = [node for node, total in zip(part.graph.nodes, totals, strict=True) if total > threshold]
        found = [layer_of(node) for node in crowded if node.name in left]
        if found:
            return list(dict.fromkeys(found))
    return []


def fewer_forms(parts: Sequence[Slice], limit: int) -> list[Slice] | None:
    """Slices of one build with slower kernels at their fullest steps, until each fits the limit; None where that does not make them fit."""
    saving, found = dict(parts[0].saving), list(parts)
    for _ in range(BUDGET_ROUNDS):
        changed = [name for part in found if part.plan.arena_bytes > limit for name in _at_fault(part, limit)]
        if not changed:
            break
        saving |= {name: saving.get(name, 0) + 1 for name in changed}
        found = with_forms(found, saving)
    if any(part.plan.arena_bytes > limit for part in found):
        return None
    return [checked(part) for part in _taken_back(found, dict(parts[0].saving), limit)]


def _taken_back(parts: list[Slice], start: Mapping[str, int], limit: int) -> list[Slice]:
    """Slices that fit the limit with the forms of `start` again for layers that have room for them after all: for all at once, else for either
    half of them, and so on, layers of the most MACs first."""
    macs, groups, tried = _macs_of_layers(parts), list[list[str]](), 0
    groups.append(sorted((n for n, form in parts[0].saving.items() if form > start.get(n, 0) and n in macs), key=lambda n: (-macs[n], n)))
    while groups and tried < TAKEN_BACK:
        names = groups.pop()
        for more in range(1 if len(names) > 1 else parts[0].saving[names[0]] - start.get(names[0], 0)) if names else ():
            other = with_forms(parts, {**parts[0].saving, **{n: start.get(n, 0) + more for n in names}})
            tried += 1
            if all(part.plan.arena_bytes <= limit for part in other):
                parts = other
                break
        else:
            half = (len(names) + 1) // 2
            groups += [names[half:], names[:half]] if len(names) > 1 else []
    return parts


def _with_repacking(parts: list[Slice], limit: int) -> list[Slice]:
    """Slices whose gradients make their transposed weights where that fits the limit beside what else is chosen: all of them at once, or as many as
    fit."""
    start, saving = dict(parts[0].saving), parts[0].saving
    for part in parts:
        left = (REPEATING if part.graph.repeated else REPACKING) * total_macs(part.graph)
        for node, kernel, live in zip(part.graph.nodes, part.kernels.nodes, part.plan.live, strict=True):
            room = limit - sum(live.values()) + scratch_bytes(part.kernels, kernel)
            for form in range(repacking_forms(part.graph, node, part.target)):
                choice = choose(part.graph, node, part.target, {**saving, node.name: form})
                graph = replace(part.graph, values={**part.graph.values, **{v.name: v for v in choice.values}})
                made = transposed_again(choice.node.op)
                if 0 < made <= left and scratch_bytes(graph, choice.node) <= room:
                    start[node.name], left = form, left - made
                    break
    return _taken_back(parts, start, limit)


def transposed_again(op: Op) -> int:
    """Weights that a kernel makes in each call, for a gradient without a copy of them."""
    if isinstance(op, BlockedInputGradient):
        return op.made
    return op.making.made if isinstance(op, RepackedInputGradient) else 0


def _macs_of_layers(parts: Sequence[Slice]) -> dict[str, int]:
    """Of layers with another form than the portable one."""
    found: dict[str, int] = {}
    for part in parts:
        for node in part.graph.nodes:
            if forms(part.graph, node, part.target) > 1:
                found[layer_of(node)] = found.get(layer_of(node), 0) + node.op.macs(node_types(part.graph, node))
    return found


def with_faster_forms(parts: Sequence[Slice], limit: int) -> list[Slice]:
    """Slices that fit the limit with portable kernels, with the fastest that it has room for beside what is computed again."""
    return fewer_forms(with_forms(parts, {}), limit) or list(parts)


def with_forms(parts: Sequence[Slice], saving: Mapping[str, int]) -> list[Slice]:
    """Slices with other forms of kernels, not checked yet."""
    return [place(p.graph, p.plan.alignment, p.plan.proved, check=False, target=p.target, saving=saving) for p in parts]


def use_portable(part: Slice) -> Slice:
    """The slice with the kernels that take least memory."""
    return place(part.graph, part.plan.alignment, part.plan.proved, target=part.target, saving=_portable(part.graph, part.target))
