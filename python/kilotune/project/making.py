"""The files of a new project."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from kiloc import CompileError
from kiloc.peft import BiasOnly, LoRA, Method

from .. import boards, compilers, resources
from ..building import build, open_build
from ..data import Dataset
from ..devices.manifest import Manifest
from ..files import whole_directory
from ..model import Model, load
from ..packages.contents import Contents, Identity
from .samples import of_digits, simulated, write_samples

STACK = 8192
"""Bytes of a board's RAM that are left to the program beside the model."""
TEMPLATES = Path(__file__).parent / "files"
METHODS: tuple[Method, ...] = (BiasOnly(), LoRA(layers="all"))
EXAMPLE_RATE = 0.2
"""Learning rate of the digits, as in examples/digits."""


@dataclass(frozen=True)
class Project:
    """What was made. samples: "data", "digits" or "simulated"."""

    directory: Path
    board: boards.Board
    model: str
    samples: str


def make(
    directory: str, board: str, model: str | None = None, data: Dataset | None = None, methods: Sequence[Method] = (), loss: Any = "cross_entropy"
) -> Project:
    """Make a project in a folder that does not exist or is empty; it appears whole or not at all. Raises CompileError, DeviceError.

    model: a file; None takes the digits of the examples. data: samples for the firmware; None simulates some, which the project says.
    """
    chosen = boards.load(board)
    if chosen.linker_script is None:
        raise CompileError(board, "no firmware is linked for this board", f"boards: {', '.join(row['board'] for row in boards.overview())}")
    loaded = load(model or resources.digits() / "digits.tflite")
    with whole_directory(Path(directory), lambda target: target.is_dir() and not any(target.iterdir()), "exists and is not empty") as folder:
        kind = "data" if data else "simulated" if model else "digits"
        sizes = {m.name: m.size for m in chosen.memories}
        options = {"target": chosen.core, "ram": max(1, sizes["RAM"] - STACK), "flash": sizes["FLASH"]}
        build_of(loaded, folder, options, data, methods, loss, example=model is None)
        write_data(folder, _made(folder / "data") / "samples.npz", data, kind)
        write_samples(folder / "data" / "samples.npz", folder / "model", _made(folder / "src") / "samples.h")
        _write_files(folder, chosen, loaded, kind)
    return Project(Path(directory), chosen, loaded.name, kind)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build_of(model: Model, folder: Path, options: dict[str, Any], data: Dataset | None, methods: Sequence[Method], loss: Any, example: bool) -> None:
    """The model in folder/model. options: of `kilotune.build`, to which data adds a calibration and names of classes."""
    if example:
        from kiloc.optim import SGD

        options = options | {"optimizer": SGD(lr=EXAMPLE_RATE)}
    if data is not None:
        x, y = data.first(64)
        options = options | {"calibration": x if y is None else (x, y), "class_names": data.class_names}
    build(model, folder / "model", method=list(methods or METHODS), loss=loss, **options)


def write_data(folder: Path, file: Path, data: Dataset | None, kind: str, most: int = 200) -> None:
    """The samples as an .npz file, at most so many of `data`."""
    arrays: dict[str, Any]
    if data is not None:
        x, y = data.first(most)
        arrays = (
            _named(x if isinstance(x, list) else [x])
            | ({} if y is None else {"y": y})
            | ({"class_names": np.array(data.class_names)} if data.class_names else {})
        )
    elif kind == "digits":
        arrays = dict(zip(("x", "y"), of_digits(), strict=True))
    else:
        inputs, labels = simulated(Manifest.load(folder / "model"))
        arrays = _named(inputs) | {"y": labels}
    np.savez(file, allow_pickle=False, **arrays)


def _named(inputs: list[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays of samples, as data files call them."""
    return {"x": inputs[0]} if len(inputs) == 1 else {f"x{i}": x for i, x in enumerate(inputs)}


def _write_files(folder: Path, board: boards.Board, model: Model, kind: str) -> None:
    """The application and what builds it; of the boards only the one that was asked for."""
    made = open_build(folder / "model")
    root = resources.boards()
    inside = board.folder.is_relative_to(root)
    place = board.folder.relative_to(root) if inside else Path("own") / board.folder.name
    shutil.copytree(root / "common", folder / "boards" / "common")
    shutil.copyfile(root / "kt_board.h", folder / "boards" / "kt_board.h")
    shutil.copytree(board.folder, folder / "boards" / place)
    shutil.copytree(resources.cmake(), folder / "cmake")
    own = resources.own_firmware()
    shutil.copytree(own / "platform", folder / "platform", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("board.py", *(["emulate.py"] if board.emulator else [])):
        shutil.copyfile(own / name, folder / name)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    values = {
        "name": made.manifest["name"], "prefix": made.manifest["prefix"], "labels": made.manifest["targets"] == "labels",
        "inputs": (contents := Contents.of(made, Identity())).inputs, "outputs": contents.outputs,
        "board": board, "place": place.as_posix(), "environment": re.sub(r"\W", "_", board.name), "samples": kind, "file": model.path.name,
        "tools": compilers.prefix_of(board.core),
    }  # fmt: skip
    for template in sorted(TEMPLATES.glob("*.j2")):
        target = folder / ("src" if template.name == "main.c.j2" else ".") / template.stem
        target.write_text(environment.get_template(template.name).render(values), encoding="utf-8")
