"""kiloc: the compiler behind kilotune. What stands in `__all__` is its surface, and each package in it is a door to more.

    load, compile_graph     a file to a Graph, a Graph and Options to a Compilation
    Options, ...            what decides what is generated; CORES is the table of cores
    CompileError, ...       what is raised where a model, an option or a budget is at fault
    CrossEntropy, ...       the losses
    Reversible, ...         reversible networks of float weights

ir        graphs: their text form, verifier and interpreter
ops       the operators
peft      the methods, as optim holds the optimizers
passes    rewrites that stand alone: slices of inference, merging, gradients in real numbers
features  what makes the input of a recording: front ends, in integers
forecast  what a training would take, planned and not built
emit      what the generated code decides, and the layout of state and adapters
continual a replay buffer: what it keeps and draws, in NumPy, and where it lies in a state
export    a Graph back to a model file
report    sizes of a build as data, as text and as a page
"""

from . import continual, emit, export, features, forecast, ir, ops, optim, passes, peft, report
from .autodiff import differentiate
from .continual import Replay
from .cores import CORES, FOLDERS, TARGETS, Core, variants_of
from .errors import BudgetError, CompileError, KilotuneError, ModelError, message
from .heads import Head, head_of
from .losses import (
    LOSSES,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    InformationMaximisation,
    Loss,
    MeanSquaredError,
    NextToken,
    SoftCrossEntropy,
    as_loss,
)
from .options import (
    BACKWARD_WEIGHTS,
    BUFFERS,
    CONSTANT_CHANNELS,
    OFFLOADS,
    PROFILES,
    AdapterOptions,
    Options,
    SlowMemory,
    check_class_names,
    check_offload,
)
from .pipeline import Compilation, Convolution, Dense, Dump, Reversible, compile_graph, load

__all__ = [
    "BACKWARD_WEIGHTS",
    "BUFFERS",
    "CONSTANT_CHANNELS",
    "CORES",
    "FOLDERS",
    "LOSSES",
    "OFFLOADS",
    "PROFILES",
    "TARGETS",
    "AdapterOptions",
    "BinaryCrossEntropy",
    "BudgetError",
    "Compilation",
    "CompileError",
    "Convolution",
    "Core",
    "CrossEntropy",
    "Dense",
    "Dump",
    "Head",
    "Huber",
    "InformationMaximisation",
    "KilotuneError",
    "Loss",
    "MeanSquaredError",
    "ModelError",
    "NextToken",
    "Options",
    "Replay",
    "Reversible",
    "SlowMemory",
    "SoftCrossEntropy",
    "as_loss",
    "check_class_names",
    "check_offload",
    "compile_graph",
    "continual",
    "differentiate",
    "emit",
    "export",
    "features",
    "forecast",
    "head_of",
    "ir",
    "load",
    "message",
    "ops",
    "optim",
    "passes",
    "peft",
    "report",
    "variants_of",
]
