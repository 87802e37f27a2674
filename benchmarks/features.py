"""How near front ends in integers are to float64, what a model makes of them, and what they cost.

    make bench-features

Recordings: 60 clips of MLPerf Tiny's keyword set, and 160 spoken digits, upsampled to 16 kHz as their own features were. Steps are those of the
models' int8 inputs; "apart" counts values that differ at all.
The second table is what micro_speech hears of the keywords. Instructions are counted under QEMU, by the firmware of examples/voice.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "voice"))

import firmware
from scenarios import DATA

import kilotune as kt
from kilotune import toolchain
from kilotune.devices.data import quantize
from kilotune.devices.manifest import Manifest

BOARDS = (("cortex-m4", "mps2-an386"), ("cortex-m0plus", "microbit-1m"))
PER_TICK = {"mps2-an386": 40, "microbit-1m": 62.5}
FRONT_END = kt.Mfcc()
ALL = ("mean", "std", "min", "max", "range", "rms", "mean_absolute", "zero_crossings")
COSTS: tuple[tuple[str, kt.FrontEnd, str], ...] = (
    ("Mfcc", FRONT_END, "kws_dscnn_int8"),
    ("MicroFrontend", kt.MicroFrontend(), "micro_speech_int8"),
    ("Statistics, 4 channels, 8 values", kt.Statistics(samples=512, channels=4, values=ALL), "gas_mlp_int8"),
    (
        "Statistics, 4 channels, 8 bands",
        kt.Statistics(samples=512, channels=4, values=("bands",), edges=(0, 2, 4, 6, 10, 15, 20, 30, 50)),
        "gas_mlp_int8",
    ),
)
"""Front ends whose instructions are counted, each with a model that takes so many values, whatever it makes of them."""
WORDS = {9: 2, 3: 3, 10: 0}
"""Keywords of the set that micro_speech knows: yes, no, silence; all others are 1, unknown."""
COUNTED = 3
"""Recordings whose instructions are counted."""


def keywords() -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.int8]]:
    """Recordings, labels, and the int8 input that MLPerf Tiny made of them."""
    clips, rows = (np.load(DATA / "sets" / f"{name}.npz") for name in ("kws01_audio16k_60clips", "kws01_mfcc_int8"))
    return clips["pcm"], clips["y"], rows["x"][clips["index"]]


def digits() -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.float32]]:
    """Recordings of a second at 16 kHz with the word in its middle, labels, and the features in float that the model was made for."""
    clips, rows = (np.load(DATA / "sets" / f"{name}.npz") for name in ("fsdd_audio8k_160clips", "fsdd_mfcc"))
    x = np.zeros((len(clips["y"]), FRONT_END.samples), np.int16)
    found = []
    for i, (start, end) in enumerate(zip(clips["offset"], clips["offset"][1:], strict=False)):
        word = resample_poly(clips["pcm"][start:end].astype(np.float64), 2, 1)
        word = word[max(0, (len(word) - FRONT_END.samples) // 2) :][: FRONT_END.samples]
        at = (FRONT_END.samples - len(word)) // 2
        x[i, at : at + len(word)] = word.round().clip(-32768, 32767)
        same = (rows["speaker"] == clips["speaker"][i]) & (rows["y"] == clips["y"][i]) & (rows["take"] == clips["take"][i])
        found.append(int(np.flatnonzero(same)[0]))
    return x, clips["y"], rows["x"][found].astype(np.float32)


def compared(build: kt.Build, title: str, x: NDArray[np.int16], y: NDArray[np.uint8], given: NDArray[np.int8]) -> str:
    """A row: integers beside float64, and beside the set's own input; accuracy of the model with each."""
    tensor = Manifest.load(build.directory).inputs[0]
    integers = build.features(x)
    real = quantize(FRONT_END.reference(x).astype(np.float32), tensor).reshape(integers.shape)
    own = given.reshape(integers.shape)
    with build.open("host") as device:
        scores = [(device.predict(inputs) == y).mean() for inputs in (own, real, integers)]
    steps = [np.abs(integers.astype(int) - other.astype(int)) for other in (real, own)]
    apart = " | ".join(f"{s.max()} | {100 * (s > 0).mean():.2f} %" for s in steps)
    return f"| {title} | {len(x)} | {apart} | {' | '.join(f'{s:.3f}' for s in scores)} |"


def heard(folder: Path) -> str:
    """What micro_speech makes of the keywords, with either scaling of its input."""
    x, y, _ = keywords()
    expected, shown = np.array([WORDS.get(int(label), 1) for label in y]), []
    for scaling in ("model", "micro_speech"):
        front = kt.MicroFrontend(scaling=scaling)
        build = kt.build(kt.load(DATA / "models" / "micro_speech_int8.tflite"), folder / scaling, features=front, measure=False)
        with build.open("host") as device:
            words = device.predict(x)
        known = expected > 1
        shown.append(f"| {scaling} | {(words == expected)[known].sum()} of {known.sum()} | {(words == expected)[~known].sum()} of {(~known).sum()} |")
    return "\n".join(["| scaling | yes and no | silence and other words |", "|---|---|---|", *shown])


def main() -> None:
    print("| recordings | number | float64: most steps | apart | set: most steps | apart | accuracy, set | float64 | integers |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for title, name, read in (("keywords", "kws_dscnn_int8", keywords), ("digits", "fsdd_dscnn_int8", digits)):
            x, y, own = read()
            model = kt.load(DATA / "models" / f"{name}.tflite")
            build = kt.build(model, folder / name, features=FRONT_END)
            given = own if own.dtype == np.int8 else quantize(own, Manifest.load(build.directory).inputs[0]).reshape(len(own), -1)
            print(compared(build, title, x, y, given), flush=True)
        print(f"\n{heard(folder)}", flush=True)
        print("\n| front end | core | instructions of a recording | of a frame | of inference | arena: front end | model | tables | code |")
        print("|---|---|---|---|---|---|---|---|---|")
        for i, (title, front, name) in enumerate(COSTS):
            samples = keywords()[0] if len(front.recording_shape) == 1 else sensors(front)
            for core, board in BOARDS:
                options = {"features": front, "method": kt.BiasOnly(), "buffers": "arena", "name": "voice", "target": core}
                build = kt.build(kt.load(DATA / "models" / f"{name}.tflite"), folder / f"{i}-{core}", **options)
                print(row(title, build, core, board, samples, folder / f"{i}-{core}-firmware"), flush=True)


def sensors(front: kt.FrontEnd) -> NDArray[np.int16]:
    """Something that shakes: noise on slow waves."""
    rng = np.random.default_rng(0)
    waves = 8000 * np.sin(np.arange(front.samples)[:, None] * np.array([0.05, 0.11, 0.4, 1.3]))
    return np.asarray((waves + rng.normal(0, 900, (COUNTED, *front.recording_shape))).round(), np.int16)


def row(title: str, build: kt.Build, core: str, board: str, x: NDArray[np.int16], folder: Path) -> str:
    """What the front end and the model cost on a core."""
    program = firmware.made(build, board, folder)
    heard = firmware.run(program, board, firmware.asked(x[:COUNTED]), count=True)
    with build.open("host") as device:
        assert heard.words.tolist() == device.predict(x[:COUNTED]).tolist()
    features, model = (round(float(ticks.mean()) * PER_TICK[board]) for ticks in (heard.front_end, heard.model))
    made, plain = build.report, build.report["features"]
    code = sum(size for name, size in toolchain.measure(build.directory, core)["kernels"].items() if name.startswith("kt_features"))
    sizes = f"{plain['scratch']:,} | {made['memory']['infer_arena']:,} | {plain['constants']:,} | {code:,}"
    return f"| {title} | {core} | {features:,} | {features // plain['frames']:,} | {model:,} | {sizes} |"


if __name__ == "__main__":
    main()
