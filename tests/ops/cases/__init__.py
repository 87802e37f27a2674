"""Cases of operators, a file each: every file of this folder whose name has no leading underscore is found, and may define

- GENERATORS: name -> (how a case for the C kernel is drawn, how many): C against NumPy, in `test_kernels_against_numpy.py`;
- graphs(): (name, how a graph of the one operator is drawn): NumPy against TensorFlow Lite Micro, in `test_operators_against_tflm.py`;
- JAX: mnemonic -> what the operator means in real numbers, for its gradient: in `tests/gradients`;
- trained(maker, x, other): puts the operator behind two activations [1, 6, 5, 4] of a model and returns its result, for its gradient too.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from cases._parts import Make, Meaning

MODULES = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")]


def _joined(found: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in found]
    assert len(set(names)) == len(names), f"two cases have one name: {sorted({n for n in names if names.count(n) > 1})}"
    return dict(found)


GENERATORS: dict[str, Any] = _joined([item for m in MODULES for item in getattr(m, "GENERATORS", {}).items()])
GRAPHS: dict[str, Make] = _joined([item for m in MODULES if hasattr(m, "graphs") for item in m.graphs()])
TRAINED: dict[str, Any] = _joined([(m.__name__.rpartition(".")[2], m.trained) for m in MODULES if hasattr(m, "trained")])
JAX: dict[str, Meaning] = _joined([item for m in MODULES for item in getattr(m, "JAX", {}).items()])
