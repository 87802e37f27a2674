"""The audio front end of TensorFlow Lite Micro: its integers, and wake words from raw samples, slice by slice."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from e2e.streaming_files import window_file
from numpy.typing import NDArray
from tflite_micro import runtime

import kilotune as kt

from .test_features import outcome, recordings

MISSING = "pymicro-features not found: pip install 'kilotune[test]'"
STEPS = 25.6
WAKE = kt.MicroFrontend(samples=480, hop=160)


def of_tflm(samples: NDArray[np.int16]) -> NDArray[np.int64]:
    """The integers [frames, 40] that TensorFlow Lite Micro's own front end gives of a recording at 16 kHz, 10 ms from frame to frame."""
    front_end, found = pytest.importorskip("pymicro_features", reason=MISSING).MicroFrontend(), []
    content, at = samples.astype("<i2").tobytes(), 0
    while at < len(content):
        out = front_end.process_samples(content[at : at + 320])
        at += 2 * out.samples_read
        found += [np.round(np.array(out.features) * STEPS).astype(np.int64)] if out.features else []
    return np.array(found)


def values(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    front = kt.MicroFrontend(samples=samples.shape[1], hop=160)
    return front.reference(samples) * STEPS


def test_equals_tflm() -> None:
    """Silence, both ends of the range, noise of any loudness, tones, clicks."""
    samples = recordings(kt.MicroFrontend(samples=8000, hop=160))
    expected = np.stack([of_tflm(row) for row in samples])
    assert len(np.unique(expected)) > 200
    assert np.array_equal(values(samples), expected)


def test_equals_tflm_on_real_recordings(data_dir: Path) -> None:
    samples = np.load(data_dir / "sets" / "kws01_audio16k_60clips.npz")["pcm"][::4]
    assert np.array_equal(values(samples), [of_tflm(row) for row in samples])


def test_a_wake_word_hears_samples(data_dir: Path, tmp_path: Path) -> None:
    """Slices of a recording in, probabilities out: those of TensorFlow Lite Micro's front end and interpreter."""
    path = data_dir / "zoo" / "mww-alexa.tflite"
    recording = np.load(data_dir / "sets" / "kws01_audio16k_60clips.npz")["pcm"][:3].reshape(-1)
    model, slices = kt.load(path), WAKE.slices(recording)
    t = model.graph.type(model.graph.inputs[0])
    interpreter, expected = runtime.Interpreter.from_file(str(path)), []
    for row in np.clip(np.round(of_tflm(recording) / STEPS / t.scale) + t.zero_point, -128, 127).astype(np.int8):
        interpreter.set_input(row.reshape(t.shape), 0)
        interpreter.invoke()
        expected.append(interpreter.get_output(0).ravel().copy())
    assert np.ptp(expected) > 50
    build = kt.build(model, tmp_path / "build", features=WAKE, measure=False)
    with build.open("host") as device:
        assert np.array_equal(device.infer(slices), expected)
        device.reset()
        assert np.array_equal(np.concatenate([device.infer(slices[:20]), device.infer(slices[20:])]), expected)


def test_c_goes_on_from_slice_to_slice(tmp_path: Path) -> None:
    """The noise is in the state: what a slice gives depends on those before, whatever lies in the arena between them."""
    (tmp_path / "model.tflite").write_bytes(window_file())
    front = kt.MicroFrontend(samples=640, hop=160, bands=4)
    slices = front.slices(recordings(kt.MicroFrontend(samples=1600))[8:].reshape(-1))
    for buffers in ("caller", "arena"):
        build = kt.build(kt.load(tmp_path / "model.tflite"), tmp_path / buffers, features=front, name="model", measure=False, buffers=buffers)
        inputs = build.features(slices)
        assert outcome(build, slices, "posix", tmp_path) == [zlib.crc32(row.tobytes()) for row in inputs]
        assert not np.array_equal(build.features(slices[1:]), inputs[1:])
        assert build.report["memory"]["by_kind"]["kept"] == 4 * 4 + 3 * 4
        assert build.report["features"]["scratch"] == 1024


def test_slices_follow_each_other() -> None:
    front, recording = kt.MicroFrontend(samples=800, hop=160), np.arange(2500, dtype=np.int16)
    assert front.slices(recording)[:, 0].tolist() == [0, 480, 960, 1440]
    assert front.pieces(recording)[:, 0].tolist() == [0, 800, 1600]
    with pytest.raises(ValueError, match=r"cut are those of int16 \[800\] or more"):
        front.slices(recording[:799])
