"""FUNCTION: what .onnx files compute of one tensor."""

from __future__ import annotations

from typing import Any

from kernel_driver import pick

from cases import _lookup
from cases._parts import Meaning
from kiloc.ops.model.function import BINARY, UNARY, Function

PROGRAMS: dict[str, tuple[str, ...]] = {
    "every_name": (
        *("x", "abs", "0.5", "add", "log", "x", "tanh", "exp", "mul", "x", "sigmoid", "x", "softsign", "sub", "softplus", "div"),
        *("x", "x", "erf", "mul", "2.0", "pow", "1.0", "add", "sqrt", "reciprocal", "neg", "add", "3.0", "min", "-2.0", "max"),
    ),
    "hard_swish": ("x", "x", "3.0", "add", "0.0", "max", "6.0", "min", "6.0", "div", "mul"),
    "swish": ("x", "x", "sigmoid", "mul"),
    "clip": ("x", "-0.7", "max", "0.4", "min"),
}

GENERATORS = {"function": (_lookup.kernel_case(lambda r: Function(PROGRAMS[pick(r, *PROGRAMS)])), 16)}


def _real(jax: Any, op: Any, x: Any) -> Any:
    """The program in jax."""
    np, nn = jax.numpy, jax.nn
    unary = {
        "erf": jax.scipy.special.erf, "neg": np.negative, "reciprocal": np.reciprocal, "sigmoid": nn.sigmoid, "softplus": nn.softplus,
        "softsign": nn.soft_sign,
    }  # fmt: skip
    binary = {"add": np.add, "div": np.divide, "max": np.maximum, "min": np.minimum, "mul": np.multiply, "pow": np.power, "sub": np.subtract}
    assert set(binary) == set(BINARY)
    stack: list[Any] = []
    for token in op.program:
        if token == "x":
            stack.append(x)
        elif token in UNARY:
            stack.append(unary.get(token, getattr(np, token, None))(stack.pop()))
        elif token in binary:
            second, first = stack.pop(), stack.pop()
            stack.append(binary[token](first, second))
        else:
            stack.append(float(token))
    return stack.pop()


JAX = {"function": Meaning(_lookup.real(_real))}

trained = _lookup.trained(Function(PROGRAMS["swish"]), 0.03, -110)
