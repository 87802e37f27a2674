"""`kilotune federated new`: an app for Flower, with a build, samples to simulate with, and the programs of server and clients."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from kiloc import AdapterOptions
from kiloc.emit import SIGNATURE_BYTES
from kiloc.peft import Method

from .. import resources
from ..building import open_build
from ..data import Dataset
from ..files import whole_directory
from ..model import load
from .making import build_of, write_data

TEMPLATES = Path(__file__).parent / "app_files"
CORE = "cortex-m4"
MOST_ROWS = 100_000
"""Samples of a file that are copied into an app."""


@dataclass(frozen=True)
class App:
    """What was made. samples: "data", "digits" or "simulated"; adapter_bytes: of what travels; constants: of the model."""

    directory: Path
    model: str
    samples: str
    adapter_bytes: int
    constants: int


def make_app(
    directory: str, model: str | None = None, data: Dataset | None = None, methods: Sequence[Method] = (), loss: Any = "cross_entropy",
    private_updates: bool = False,
) -> App:  # fmt: skip
    """Make an app in a folder that does not exist or is empty; it appears whole or not at all. Raises CompileError, DeviceError.

    model: a file; None takes the digits of the examples. data: the samples of all simulated clients; None takes digits or noise.
    private_updates: the build brings what devices noise their updates with. Noise moves channels that are constant, so all trained layers keep them.
    """
    loaded, target = load(model or resources.digits() / "digits.tflite"), Path(directory).resolve()
    with whole_directory(target, lambda found: found.is_dir() and not any(found.iterdir()), "exists and is not empty") as folder:
        kind = "data" if data else "simulated" if model else "digits"
        options = {"target": CORE, "measure": False, "constant_channels": "frozen", "adapters": AdapterOptions(private_updates=private_updates)}
        build_of(loaded, folder, options, data, methods, loss, example=model is None)
        write_data(folder, folder / "data.npz", data, kind, MOST_ROWS)
        made = open_build(folder / "model")
        app = App(target, loaded.name, kind, made.manifest["adapter_bytes"] - SIGNATURE_BYTES, made.report["flash"]["weights"])
        values = {
            "name": _name(target.name), "file": loaded.path.name, "samples": kind, "adapter_bytes": app.adapter_bytes, "constants": app.constants,
            **{key: json.dumps(str(target / name)) for key, name in {"build": "model", "data": "data.npz", "result": "shared.kta"}.items()},
        }  # fmt: skip
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
            keep_trailing_newline=True,
        )  # fmt: skip
        (folder / "fleet").mkdir()
        (folder / "fleet" / "__init__.py").write_text('"""Apps of server and clients."""\n', encoding="utf-8")
        for template in sorted(TEMPLATES.glob("*.j2")):
            place = folder / "fleet" if template.stem.endswith("_app.py") else folder
            (place / template.stem).write_text(environment.get_template(template.name).render(values), encoding="utf-8")
    return app


def _name(folder: str) -> str:
    """A name of an app as Flower takes it: letters, digits and hyphens, a letter first, at most 32."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")
    return (name if name[:1].isalpha() else f"fleet-{name}")[:32].rstrip("-")
