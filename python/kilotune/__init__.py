"""kilotune: fine-tune in kilobytes.

import kilotune as kt
model = kt.load("kws.tflite")
build = kt.build(model, "build/kws", method=kt.LoRA(rank=4, layers="last:4"), optimizer=kt.SGD(lr=0.1))
with build.open("qemu:mps2-an386") as device:
    device.fit(x, y)
"""

from kiloc import (
    AdapterOptions,
    BinaryCrossEntropy,
    BudgetError,
    CompileError,
    CrossEntropy,
    Huber,
    InformationMaximisation,
    KilotuneError,
    MeanSquaredError,
    ModelError,
    NextToken,
    Replay,
    SoftCrossEntropy,
)
from kiloc.features import FrontEnd, LogMel, Mfcc, MicroFrontend, Statistics
from kiloc.optim import SGD, Adam, CosineDecay, LinearDecay, Lion, StepDecay
from kiloc.peft import BiasOnly, BottleneckAdapter, Full, Head, LoRA, ScaleShift, SparseUpdate

from ._version import __version__
from .adapters import Adapter
from .building import Build, build, open_build
from .config import Config, load_config
from .devices import DataWarning, Device, DeviceError, Gate, History, Rehearsal, TrainingInterrupted
from .labels import circular_labels
from .merging import merge
from .model import Model, load
from .options import Memory, Target, Training
from .packages import package
from .pictures.picture import Picture
from .pictures.training import TrainingReport
from .plugins import load_plugin
from .replaying import ReplayReport, replay
from .search import SearchResult, search
from .sharding import Group, sharded
from .threshold import Threshold

__all__ = [
    "SGD",
    "Adam",
    "Adapter",
    "AdapterOptions",
    "BiasOnly",
    "BinaryCrossEntropy",
    "BottleneckAdapter",
    "BudgetError",
    "Build",
    "CompileError",
    "Config",
    "CosineDecay",
    "CrossEntropy",
    "DataWarning",
    "Device",
    "DeviceError",
    "FrontEnd",
    "Full",
    "Gate",
    "Group",
    "Head",
    "History",
    "Huber",
    "InformationMaximisation",
    "KilotuneError",
    "LinearDecay",
    "Lion",
    "LoRA",
    "LogMel",
    "MeanSquaredError",
    "Memory",
    "Mfcc",
    "MicroFrontend",
    "Model",
    "ModelError",
    "NextToken",
    "Picture",
    "Rehearsal",
    "Replay",
    "ReplayReport",
    "ScaleShift",
    "SearchResult",
    "SoftCrossEntropy",
    "SparseUpdate",
    "Statistics",
    "StepDecay",
    "Target",
    "Threshold",
    "Training",
    "TrainingInterrupted",
    "TrainingReport",
    "__version__",
    "build",
    "circular_labels",
    "load",
    "load_config",
    "load_plugin",
    "merge",
    "open_build",
    "package",
    "replay",
    "search",
    "sharded",
]
