"""The contract of a method, and the table of all of them.

A method is a frozen dataclass whose fields are what a user may choose. Everything else that the compiler, the command line and the search
know about it is in its class: its name, its usual learning rates, what it adds to a layer and cannot stand beside, the tensors that an
adapter carries for it, the sizes that a search tries. The tables that go by a method are made from these classes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph, Node
from ..ops.model._linear import Linear
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D

Layers = str | Sequence[str]


@dataclass(frozen=True)
class Calibration:
    """Forward activations of the calibration samples by value name, [N, ...], and a seed for initial values."""

    activations: Mapping[str, NDArray[Any]]
    seed: int = 0


@dataclass(frozen=True)
class Rates:
    """Usual learning rates of a method's tensors; docs/rates.md tells how the built-in ones were found.

    reach: sum of the rates of all tensors under SGD. highest: rate of SGD where few tensors are trained. adam, lion: rate of each tensor.
    """

    reach: float
    highest: float
    adam: float
    lion: float


CAREFUL = Rates(0.3, 0.3, 0.001, 0.0003)
"""Of a method that names none: the lowest that any method needs, those of training all weights."""


@dataclass(frozen=True)
class Part:
    """What a method adds to a layer beside a bias.

    title: in messages. excludes: names of the parts that the layer cannot have as well, its own name where there can be only one.
    """

    name: str
    title: str
    excludes: tuple[str, ...]


@dataclass(frozen=True)
class Role:
    """A trained tensor in the file of an adapter; the tensor is named `<layer>.<role>`.

    code: the role's number in the file, 1 to 63; those below 32 are for the methods of kiloc. rank_axis: the extent (0 rows, 1 columns) that is
    a rank or a width: an adapter with fewer fits too, and zeros are added, which `runtime/src/core/adapter.c` does for the roles of kiloc alone.
    None: the extents are fixed.
    """

    code: int
    rank_axis: int | None = None


OUTSIDE = 32
"""First code of a role that a method outside of kiloc may take."""

BIAS_ROLE: Mapping[str, Role] = {"bias": Role(1)}
"""Of methods that train biases, too."""


@dataclass(frozen=True)
class Sizes:
    """Values of an integer field that a search tries, ascending: each trains more than the one before.

    largest: the largest one of a layer. A smaller one trains the first entries along the last axis of the larger one's gradient.
    """

    field: str
    values: tuple[int, ...]
    largest: Callable[[Graph, Node], int]


def option(
    default: Any, help: str, *, least: float | None = None, most: float | None = None, above: float | None = None, below: float | None = None
) -> Any:
    """A field of a method that is an option of the command line, too: `--rank` of `rank`.

    help: a sentence; the command line appends the method's name and the default. least, most: included limits; above, below: excluded ones.
    """
    limits = {"least": least, "most": most, "above": above, "below": below}
    return dataclasses.field(default=default, metadata={"help": help, **{k: v for k, v in limits.items() if v is not None}})


class Method:
    """Base of all methods: a frozen dataclass with `@register`. It has a field `layers`, unless it names its layers itself (`fitting`).

    layers: "all", "last:N" (the last N that the method applies to), names or globs.
    """

    name: ClassVar[str] = ""
    """On the command line, in configurations and reports, and as the method of each `Parameter` that it trains."""
    trained_as: ClassVar[tuple[str, ...]] = ()
    """Other methods that its parameters may name."""
    order: ClassVar[int] = 100
    """Place in lists, and in sets of several methods that a search makes."""
    rates: ClassVar[Rates] = CAREFUL
    part: ClassVar[Part | None] = None
    """What it adds to a layer; None: a trained bias at most, which stands beside everything."""
    roles: ClassVar[Mapping[str, Role]] = {}
    """The tensors of an adapter that it trains, by the end of their names."""
    kinds: ClassVar[tuple[type, ...]] = (Linear, DepthwiseConv2D)
    """Operators of the layers that it applies to."""

    searched: ClassVar[bool] = True
    """Whether `kilotune search` tries it."""
    sizes: ClassVar[Sizes | None] = None
    """What a search varies; None: the method with its defaults."""
    by_hand: ClassVar[int | None] = None
    """The size with which one would train the last layers without a search, 0 where there are no `sizes`; None: one would not. What a search
    chooses has to beat these."""
    companion: ClassVar[bool] = False
    """Cheap, and worth trying together with every other method."""
    includes: ClassVar[tuple[str, ...]] = ()
    """Names of methods whose tensors of a layer it trains as well."""

    @property
    def replaces_layers(self) -> bool:
        """Whether the frozen model itself changes; such methods come first."""
        return False

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        """The graph with the method's trainable values, and parameters that name them. Raises CompileError."""
        raise NotImplementedError

    def describe(self) -> str:
        """One line for reports: the name and what was chosen."""
        return f"{self.name} {getattr(self, 'layers', '')}".strip()

    @classmethod
    def fitting(cls, graph: Graph) -> list[Node]:
        """The layers that it applies to, in the order of the graph: of those that the first result, which a loss reads, depends on."""
        read = graph.before(graph.outputs[0])
        return [n for n in graph.phase("forward") if isinstance(n.op, cls.kinds) and n.name in read]

    @classmethod
    def sized(cls, size: int, layers: Layers) -> Method:
        """The method as a search tries it: with one of `sizes` (0 where there are none), on some layers."""
        chosen: dict[str, Any] = {"layers": layers} if cls.sizes is None else {"layers": layers, cls.sizes.field: size}
        return cls(**chosen)


MethodClass = TypeVar("MethodClass", bound=type[Method])

REGISTRY: dict[str, type[Method]] = {}
"""By name, in their `order`."""


def register(cls: MethodClass) -> MethodClass:
    """Class decorator: makes the method known under its name. Raises CompileError where the class does not fit in with the others."""
    where = f"method {cls.__name__}"
    if not (dataclasses.is_dataclass(cls) and re.fullmatch(r"[a-z][a-z0-9-]*", cls.name)):
        what = f"is no dataclass with a name in small letters (name is {cls.name!r})"
        raise CompileError(where, what, 'put @register above @dataclass(frozen=True), and name = "my-method" into the class')
    for other in REGISTRY.values():
        shared = {cls.name, cls.__name__, *cls.trained_as} & {other.name, other.__name__, *other.trained_as}
        if shared:
            what = f"{', '.join(sorted(shared))} is the name of {other.__module__}.{other.__name__} already"
            raise CompileError(where, what, "choose another name; a file of methods is loaded once")
    _check_roles(cls, where)
    ordered = sorted([*REGISTRY.values(), cls], key=lambda c: (c.order, c.name))
    REGISTRY.clear()
    REGISTRY.update((c.name, c) for c in ordered)
    return cls


def _check_roles(cls: type[Method], where: str) -> None:
    known = roles()
    names = {role.code: name for name, role in known.items()}
    for name, role in cls.roles.items():
        if not 1 <= role.code <= 63:
            raise CompileError(where, f"the role {name!r} has the code {role.code}", f"codes are 1 to 63; take one from {OUTSIDE} upwards")
        if role.code >= OUTSIDE and role.rank_axis is not None:
            what = f"the role {name!r} has a rank_axis, which devices know of the roles below {OUTSIDE} alone"
            raise CompileError(where, what, "leave rank_axis out: adapters then have the rank of the build")
        if known.get(name, role) != role or names.get(role.code, name) != name:
            what = f"the role {name!r} with code {role.code} contradicts {names.get(role.code, name)!r} of another method"
            raise CompileError(where, what, f"take a name and a code, from {OUTSIDE} upwards, that no other method has")


def roles() -> dict[str, Role]:
    """The roles of all methods by name."""
    return {name: role for cls in REGISTRY.values() for name, role in cls.roles.items()}


def method_of(name: str) -> type[Method]:
    """The method that a parameter names. Raises CompileError."""
    for cls in REGISTRY.values():
        if name in (cls.name, *cls.trained_as):
            return cls
    raise unregistered(name)


def unregistered(name: str) -> CompileError:
    hint = "put @register (of kiloc.peft) above its class, and load the file: with --plugin, kt.load_plugin, or by importing it"
    return CompileError(f"method {name!r}", "is not among the methods that are registered", hint)
