"""What training without constant channels takes, beside training with the channels of everything that is trained.

    make bench-constant-channels

Planned bytes and MACs, and cycles that the counter of the measuring rig gives the Cortex-M4: zero wait states, three cycles for a taken branch. No
board was measured. person_detect has no channel that can go: its rows say what looking for them costs, which is nothing. "VWW-like" is the same
network, MobileNet v1 0.25 on 96x96 pixels, in which the biases of 36 % of the channels of each layer but the last one lie so far below that their
ReLU never opens: as in the model of MLPerf Tiny for visual wake words, where these are 979 of 2,738 channels. Which channels they are is drawn. The
two rows of a training have the same bits.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import speed
from prose import wrapped

import kilotune as kt
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.peft import Method

SHARE, FAR_BELOW = 0.36, -(2**24)
TRAININGS: dict[str, list[Method] | None] = {
    "inference alone": None,
    "biases, all": [kt.BiasOnly()],
    "LoRA r=4, all": [kt.LoRA(rank=4, layers="all")],
    "ScaleShift, all": [kt.ScaleShift()],
}
ROWS = (("person_detect", "biases, all"), *(("VWW-like", what) for what in TRAININGS))
HEADINGS = ("model", "trained", "constant channels", "removed", "MACs of inference", "of a step", "bytes", "weights and tables", "inference", "step")


def vww_like() -> kt.Model:
    """person_detect with channels that are constant."""
    model = speed.load("person_detect")
    rng, values = np.random.default_rng(0), []
    for node in [n for n in model.graph.nodes if isinstance(n.op, Conv2D | DepthwiseConv2D)][:-1]:
        bias = model.graph.values[node.inputs["bias"]]
        assert bias.data is not None
        data = np.where(rng.random(bias.data.shape) < SHARE, FAR_BELOW, bias.data).astype(np.int32)
        values.append(type(bias)(bias.name, bias.type, bias.kind, data, bias.origin))
    return kt.Model(model.path, model.graph.with_values(values))


def measured(model: kt.Model, methods: list[Method] | None, kept: str, cycles: bool) -> list[str]:
    """Cells of one build from the channels that are removed on."""
    with tempfile.TemporaryDirectory() as folder:
        build = kt.build(model, Path(folder) / "build", method=methods, constant_channels=kept, measure=False)
        report = build.report
        regions = speed.counted(build, "m4", speed.counter("m4"), True) if cycles else []
    memory, macs = report["memory"], report["macs"]
    step = macs["forward"] + macs["backward"] if methods else None
    sizes = [report["constant_channels"]["removed"], macs["forward"], step, memory["train_total"] if methods else memory["infer_arena"]]
    sizes.append(report["flash"]["weights"])
    times = [f"{r.cycles / 1e6:.3f} M" for r in regions[: 2 if methods else 1] if r.cycles]
    return [*("-" if n is None else f"{n:,}" for n in sizes), *times, *["-"] * (2 - len(times))]


def rows(progress: Callable[[str], Any], cycles: bool) -> list[list[str]]:
    found = []
    for name, what in ROWS:
        model = speed.load(name) if name == "person_detect" else vww_like()
        for kept in ("frozen", "all") if TRAININGS[what] else ("all",):
            progress(f"{name}, {what}, {kept}")
            title = "stay where trained" if kept == "frozen" else "go"
            found.append([name, what, title, *measured(model, TRAININGS[what], kept, cycles)])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--write", type=Path, help="also write the table as Markdown")
    parser.add_argument("--plans", action="store_true", help="leave out what has to run on an emulator")
    arguments = parser.parse_args()
    lines = [f"| {' | '.join(c)} |" for c in (HEADINGS, ["---"] * len(HEADINGS), *rows(print, not arguments.plans))]
    print("\n".join(lines))
    if arguments.write:
        body = wrapped((__doc__ or "").split("make bench-constant-channels", 1)[1])
        when = f"Printed by `make bench-constant-channels` on {datetime.date.today().isoformat()}."
        arguments.write.write_text("\n".join(["# Training without constant channels", "", when, "", body, "", *lines]) + "\n")


if __name__ == "__main__":
    main()
