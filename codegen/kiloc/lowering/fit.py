"""Fit: meeting a memory budget with stripes, segments of sequences, recomputation and offloading, and where that is not enough, what would help."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from ..errors import BudgetError, CompileError
from ..ir.graph import Graph
from ..ir.verify import total_macs
from ..options import Options
from ..passes.kernels import with_kernels
from ..passes.offload import moved_bytes, offload
from ..passes.reconstruct import reconstruct
from ..passes.segments import segmentations
from ..passes.stream_rows import stream_rows, streamable
from ..passes.stripes import STRIPE
from ..plan import WORD
from ..plan.offload import Offloads
from ..plan.recompute import Recomputations, family
from ..plan.row_stripes import row_stripes
from ..plan.slice import Slice, caller_buffers, scratch_bytes, scratch_of
from ..plan.stripes import stripe
from .kernels import checked, fewer_forms, place, use_portable, with_faster_forms, with_forms

T = TypeVar("T")
Searches = dict[tuple[str, ...], Recomputations]
"""What the last search has looked at in a slice and its variants, by the names of their nodes."""

DEAR = 1.1
"""Times the usual instructions from where what a budget costs with fast kernels is compared with what it costs where the kernels that take least
memory come first, and faster ones take what is left: less is computed again there."""
CALL_COST = 1e-4
"""What one more call of a kernel counts as, of the usual MACs: a thousand as a tenth of them."""
STRIPED_WORK = 100_000
"""Nodes that the search for what to compute again walks, where parts run in stripes of rows."""
STRIPED_ROUNDS = 4
"""Times that more is computed again beside what runs in stripes."""
PATIENCE = 5
"""Times the usual work for placing what lies beside stripes of values that are computed again."""
RECOMPUTED_SHARES = (0.25, 0.5, 0.75)
"""How far above a budget, of the way to it, computing values again leaves the bytes alive where the rest is offloaded."""
ATTEMPTS = 6
"""Placements may need more bytes than are alive at once: so often graphs with fewer of them are tried."""
APART_ATTEMPTS = 3
"""Faster kernels of a training step leave less for inference beside it, whose own take more: so often less is tried for the step."""


def fit_all(
    parts: Sequence[Slice], options: Options, arena: int, update: int, total: Callable[[Options], int], taken: Callable[[Slice], float]
) -> list[Slice]:
    """The slices that fit the budget, with portable kernels, layers in stripes and values computed again where they must.

    arena: what the budget leaves for the arena; update: bytes of it that an update of accumulated gradients takes; total: bytes that training
    takes with other options; taken: about how many instructions a slice takes. Raises BudgetError.
    """
    if update > max(arena, 0):
        need = f"an update pages {update:,} bytes of moments into the arena, for which {max(arena, 0):,} are left"
        raise BudgetError(f"ram={options.ram}", need, "leave offload out, or pass accumulate=1")
    cost = options.slow.cost if options.pages_activations else None
    choices = list[list[Slice]]()
    for portable, kind in ((False, parts), (True, [use_portable(part) for part in parts])):
        found = [part for part in (fit(part, arena, cost) for part in kind) if part]
        if len(found) == len(parts):
            alike = all(part.saving == found[0].saving for part in found)
            choices.append(found if alike and not portable else with_faster_forms(found, arena))
            if taken(choices[-1][-1]) <= DEAR * taken(parts[-1]):
                break
    if choices:
        return min(choices, key=lambda slices: taken(slices[-1]))
    parts, state = kind, (options.ram or 0) - arena
    searches = [Searches() for _ in parts]
    last = [again_in_stripes(part, arena, looked) for part, looked in zip(parts, searches, strict=True)]
    if arena > 0 and all(part.plan.arena_bytes <= arena for part in last):
        return with_faster_forms(last, arena)
    shrunk = [shrink(part, cost is not None) for part in parts]
    last = [min(pair, key=_height) for pair in zip(last, shrunk, strict=True)]
    if max(map(_height, last)) <= arena:
        return with_faster_forms(last, arena)
    usual, least = max(map(_height, parts)) + state, _least(parts, shrunk, searches, max(update, *map(_height, last))) + state
    train = len(parts) > 1
    what, widest = "training" if train else "inference", max(parts, key=_height)
    peak = widest.plan.steps[widest.plan.peak_step] if widest.plan.steps else None
    twice = f"Computing values twice lowers it from {usual:,}" if least < usual else "Computing values twice does not lower it"
    at = f": the peak is at step {peak.name!r} of the {peak.phase} phase" if peak else ""
    need = f"{what} needs at least {least:,} bytes; ram allows {options.ram:,}. {twice}{at}"
    if not train:
        raise BudgetError(f"ram={options.ram}", need, "choose a smaller model")
    raise BudgetError(f"ram={options.ram}", need, advice(options, total, usual))


def _height(part: Slice) -> int:
    return part.plan.arena_bytes


def _least(parts: Sequence[Slice], shrunk: Sequence[Slice], searches: Sequence[Searches], least: int) -> int:
    """Bytes of an arena that `fit_all` is known to meet, from `least` on.

    What the last search finds depends on the budget, so that it may miss what it reached for another: it is run for each number before that is
    named. What it misses is added, and from then on at least twice what was added before, up to what `shrink` reaches for any budget.
    """
    most, step = max(map(_height, shrunk)), 0
    while least < most:
        wide = [i for i, part in enumerate(shrunk) if _height(part) > least]
        found = max(_height(again_in_stripes(parts[i], least, searches[i])) for i in wide)
        if found <= least:
            break
        step = max(found - least, 2 * step)
        least = min(least + step, most)
    return least


def fit_apart(
    parts: Sequence[Slice], options: Options, arena: int, update: int, total: Callable[[Options], int], taken: Callable[[Slice], float]
) -> list[Slice]:
    """The same where inference and training lie beside each other in the arena, because a step may be left in the middle. Raises BudgetError."""
    if len(parts) == 1:
        return fit_all(parts, options, arena, update, total, taken)
    cost = options.slow.cost if options.pages_activations else None
    for portable, infer, train in ((False, parts[0], parts[1]), (True, shrink(use_portable(parts[0])), use_portable(parts[1]))):
        rest = _beside(infer, arena)
        found = fit(train, rest, cost) if update <= rest else None
        if found:
            return _faster_apart(infer, found, arena, update) if portable else [_alike(infer, found, arena), found]
    last, rest = shrink(train, cost is not None), _beside(infer, arena)
    if max(_height(last), update) <= rest:
        return _faster_apart(infer, last, arena, update)
    least = (options.ram or 0) - rest + max(_height(last), update)
    need = f"a training step in slices and inference beside it need at least {least:,} bytes; ram allows {options.ram:,}"
    raise BudgetError(f"ram={options.ram}", need, "leave slice_instructions out: then inference and training share the arena")


def _beside(infer: Slice, arena: int) -> int:
    """Bytes of an arena that inference leaves to a training step."""
    return arena - -(-infer.plan.arena_bytes // 8) * 8  # KT_ALIGNMENT


def _alike(infer: Slice, train: Slice, arena: int) -> Slice:
    """Inference with the kernels of a training step that had to give some up, where there is room: the bits are the same with any, but the weights
    of a layer are in flash twice where the two take different ones."""
    if infer.saving == train.saving:
        return infer
    (alike,) = with_forms([infer], train.saving)
    return checked(alike) if train.plan.arena_bytes <= _beside(alike, arena) else infer


def _faster_apart(infer: Slice, train: Slice, arena: int, update: int) -> list[Slice]:
    """Slices that fit beside each other with portable kernels, with the fastest that were found to; each layer has the same in both, so that its
    weights are in flash once."""
    room = _beside(infer, arena)
    for _ in range(APART_ATTEMPTS):
        (faster,) = with_faster_forms([train], room)
        (alike,) = with_forms([infer], faster.saving)
        excess = faster.plan.arena_bytes - _beside(alike, arena)
        if excess <= 0 and update <= _beside(alike, arena):
            return [checked(alike), faster]
        room -= max(excess, 8)
        if room < max(update, train.plan.arena_bytes):
            break
    return [infer, train]


def recomputations(part: Graph, align: int = WORD, target: str = "", saving: Mapping[str, int] | None = None) -> Recomputations:
    """What a training slice may recompute, with the memory of a target's kernels."""
    kernels = with_kernels(part, target, saving)
    return Recomputations(kernels, scratch_of(kernels), frozenset(caller_buffers(kernels)), align)


def offloads(part: Slice, graph: Graph) -> Offloads:
    """What a training slice, or a variant of its graph, may offload, with the memory of a target's kernels."""
    kernels = with_kernels(graph, part.target, part.saving)
    return Offloads(kernels, scratch_of(kernels), frozenset(caller_buffers(kernels)), part.plan.alignment)


def offload_least(part: Slice, least: int) -> Slice:
    """The slice with as little in the arena as offloading reaches, but not below `least` bytes, for the fewest bytes to move."""
    choices = offloads(part, part.graph)
    chosen = choices.choose(max(choices.least(), least))
    return min(part, _like(part, offload(part.graph, chosen or ())), key=_height)


def fit(part: Slice, arena: int, transfer_cost: float | None = None) -> Slice | None:
    """The slice whose plan fits the arena for the fewest extra MACs that were found, with layers in stripes and values computed again.

    transfer_cost: MACs that a byte moved to slow memory or back counts as; None: nothing may be offloaded. None where none was found.
    """
    if part.plan.arena_bytes <= arena:
        return part
    if arena <= 0:
        return None
    budget = arena
    for _ in range(ATTEMPTS):
        found = [_like(part, graph) for graph in _variants(part, budget, transfer_cost is not None)]
        if not found:
            return None
        fitting = [f for f in found if f.plan.arena_bytes <= arena]
        if not fitting:  # a few slower kernels cost less than computing more again
            slower = [fewer_forms([f], arena) for f in found if f.plan.lower_bound <= arena]
            fitting = [f for fs in slower if fs for f in fs]
        if fitting:
            return min(fitting, key=lambda f: (_work(f, part, transfer_cost or 0), f.plan.arena_bytes))
        budget = min(budget, *(f.plan.lower_bound for f in found)) - 1
    return None


def _work(variant: Slice, usual: Slice, transfer_cost: float) -> float:
    """MACs of a variant, with what its transfers count as; each further call takes time and flash too."""
    calls = len(variant.graph.nodes) - len(usual.graph.nodes)
    return total_macs(variant.graph) + transfer_cost * moved_bytes(variant.graph) + calls * CALL_COST * total_macs(usual.graph)


def _variants(part: Slice, budget: int, offloading: bool) -> Iterator[Graph]:
    """Graphs whose bytes alive are within the budget: with recomputation or offloading, with stripes or segments, with all."""
    for base in _bases(part, budget):
        for graph in segmentations(base):
            search = recomputations(graph, part.plan.alignment, part.target, part.saving)
            choice = search.choose(budget)
            if choice is not None:
                yield choice.apply(graph)
            if offloading:
                yield from _with_offloads(part, graph, search, budget)
            if choice is not None and not choice.dropped:
                break  # shorter segments only cost more
    for goal in (budget, 0):  # the least of all where the first found does not reach the budget
        by_rows = _by_rows(part, goal)
        choice = recomputations(by_rows, part.plan.alignment, part.target, part.saving).greedy(budget, STRIPED_WORK)
        if by_rows is not part.graph and choice is not None:
            yield choice.apply(by_rows)
            break


def again_in_stripes(part: Slice, budget: int, searches: Searches | None = None) -> Slice:
    """Values computed again first, and then in stripes whatever needs most: the steps of that do not bound what is computed again. The slice of the
    least memory that was found, for where nothing else is within the budget: it takes seconds, and up to a half of the MACs.

    searches: what was looked at for other budgets of the same slice.
    """
    trained = bool(part.graph.phase("backward"))
    found, aside, base = [part if trained else fit(part, budget) or part], dict[str, int](), part
    searches = {} if searches is None else searches
    for _ in range(STRIPED_ROUNDS if trained else 0):
        nodes = tuple(node.name for node in base.graph.nodes)
        if nodes not in searches:
            outside = frozenset(caller_buffers(base.kernels))
            searches[nodes] = Recomputations(base.kernels, scratch_of(base.kernels), outside, part.plan.alignment, True)
        search = searches[nodes].beside(aside)
        again = _like(part, search.nearest(budget).apply(base.graph))
        found.append(_like(part, _by_rows(again, budget), PATIENCE))
        whole, cut = _most_alive(again), _most_alive(found[-1], STRIPE)
        saved = aside | {name: max(whole[name] - most, 0) for name, most in cut.items() if name in whole}
        streamed = stream_rows(base.graph, _standing(found[-1], budget))
        if found[-1].plan.arena_bytes <= budget or (saved == aside and streamed is base.graph):
            break
        aside = saved
        base = base if streamed is base.graph else _like(part, streamed)
    return min(found, key=_height)


def _most_alive(part: Slice, within: str = "") -> dict[str, int]:
    """Of each family of nodes, those that have `within` in their names, the most bytes alive at one of them."""
    found = dict[str, int]()
    for node, kinds in zip(part.graph.nodes, part.plan.live, strict=True):
        if within in node.name:
            found[family(node)] = max(found.get(family(node), 0), sum(kinds.values()))
    return found


def _standing(part: Slice, budget: int) -> list[str]:
    """Gradients that need not be whole, and are alive at a step above the budget."""
    nodes, totals = part.graph.nodes, [sum(kinds.values()) for kinds in part.plan.live]
    found = list[str]()
    for accumulator, name in streamable(part.graph).items():
        steps = [i for i, n in enumerate(nodes) if accumulator in n.outputs or accumulator in n.inputs.values()]
        if max(totals[steps[0] : steps[-1] + 1]) > budget:
            found.append(name)
    return found


def _with_offloads(part: Slice, graph: Graph, search: Recomputations, budget: int) -> Iterator[Graph]:
    """Values in slow memory alone, and beside others that are computed again: those that bring the bytes alive a part of the way down."""
    now = search.look(frozenset())[0].bytes
    goals = [None, *(budget + int((now - budget) * share) for share in RECOMPUTED_SHARES)]
    for goal in goals if now > budget else [None]:
        some = None if goal is None else search.choose(goal)
        if goal is not None and (some is None or not some.dropped):
            continue
        again = graph if some is None else some.apply(graph)
        moved = offloads(part, again).choose(budget)
        if moved is not None:
            yield offload(again, moved)


def _bases(part: Slice, budget: int) -> Iterator[Graph]:
    """The slice as it is, with reversible blocks reconstructed where there are some, and in stripes where there is something to stripe."""
    yield part.graph
    reversed_ = reconstruct(part.graph)
    if reversed_ is not part.graph:
        yield reversed_
    in_stripes = _striped(part, budget)
    if in_stripes is not part.graph:
        yield in_stripes


def _striped(part: Slice, budget: int) -> Graph:
    scratch = {node.name: scratch_bytes(part.kernels, node) for node in part.kernels.nodes}
    return stripe(part.graph, budget, lambda node: scratch[node.name], frozenset(caller_buffers(part.graph)), part.plan.alignment)


def _by_rows(part: Slice, budget: int) -> Graph:
    scratch = {node.name: scratch_bytes(part.kernels, node) for node in part.kernels.nodes}
    outside = frozenset(caller_buffers(part.graph))
    return row_stripes(part.graph, budget, lambda node: scratch[node.name], outside, part.plan.alignment)


def _like(part: Slice, graph: Graph, patience: int = 1) -> Slice:
    """Another graph of a slice, planned as the slice is."""
    return place(graph, part.plan.alignment, part.plan.proved, target=part.target, saving=part.saving, patience=patience)


def shrink(part: Slice, offloading: bool = False) -> Slice:
    """The least memory that stripes, segments and recomputation, or offloading, reach, whatever they cost."""
    found = [part]
    for base in _bases(part, 0):
        *_, graph = segmentations(base)
        found.append(_like(part, graph))
        found.append(_like(part, recomputations(graph, part.plan.alignment, part.target, part.saving).least().apply(graph)))
        if offloading:
            least = recomputations(graph, part.plan.alignment, part.target, part.saving).least().apply(graph)
            found += [_like(part, offload(g, offloads(part, g).candidates())) for g in (graph, least)]
    found.append(_like(part, _by_rows(part, 0)))
    return min(found, key=_height)


def advice(options: Options, total: Callable[[Options], int], now: int) -> str:
    """The three changes that save most, each planned for real. total: bytes that training takes with other options."""
    saved: list[tuple[int, str]] = []
    for words, other in _changes(options):
        try:
            need = total(other)
        except CompileError:
            continue
        if need < now:
            saved.append((need, words))
    saved.sort()
    return "; ".join(f"{words}: {need:,} bytes" for need, words in saved[:3]) or "train fewer layers, or choose a smaller model"


def _with(frozen: T, **changes: Any) -> T:
    """An optimizer or a method with other fields: each is a frozen dataclass, which their base does not say."""
    return cast(T, replace(cast(Any, frozen), **changes))


def _changes(options: Options) -> Iterator[tuple[str, Options]]:
    if options.accumulate > 1:
        yield "accumulate=1", replace(options, accumulate=1)
    if options.moments_in_ram:
        yield "without moments_in_ram", replace(options, moments_in_ram=0)
    if options.storage == "block16":
        yield 'storage="block8"', replace(options, storage="block8")
    if options.optimizer.moments_per_parameter:
        if options.optimizer.state_bits == 32:
            yield "state_bits=8", replace(options, optimizer=_with(options.optimizer, state_bits=8))
        if getattr(options.optimizer, "momentum", 0):
            yield "momentum=0", replace(options, optimizer=_with(options.optimizer, momentum=0.0, nesterov=False))
    for i, method in enumerate(options.methods):
        name = type(method).__name__
        others = options.methods[:i], options.methods[i + 1 :]
        if getattr(method, "layers", "last:1") != "last:1":
            yield f'{name}(layers="last:1")', replace(options, methods=(*others[0], _with(method, layers="last:1"), *others[1]))
        if method.sizes is not None and getattr(method, method.sizes.field) > method.sizes.values[0]:
            smallest = {method.sizes.field: method.sizes.values[0]}
            words = f"{name}({method.sizes.field}={method.sizes.values[0]})"
            yield words, replace(options, methods=(*others[0], _with(method, **smallest), *others[1]))
        if len(options.methods) > 1:
            yield f"without {name}", replace(options, methods=(*others[0], *others[1]))
