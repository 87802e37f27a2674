"""Short C-compatible names for layers, from the long ones that exporters write."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PRODUCTS = set("conv2d conv depthwise matmul gemm biasadd add softmax avgpool averagepool globalaveragepool maxpool mean reshape".split())
_NOISE = re.compile(r"[^0-9a-zA-Z_]+")
_RESERVED = set(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register restrict "
    "return short signed sizeof static struct switch typedef union unsigned void volatile while input output state model arena".split()
)

_OURS = {"loss", "label", "target", "learning_rate", "seed", "accumulated"}
"""What training adds to a graph under these names."""


def identifier(text: str, fallback: str) -> str:
    """`text` as a C identifier in lower case; `fallback` where nothing usable is left."""
    name = _NOISE.sub("_", text).strip("_").lower()
    name = re.sub(r"_+", "_", name)
    if not name or not name[0].isalpha():
        return fallback
    return f"{name}_" if name in _RESERVED else name[:40]


def layer_name(candidates: Iterable[str], fallback: str) -> str:
    """The scope that holds the product of a layer, such as conv2d_3 of 'model/conv2d_3/Conv2D;model/...'."""
    for candidate in candidates:
        for part in candidate.split(";"):
            scopes = part.split("/")
            if len(scopes) > 1 and scopes[-1].split(":")[0].lower().rstrip("0123456789_") in _PRODUCTS:
                found = identifier(scopes[-2], fallback)
                return f"{found}_" if found in _OURS else found
    return fallback
