"""Operators, one file each, in rooms by their role. `REGISTRY` maps mnemonics to classes.

model     what a model or an adapter computes, each with its gradient: the place for a further operator of TFLite or ONNX
backward  gradients that several operators share, and the losses
wide      the same for int16 activations, for inference
update    what an optimizer step is made of
fast      stand-ins for operators above, with constants in the order that a fast kernel reads
paging    moves of values between memories and between parts of an image

The contract that they fulfil is `kiloc.ir.operator`. Files whose name begins with an underscore hold what several share;
what of it an operator from outside needs is exported here.
"""

import importlib
import pkgutil

from ..ir.operator import REGISTRY
from ..numerics import exponent_for
from ._activation import clamp_range, far_apart
from ._sums import output_scales
from .backward._gradient import RequantizedGradient, batch
from .backward.channel_moments import Moments
from .backward.gradient_mask import masked
from .model._linear import Linear
from .model.embedding import token_codes, tokens_of
from .model.gru import Gru
from .update.integer_sum import LARGEST_SUM


def _load_all() -> None:
    """Import every operator file, so that the registry is complete."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        if not module.name.rpartition(".")[2].startswith("_"):
            importlib.import_module(module.name)


_load_all()

__all__ = [
    "LARGEST_SUM",
    "REGISTRY",
    "Gru",
    "Linear",
    "Moments",
    "RequantizedGradient",
    "batch",
    "clamp_range",
    "exponent_for",
    "far_apart",
    "masked",
    "output_scales",
    "token_codes",
    "tokens_of",
]
