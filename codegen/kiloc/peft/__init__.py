"""Parameter-efficient methods: one file each. `REGISTRY` maps names to classes. A method takes a Graph and returns it with trainable values.

Every file whose name has no leading underscore is loaded by itself. What a method needs that lives outside of this package is exported here, too.
"""

import importlib
import pkgutil

from ._combine import attach_all, exclude, require_free
from ._method import block16, has_weights, named_layers, replace_node, select, with_trainable_bias
from ._registry import BIAS_ROLE, REGISTRY, Calibration, Layers, Method, Part, Rates, Role, Sizes, method_of, option, register, roles
from .adapter import BottleneckAdapter
from .bias import BiasOnly
from .full import Full
from .head import Head
from .lora import LoRA
from .scale_shift import GAIN, ScaleShift, with_gain
from .sparse import SparseUpdate

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    if not _module.name.rpartition(".")[2].startswith("_"):
        importlib.import_module(_module.name)

__all__ = [
    "BIAS_ROLE",
    "GAIN",
    "REGISTRY",
    "BiasOnly",
    "BottleneckAdapter",
    "Calibration",
    "Full",
    "Head",
    "Layers",
    "LoRA",
    "Method",
    "Part",
    "Rates",
    "Role",
    "ScaleShift",
    "Sizes",
    "SparseUpdate",
    "attach_all",
    "block16",
    "exclude",
    "has_weights",
    "method_of",
    "named_layers",
    "option",
    "register",
    "replace_node",
    "require_free",
    "roles",
    "select",
    "with_gain",
    "with_trainable_bias",
]
