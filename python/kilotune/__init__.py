"""kilotune: fine-tune in kilobytes.

    import kilotune as kt
    model = kt.load("kws.tflite")
    build = kt.build(model, "build/kws", method=kt.LoRA(rank=4, layers="last:4"), optimizer=kt.SGD(lr=0.1))
    with build.open("qemu:mps2-an386") as device:
        device.fit(x, y, epochs=3)
"""

from kiloc.errors import BudgetError, CompileError
from kiloc.optim import SGD
from kiloc.peft import BiasOnly, Head, LoRA

from ._version import __version__
from .adapters import Adapter
from .building import Build, build, open_build
from .devices import Device, DeviceError, History
from .model import Model, load

__all__ = [
    "SGD",
    "Adapter",
    "BiasOnly",
    "BudgetError",
    "Build",
    "CompileError",
    "Device",
    "DeviceError",
    "Head",
    "History",
    "LoRA",
    "Model",
    "__version__",
    "build",
    "load",
    "open_build",
]
