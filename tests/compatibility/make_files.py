"""Writes the files that later versions have to read or refuse: python tests/compatibility/make_files.py [--replace]

They go into a folder named after this version: a model, an adapter, a signed adapter with its public key, a state, a manifest, a configuration, and
what they held (held.json). A folder of a version that was released is never written again; --replace is for the version that is being made.
It also writes the public declarations of this KT_ABI (declarations.py), unless they are there and --replace is not given.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / folder) for folder in ("codegen", "python", "tests")]

import numpy as np  # noqa: E402
from golden.reference import samples, tiny  # noqa: E402

import kilotune as kt  # noqa: E402
from compatibility import declarations  # noqa: E402
from kiloc.export import tflite  # noqa: E402
from kilotune.adapters import signing  # noqa: E402

CONFIG = kt.Config(
    (kt.LoRA(rank=2, layers="first,second"), kt.BiasOnly(), kt.Head()), kt.SGD(lr=0.05, momentum=0.9), model="tiny",
    training={"epochs": 4, "decay": "constant"}, accumulate=2,
)  # fmt: skip


def make(folder: Path) -> None:
    """Train once and keep everything."""
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    CONFIG.save(folder / "config.json")
    x = samples(tiny(), 40)
    with tempfile.TemporaryDirectory() as scratch:
        build = kt.build(kt.load(folder / "tiny.tflite"), Path(scratch) / "b", config=CONFIG, measure=False)
        secret, public = signing.make_keys(Path(scratch) / "key")
        with build.open() as device:
            before = device.infer(x[:8])
            device.fit(x, (x[:, 0] > 0).astype(np.int64), epochs=4, decay="constant")
            adapter, after = device.export_adapter().labelled("kept", 7), device.infer(x[:8])
            (folder / "state.bin").write_bytes(device.state())
        adapter.save(folder / "adapter.kta")
        signing.sign(adapter, secret).save(folder / "signed.kta")
        shutil.copyfile(public, folder / "key.pub")
        shutil.copyfile(build.directory / "manifest.json", folder / "manifest.json")
    held: dict[str, Any] = {
        "inputs": x[:8].tolist(), "before": np.asarray(before).tolist(), "after": np.asarray(after).tolist(), "methods": adapter.methods,
        "values": {name: value.tolist() for name, value in adapter.values().items()},
    }  # fmt: skip
    assert held["before"] != held["after"]
    (folder / "held.json").write_text(json.dumps(held) + "\n")


def main() -> None:
    replace, target, header = "--replace" in sys.argv[1:], HERE / kt.__version__, declarations.snapshot()
    for path in (target, header):
        if path.exists() and not replace:
            raise SystemExit(f"{path.name} is there: files of a released version stay as they are; --replace writes those of the next one anew")
    with tempfile.TemporaryDirectory() as scratch:
        make(Path(scratch))
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for path in Path(scratch).iterdir():
            shutil.copyfile(path, target / path.name)
    header.write_text("\n".join(declarations.declared()) + "\n")
    print(f"written: {target.name}, {header.name}")


if __name__ == "__main__":
    main()
