"""Front ends: C against NumPy bit for bit on this computer and on cores, NumPy against float64, and recordings as samples of a build."""

from __future__ import annotations

import json
import warnings
import wave
import zlib
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from gradients.graphs import Maker
from numpy.typing import NDArray

import kilotune as kt
from kiloc.export import tflite
from kiloc.features import FrontEnd, described, front_end
from kiloc.ops.model.reshape import Reshape
from kilotune.cli import main
from kilotune.data import Wanted, load
from kilotune.devices.manifest import Manifest

from .board_programs import linked, printed
from .programs import FLAGS, SANITIZERS
from .test_compiler_flags import OWN, compiler

SOURCE = Path(__file__).parent / "features.c"
SHORT: dict[str, Any] = {"samples": 1800, "window": 480, "hop": 320}
FRONT_ENDS: dict[str, FrontEnd] = {
    "mfcc": kt.Mfcc(**SHORT),
    "logmel": kt.LogMel(**SHORT, bands=16, level="full_scale"),
    "long": kt.LogMel(samples=6000, window=4096, hop=1000, bands=128, low=0.0, high=8000.0, floor=1e-9),
    "odd": kt.Mfcc(sample_rate=8000, samples=777, window=401, hop=77, bands=23, low=100.0, high=4000.0, coefficients=13, floor=1e-2),
    "least": kt.LogMel(samples=16, window=16, hop=1, bands=2, low=0.0, high=8000.0),
    "microfrontend": kt.MicroFrontend(samples=1800),
    "other noise": kt.MicroFrontend(
        sample_rate=8000,
        samples=900,
        window=250,
        hop=77,
        bands=16,
        low=20.0,
        high=3900.0,
        even_smoothing=1.0,
        odd_smoothing=0.5,
        remaining=0.3,
        strength=0.5,
        offset=1e4,
        scaling="micro_speech",
    ),
    "no gain": kt.MicroFrontend(samples=5000, window=4000, hop=500, bands=128, low=0.0, high=7900.0, pcan=False, even_smoothing=0.0),
}
ALL = ("bands", "mean", "std", "min", "max", "range", "rms", "mean_absolute", "zero_crossings", "mean_crossings")
FRONT_ENDS |= {
    "statistics": kt.Statistics(
        sample_rate=200, samples=260, window=100, hop=60, channels=3, values=ALL, edges=(0.0, 10.0, 40.0, 100.0), subtract=(-0.5,) * 36,
        divide=(*(2500.0,) * 3, *(6000.0,) * 7, 20.0, -30.0) * 3,
    ),
    "vibration": kt.Statistics(
        sample_rate=1000, samples=4100, window=4096, hop=1, values=["mean", "std", "min", "rms", "mean_crossings"],
        divide=(0.5, 10.0, 300.0, 1500.0, 200.0),
    ),
}  # fmt: skip
MEL = [name for name, front in FRONT_ENDS.items() if isinstance(front, kt.LogMel)]
BOARDS = ("posix", "microbit-1m", "mps2-an386")
STEPS = 0.02
"""Of the model's input, with steps of 0.1: how far the integers may be from float64, beside their rounding."""
SCALE, ZERO = 0.1, 20


def recordings(front: FrontEnd) -> NDArray[np.int16]:
    """Silence, full scale of both signs, noise loud and so quiet that it is mostly 0, a tone, clicks, and a constant below zero."""
    n, rng = front.samples * front.recorded_channels, np.random.default_rng(3)
    click = np.zeros(n)
    click[:: max(1, n // 5)] = 32767
    square = np.where(np.arange(n) // 7 % 2, 32767, -32768)
    tone = 9000 * np.sin(np.arange(n) * 0.21)
    rows = [np.zeros(n), np.full(n, -32768), square, rng.integers(-32768, 32768, n), rng.integers(-1, 2, n), tone, click, np.full(n, -5)]
    rows += [rng.normal(0, 10.0 ** rng.uniform(0, 3.8), n).clip(-32768, 32767) * np.linspace(0, 1, n) for _ in range(4)]
    return np.array(rows).round().astype(np.int16).reshape(len(rows), *front.recording_shape)


def _model(front: FrontEnd, folder: Path) -> kt.Model:
    m = Maker("model", (1, front.frames, front.width, 1), 3, SCALE, ZERO)
    flat = m.op("input", "flat", Reshape((1, front.frames * front.width)), (1, front.frames * front.width))
    (folder / "model.tflite").write_bytes(tflite.write(m.finish(m.dense(flat, "logits", 3))))
    return kt.load(folder / "model.tflite")


def built(front: FrontEnd, folder: Path, **options: Any) -> kt.Build:
    return kt.build(
        _model(front, folder), folder / "build", method=kt.BiasOnly(), features=front, target="cortex-m4", name="model", measure=False, **options
    )


def outcome(build: kt.Build, samples: NDArray[np.int16], board: str, folder: Path) -> list[int]:
    """CRCs of the inputs that C makes on a board."""
    rows = ",\n".join("{" + ",".join(map(str, row)) + "}" for row in samples.reshape(len(samples), -1).tolist())
    (folder / "recordings.h").write_text(f"static const int16_t recordings[{len(samples)}][MODEL_SAMPLES] = {{\n{rows}}};\n")
    flags = (*FLAGS, *SANITIZERS) if board == "posix" else OWN
    tool = compiler("gcc" if board == "posix" else "arm-none-eabi-gcc")
    text = printed(linked([build.directory], SOURCE, board, folder / f"program-{board}", tool, (*flags, f"-I{folder}")), board)
    values = [line.split() for line in text.splitlines()]
    assert values[0] == ["status", "00000000"]
    return [int(value, 16) for name, value in values if name == "input"]


# ---- C is NumPy ----


@pytest.mark.parametrize(("name", "buffers"), [*zip(FRONT_ENDS, cycle(("caller", "arena")), strict=False)])
def test_c_gives_the_bits_of_numpy(name: str, buffers: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    front = FRONT_ENDS[name]
    samples = recordings(front)
    build = built(front, tmp_path, buffers=buffers)
    expected = [zlib.crc32(row.tobytes()) for row in build.features(samples)]
    assert len(set(expected)) > len(expected) // 2
    boards = BOARDS if name in ("mfcc", "logmel", "microfrontend", "statistics") else BOARDS[:1]
    if len(boards) > 1:
        request.getfixturevalue("qemu")
    for board in boards:
        some = slice(None) if board == "posix" else slice(0, None, 3)
        assert outcome(build, samples[some], board, tmp_path) == expected[some], board


# ---- The integers are near float64 ----


@pytest.mark.parametrize("name", [*MEL, "statistics", "vibration"])
def test_integers_are_near_real_numbers(name: str) -> None:
    """Of signals with something at all frequencies every value, whatever is beyond the range of int8 at its end."""
    front = FRONT_ENDS[name]
    samples = recordings(front)[[0, 3, 4, 6, 8, 9, 10, 11]]
    real = (front.reference(samples) / SCALE + ZERO).clip(-128, 127)
    found = front.planned(SCALE, ZERO)(samples)
    assert np.unique(found).size > 10
    assert np.abs(found - real).max() <= 0.5 + STEPS


@pytest.mark.parametrize("name", [name for name in MEL if type(FRONT_ENDS[name]) is kt.LogMel])
def test_bands_within_60_db_of_the_loudest_are_near_real_numbers(name: str) -> None:
    """Of tones and constants too, whose other frequencies are next to nothing: what is fainter drowns in the rounding of the FFT."""
    front = FRONT_ENDS[name]
    samples = recordings(front)
    real = front.reference(samples)
    heard = real >= real.max(axis=2, keepdims=True) - 3 * np.log(10)
    wrong = front.planned(SCALE, ZERO)(samples) - (real / SCALE + ZERO).clip(-128, 127)
    assert np.abs(wrong[heard]).max() <= 0.5 + STEPS


def test_real_recordings_give_the_input_of_the_keyword_set(data_dir: Path) -> None:
    """MLPerf Tiny's own file was rounded towards zero, ours to the nearest: one step apart, never more."""
    clips, rows = (np.load(data_dir / "sets" / f"{name}.npz") for name in ("kws01_audio16k_60clips", "kws01_mfcc_int8"))
    model = kt.load(data_dir / "models" / "kws_dscnn_int8.tflite")
    t = model.graph.type(model.graph.inputs[0])
    front = kt.Mfcc()
    found = front.planned(t.scale, t.zero_point)(clips["pcm"]).reshape(len(clips["pcm"]), -1).astype(int)
    assert np.abs(found - rows["x"][clips["index"]]).max() == 1
    real = (front.reference(clips["pcm"]) / t.scale + t.zero_point).reshape(found.shape)
    assert np.abs(found - real.clip(-128, 127)).max() <= 0.51


# ---- Recordings as samples ----


def test_a_build_with_a_front_end_takes_recordings(tmp_path: Path) -> None:
    front = FRONT_ENDS["mfcc"]
    samples = recordings(front)
    build = built(front, tmp_path, calibration=samples)
    labels = np.arange(len(samples)) % 3
    with warnings.catch_warnings(), build.open("host") as one, build.open("host") as other:
        warnings.simplefilter("error", kt.DataWarning)
        assert np.array_equal(one.infer(samples), other.infer(build.features(samples)))
        assert np.array_equal(one.infer(samples[:1]), one.infer(samples)[:1])
        one.fit(samples, labels, epochs=2, hold_out=0)
        other.fit(build.features(samples), labels, epochs=2, hold_out=0)
        assert one.state() == other.state()
    assert build.report["features"]["scratch"] == 4 * (512 + 40)
    assert build.report["memory"]["infer_arena"] >= build.report["features"]["scratch"]


def test_a_folder_of_recordings_is_read(tmp_path: Path) -> None:
    front = FRONT_ENDS["mfcc"]
    build = built(front, tmp_path)
    samples = recordings(front)
    samples[4, 1000:] = 0
    for i, row in enumerate(samples[:6]):
        folder = tmp_path / "words" / "abc"[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / f"{i}.wav", row if i != 4 else row[:1000], front.sample_rate)
    with pytest.warns(kt.DataWarning, match="0 a, 1 b, 2 c"):
        data = load(str(tmp_path / "words"), wanted=Wanted.by(Manifest.load(build.directory)))
    assert data.notes == ("silence is added behind recordings of fewer than 1800 samples",)
    assert np.array_equal(data.x, samples[[0, 3, 1, 4, 2, 5]])
    assert data.y is not None
    assert data.y.tolist() == [0, 0, 1, 1, 2, 2]
    _write(tmp_path / "words" / "a" / "0.wav", samples[0], 8000)
    with pytest.raises(kt.DeviceError, match="8000 samples a second, the front end takes 16000"):
        load(str(tmp_path / "words"), wanted=Wanted.by(Manifest.load(build.directory)))
    _write(tmp_path / "words" / "a" / "0.wav", np.zeros(1801, np.int16), 16000)
    with pytest.raises(kt.DeviceError, match=r"has 1801 samples .*, the front end takes 1800"):
        load(str(tmp_path / "words"), wanted=Wanted.by(Manifest.load(build.directory)))


def _write(path: Path, samples: NDArray[np.int16], rate: int, channels: int = 1) -> None:
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


# ---- What is refused ----


@pytest.mark.parametrize(
    ("cls", "fields", "what"),
    [
        (kt.Mfcc, {"window": 15}, "window=15.*not a whole number of the range"),
        (kt.Mfcc, {"samples": 479}, "fewer than a window of 480"),
        (kt.Mfcc, {"high": 8001.0}, "cannot be told apart at 16000"),
        (kt.Mfcc, {"low": 4000.0}, "cannot be told apart"),
        (kt.Mfcc, {"bands": 128}, "without a frequency of the FFT"),
        (kt.Mfcc, {"floor": 0.0}, "floor=0.0.*out of range"),
        (kt.Mfcc, {"level": "loud"}, "level='loud'.*unknown"),
        (kt.Mfcc, {"coefficients": 41}, "not a number of coefficients of 40 bands"),
        (kt.MicroFrontend, {"window": 32}, "window=32.*not a whole number of the range"),
        (kt.MicroFrontend, {"high": 8000.0}, "high < half the sample rate"),
        (kt.MicroFrontend, {"bands": 128}, "leave one without a frequency of the FFT"),
        (kt.MicroFrontend, {"remaining": 1.5}, "remaining=1.5.*out of range"),
        (kt.MicroFrontend, {"pcan": 1}, "neither True nor False"),
        (kt.MicroFrontend, {"scaling": "none"}, "scalings are model, micro_speech"),
        (kt.Statistics, {"values": ("mean", "median")}, "has 'median'"),
        (kt.Statistics, {"values": ("mean", "mean")}, "names one twice"),
        (kt.Statistics, {"edges": (1, 5)}, "belong to the value 'bands'"),
        (kt.Statistics, {"values": ("bands",), "edges": (5, 1)}, "not 2 to 33 rising frequencies"),
        (kt.Statistics, {"values": ("bands",), "edges": (5, 51)}, "beyond 0 to 50 Hz"),
        (kt.Statistics, {"values": ("bands",), "edges": (5, 5.1, 6)}, "leave band 0 without a frequency"),
        (kt.Statistics, {"divide": (1, 2)}, "not one number for each value of a frame"),
        (kt.Statistics, {"divide": 0}, "holds a zero"),
        (kt.Statistics, {"subtract": "much"}, "no list of numbers"),
        (kt.Statistics, {"channels": 17}, "1 to 16"),
    ],
)
def test_descriptions_that_mean_nothing_are_refused(cls: type[FrontEnd], fields: dict[str, Any], what: str) -> None:
    with pytest.raises(kt.CompileError, match=what):
        cls(**fields)


@pytest.mark.parametrize(
    ("front", "scale", "what"),
    [
        (kt.Mfcc(), 1e-12, "no logarithm is measured in"),
        (kt.MicroFrontend(), 1e-12, "no logarithm is measured in"),
        (kt.Statistics(), 1e-12, "a larger number in divide"),
        (kt.Statistics(subtract=1e30), 0.1, "can be nowhere near 1e.30"),
    ],
)
def test_steps_that_no_feature_has_are_refused(front: FrontEnd, scale: float, what: str) -> None:
    with pytest.raises(kt.CompileError, match=what):
        front.planned(scale, 0)


def test_models_that_take_something_else_are_refused(tmp_path: Path) -> None:
    m = Maker("model", (1, 20), 3, SCALE, ZERO)
    (tmp_path / "model.tflite").write_bytes(tflite.write(m.finish(m.dense("input", "logits", 3))))
    model = kt.load(tmp_path / "model.tflite")
    with pytest.raises(kt.CompileError, match="gives 49 x 10 values, the model takes 20"):
        kt.build(model, tmp_path / "build", features=kt.Mfcc(), measure=False)
    with pytest.raises(kt.CompileError, match="'mfcc' is no front end"):
        kt.build(model, tmp_path / "build", features="mfcc", measure=False)
    front = kt.Mfcc(samples=800, coefficients=10)
    with pytest.raises(kt.CompileError, match=r"needs an arena of .* bytes, the budget leaves 1,000"):
        kt.build(model, tmp_path / "build", features=front, ram=1000, measure=False)
    plain = kt.build(model, tmp_path / "build", measure=False)
    with pytest.raises(kt.CompileError, match="without a front end"):
        plain.features(np.zeros((1, 800), np.int16))


def test_samples_of_another_kind_are_refused(tmp_path: Path) -> None:
    build = built(FRONT_ENDS["mfcc"], tmp_path)
    for samples in (np.zeros((2, 1801), np.int16), np.zeros((2, 1800), np.float32), np.zeros(1800, np.int16)):
        with pytest.raises(kt.CompileError, match=r"the front end takes int16 \[N, 1800\]"):
            build.features(samples)


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_a_description_reads_back(name: str) -> None:
    front = FRONT_ENDS[name]
    assert front_end(json.loads(json.dumps(described(front)))) == front
    with pytest.raises(ValueError, match="no front end of this version"):
        front_end(described(front) | {"more": 1})


# ---- The command line ----


def test_a_build_of_the_command_line_predicts_recordings(tmp_path: Path) -> None:
    front = FRONT_ENDS["mfcc"]
    samples = recordings(front)[2:6]
    expected = built(front, tmp_path)
    with expected.open("host") as device:
        classes = device.predict(samples).tolist()
    fields = [part for name in SHORT for part in ("--feature", f"{name}={SHORT[name]}")]
    folder = tmp_path / "recordings"
    folder.mkdir()
    for i, row in enumerate(samples):
        _write(folder / f"{i}.wav", row, front.sample_rate)
    run, out = CliRunner(), str(tmp_path / "made")
    done = run.invoke(main, ["build", str(tmp_path / "model.tflite"), "-o", out, "--features", "mfcc", *fields])
    assert done.exit_code == 0, done.output
    assert "features     Mfcc(" in done.output
    done = run.invoke(main, ["predict", out, "--data", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    assert [row["class"] for row in json.loads(done.stdout)] == classes
    np.savez(tmp_path / "recordings.npz", x=samples)
    done = run.invoke(main, ["predict", out, "--data", str(tmp_path / "recordings.npz"), "--json"])
    assert [row["class"] for row in json.loads(done.stdout)] == classes


def test_a_model_file_is_trained_on_recordings(tmp_path: Path) -> None:
    """As by a build with the front end, from a folder of classes; and a single recording is cut into those that it holds."""
    front = FRONT_ENDS["mfcc"]
    samples = recordings(front)[2:8]
    plain = built(front, tmp_path, calibration=samples)
    for i, row in enumerate(samples):
        folder = tmp_path / "words" / "abc"[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / f"{i}.wav", row, front.sample_rate)
    fields = ["--features", "mfcc", *(part for name in SHORT for part in ("--feature", f"{name}={SHORT[name]}"))]
    run, data, kept = CliRunner(), str(tmp_path / "words"), tmp_path / "trained.kta"
    train = ["train", str(tmp_path / "model.tflite"), "--data", data, *fields, "--method", "bias", "--epochs", "3", "--hold-out", "0"]
    done = run.invoke(main, [*train, "--lr", "0.01", "--save", str(kept), "--json"])
    assert done.exit_code == 0, done.output
    order, labels = [0, 3, 1, 4, 2, 5], [0, 0, 1, 1, 2, 2]
    build = built(front, tmp_path, calibration=(samples[order], np.array(labels)), training=kt.Training(optimizer=kt.SGD(lr=0.01)))
    with plain.open("host") as device, build.open("host") as other:
        other.fit(samples[order], labels, epochs=3, hold_out=0)
        assert kt.Adapter.load(kept).payload == other.export_adapter().payload
        _write(tmp_path / "long.wav", np.concatenate([*samples, samples[0][:500]]), front.sample_rate)
        done = run.invoke(main, ["predict", str(plain.directory), "--data", str(tmp_path / "long.wav"), "--json"])
        assert [row["class"] for row in json.loads(done.stdout)] == device.predict(samples).tolist()
        assert "cut into 6 recordings of 1800 samples; the last 500 are left out" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("rate", "length", "channels", "features", "what"),
    [
        (8000, 1800, 1, "mfcc", "8000 samples a second, the front end takes 16000"),
        (16000, 479, 1, "mfcc", "479 samples (0.0299 s), too few for one window of 480"),
        (16000, 1801, 1, "mfcc", "1801 samples (0.113 s), the front end takes 1800"),
        (16000, 1800, 2, "mfcc", "has 2 channels"),
        (16000, 1800, 1, "logmel", "LogMel gives 5 x 40 values, the model takes 5 x 10"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(rate: int, length: int, channels: int, features: str, what: str, tmp_path: Path) -> None:
    _model(FRONT_ENDS["mfcc"], tmp_path)
    _write(tmp_path / "words" / "a.wav", np.zeros(length * channels, np.int16), rate, channels)
    fields = [part for name in SHORT for part in ("--feature", f"{name}={SHORT[name]}")]
    done = CliRunner().invoke(main, ["train", str(tmp_path / "model.tflite"), "--data", str(tmp_path / "words"), "--features", features, *fields])
    assert done.exit_code in (1, 3)
    assert what in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--feature", "window=480"], "a field of --features, which is not given"),
        (["--features", "mfcc", "--feature", "windows=480"], "fields of mfcc are sample_rate"),
        (["--features", "logmel", "--feature", "window=long"], "'long' is no int"),
        (["--features", "microfrontend", "--feature", "pcan=no"], "'no' is no bool"),
    ],
)
def test_fields_that_mean_nothing_are_refused(arguments: list[str], what: str, tmp_path: Path) -> None:
    built(FRONT_ENDS["mfcc"], tmp_path)
    done = CliRunner().invoke(main, ["build", str(tmp_path / "model.tflite"), "-o", str(tmp_path / "made"), *arguments])
    assert done.exit_code == 2
    assert what in " ".join(done.output.split())
