"""Samples as people have them: tables, arrays, folders of images and recordings, and labels that are words."""

from __future__ import annotations

import csv
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kilotune as kt
from kilotune.data import Reading, Wanted, load
from kilotune.devices.manifest import Tensor

IMAGE = Tensor((1, 4, 3, 1), 1 / 255, -128)
ROW = Tensor((1, 12), 0.5, 0)
X = np.arange(60, dtype=np.float32).reshape(5, 12)
WORDS = ["yes", "no", "no", "yes", "go"]
NAMES = ("go", "no", "yes")


def wanted(tensor: Tensor = ROW, classes: int | None = 3, names: Sequence[str] = (), targets: str | None = "labels", values: int = 0) -> Wanted:
    return Wanted((tensor,), targets, classes, values, tuple(names))


def table(path: Path, rows: Sequence[Sequence[Any]], header: Sequence[str] = (), delimiter: str = ",") -> str:
    with open(path, "w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows] if header else rows)
    return str(path)


def array(samples: Any) -> Any:
    assert isinstance(samples, np.ndarray)
    return samples


# ---- Tables ----


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [(), (*[f"band {i}" for i in range(12)], "word")])
def test_a_table_with_words_in_the_last_column(tmp_path: Path, header: Sequence[str], delimiter: str) -> None:
    path = table(tmp_path / "d.csv", [[*row, word] for row, word in zip(X, WORDS, strict=True)], header, delimiter)
    found = load(path, wanted=wanted(names=NAMES))
    assert np.array_equal(found.x, X) and array(found.x).dtype == np.float32
    assert array(found.y).tolist() == [2, 1, 1, 2, 0] and found.class_names == NAMES and len(found) == 5


def test_a_column_is_named_numbered_or_known_by_its_title(tmp_path: Path) -> None:
    rows = [[i, *row] for i, row in zip((0, 1, 2, 1, 0), X, strict=True)]
    titled = table(tmp_path / "a.csv", rows, ["Label", *[f"x{i}" for i in range(12)]])
    bare = table(tmp_path / "b.csv", rows)
    found = [load(titled, wanted=wanted()), load(titled, wanted=wanted(), reading=Reading(label_column="Label"))]
    found.append(load(bare, wanted=wanted(), reading=Reading(label_column="0")))
    for each in found:
        assert np.array_equal(each.x, X) and array(each.y).tolist() == [0, 1, 2, 1, 0]
    last = load(bare, wanted=wanted())
    assert array(last.x)[1].tolist() == [1.0, *range(12, 23)], "without a title the last column is the label"


def test_a_table_of_samples_alone_and_one_of_values(tmp_path: Path) -> None:
    assert load(table(tmp_path / "a.csv", X.tolist()), wanted=wanted()).y is None
    valued = load(table(tmp_path / "b.csv", [[*row, 0.5, 2] for row in X]), wanted=wanted(targets="values", values=2))
    assert array(valued.y).tolist() == [[0.5, 2.0]] * 5 and np.array_equal(valued.x, X)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1, 2, 3]], "has 3 columns, the model takes 12 numbers a sample"),
        ([[*X[0], 1], [*X[0]]], "row 2 has 12 columns, the first has 13"),
        ([[*X[0], 1], [*X[0][:5], "?", *X[0][6:], 1]], "row 2, column 5: '?' is not a number"),
        ([], "holds no rows"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_with_the_place(tmp_path: Path, rows: list[list[Any]], words: str) -> None:
    with pytest.raises(kt.DeviceError, match=r"d\.csv") as error:
        load(table(tmp_path / "d.csv", rows), wanted=wanted())
    assert words in error.value.what


# ---- Arrays ----


def test_arrays_by_usual_and_by_given_names(tmp_path: Path) -> None:
    y = np.array([0, 1, 2, 1, 0])
    for x_name, y_name in (("x", "y"), ("inputs", "labels"), ("X_train", "y_train")):
        np.savez(tmp_path / "d.npz", **{x_name: X, y_name: y, "other": X})  # type: ignore[arg-type]
        found = load(str(tmp_path / "d.npz"), wanted=wanted())
        assert np.array_equal(found.x, X) and array(found.y).tolist() == y.tolist()
        assert bool(found.notes) == (x_name != "x"), "what was guessed is said"
    np.savez(tmp_path / "own.npz", spectra=X, words=np.array(WORDS), class_names=np.array(NAMES))
    found = load(str(tmp_path / "own.npz"), wanted=wanted(), reading=Reading(keys=("spectra", "words")))
    assert array(found.y).tolist() == [2, 1, 1, 2, 0] and found.class_names == NAMES
    with pytest.raises(kt.DeviceError, match=r"named x: it has spectra \[5, 12\]"):
        load(str(tmp_path / "own.npz"), wanted=wanted())
    with pytest.raises(kt.DeviceError, match="named spectre"):
        load(str(tmp_path / "own.npz"), wanted=wanted(), reading=Reading(keys=("spectre",)))


def test_one_array_and_its_labels_in_a_file_of_their_own(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", np.array([0, 1, 2, 1, 0]))
    (tmp_path / "y.txt").write_text("\n".join(WORDS) + "\n")
    assert load(str(tmp_path / "x.npy"), wanted=wanted()).y is None
    assert array(load(str(tmp_path / "x.npy"), wanted=wanted(), reading=Reading(labels=str(tmp_path / "y.npy"))).y).tolist() == [0, 1, 2, 1, 0]
    read = load(str(tmp_path / "x.npy"), wanted=wanted(names=NAMES), reading=Reading(labels=str(tmp_path / "y.txt")))
    assert array(read.y).tolist() == [2, 1, 1, 2, 0]


@pytest.mark.parametrize(("shape", "tensor"), [((5, 12), IMAGE), ((5, 4, 3), IMAGE), ((5, 1, 4, 3), IMAGE), ((5, 12, 1), ROW), ((5, 4, 3), ROW)])
def test_samples_are_reshaped_where_one_meaning_is_possible(tmp_path: Path, shape: tuple[int, ...], tensor: Tensor) -> None:
    np.savez(tmp_path / "d.npz", x=X.reshape(shape))
    assert np.array_equal(load(str(tmp_path / "d.npz"), wanted=wanted(tensor)).x, X.reshape(5, *tensor.sample_shape))


@pytest.mark.parametrize(("shape", "tensor"), [((5, 3, 4), IMAGE), ((6, 5, 2), ROW), ((60,), ROW), ((5, 6, 2), IMAGE)])
def test_samples_of_another_shape_are_left_for_the_device_to_refuse(tmp_path: Path, shape: tuple[int, ...], tensor: Tensor) -> None:
    np.savez(tmp_path / "d.npz", x=X.reshape(shape))
    assert array(load(str(tmp_path / "d.npz"), wanted=wanted(tensor)).x).shape == shape


def test_whole_numbers_are_real_values_but_int8_is_the_model_s_own(tmp_path: Path) -> None:
    for dtype, expected in ((np.uint8, np.float32), (np.int64, np.float32), (np.float16, np.float32), (np.int8, np.int8), (np.float64, np.float64)):
        np.savez(tmp_path / "d.npz", x=X.astype(dtype))
        found = array(load(str(tmp_path / "d.npz"), wanted=wanted()).x)
        assert found.dtype == expected and np.array_equal(found, X.astype(dtype))


# ---- Labels ----


def test_words_are_numbered_by_the_alphabet_only_where_all_classes_occur(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X, y=np.array(WORDS))
    with pytest.warns(kt.DataWarning, match="numbered by the alphabet, 0 go, 1 no, 2 yes"):
        found = load(str(tmp_path / "d.npz"), wanted=wanted())
    assert found.class_names == NAMES and array(found.y).tolist() == [2, 1, 1, 2, 0]
    with pytest.raises(kt.DeviceError, match=r"3 words .* the model has 4 classes: which is which cannot be known"):
        load(str(tmp_path / "d.npz"), wanted=wanted(classes=4))
    with pytest.raises(kt.DeviceError, match="the label 'go' is none of the classes") as error:
        load(str(tmp_path / "d.npz"), wanted=wanted(names=("goo", "no", "yes")))
    assert "did you mean 'goo'?" in error.value.hint


def test_rows_with_a_single_one_and_whole_floats_are_class_numbers(tmp_path: Path) -> None:
    for y in (np.eye(3)[[0, 1, 2, 1, 0]], np.array([[0.0], [1], [2], [1], [0]]), np.array([0.0, 1, 2, 1, 0])):
        np.savez(tmp_path / "d.npz", x=X, y=y)
        found = array(load(str(tmp_path / "d.npz"), wanted=wanted()).y)
        assert found.tolist() == [0, 1, 2, 1, 0] and found.dtype == np.int64
        kept = array(load(str(tmp_path / "d.npz"), wanted=wanted(targets="values")).y)
        assert np.array_equal(kept, y), "values are values"
    np.savez(tmp_path / "d.npz", x=X, y=np.array([0.5, 1, 2, 1, 0]))
    assert array(load(str(tmp_path / "d.npz"), wanted=wanted()).y).dtype == np.float64


# ---- Folders ----


def recording(path: Path, samples: Any, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.asarray(samples, "<i2").tobytes())


def test_a_folder_of_recordings_by_class(tmp_path: Path) -> None:
    for word, level in (("yes", 8192), ("no", -16384)):
        for take in range(2):
            recording(tmp_path / word / f"{take}.wav", np.full(12, level))
    found = load(str(tmp_path), wanted=wanted(Tensor((1, 12), 1 / 128, 0), 2, ("yes", "no")))
    assert found.items == ("no/0.wav", "no/1.wav", "yes/0.wav", "yes/1.wav") and array(found.y).tolist() == [1, 1, 0, 0]
    assert np.array_equal(found.x, np.repeat([[-0.5], [0.25]], 2, axis=0) * np.ones(12))
    flat = load(str(tmp_path / "no"), wanted=wanted(Tensor((1, 12), 1 / 128, 0), 2))
    assert flat.y is None and len(flat) == 2


def test_recordings_that_do_not_fit_say_how_long_they_are(tmp_path: Path) -> None:
    recording(tmp_path / "a/0.wav", np.zeros(4000))
    with pytest.raises(kt.DeviceError, match=r"4000 samples \(0.5 s at 8000 Hz\), the model takes 4 x 3 x 1 values"):
        load(str(tmp_path), wanted=wanted(IMAGE))
    recording(tmp_path / "a/0.wav", np.zeros(24), channels=2)
    with pytest.raises(kt.DeviceError, match="2 channels"):
        load(str(tmp_path), wanted=wanted())
    (tmp_path / "a/0.wav").write_bytes(b"RIFF")
    with pytest.raises(kt.DeviceError, match=r"0\.wav.*cannot be read"):
        load(str(tmp_path), wanted=wanted())


def test_a_folder_of_images_by_class_in_the_units_of_the_input(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow not found: pip install 'kilotune[images]'")
    for name, value in (("cat", 255), ("dog", 51)):
        (tmp_path / name).mkdir()
        image.new("L", (3, 4), value).save(tmp_path / name / "0.png")
    for tensor, high, low in (
        (IMAGE, 1.0, 0.2),
        (Tensor((1, 4, 3, 1), 1.0, -128), 255.0, 51.0),
        (Tensor((1, 4, 3, 1), 1 / 127.5, 0), 1.0, -0.6),
        (Tensor((1, 4, 3, 1), 1.0, 0), 127.0, -77.0),
    ):
        found = load(str(tmp_path), wanted=wanted(tensor, 2, ("cat", "dog")))
        assert np.allclose(array(found.x)[:, 0, 0, 0], [high, low], atol=1e-4) and array(found.y).tolist() == [0, 1]
    resized = load(str(tmp_path), wanted=wanted(Tensor((1, 8, 6, 3), 1 / 255, -128), 2, ("cat", "dog")))
    assert array(resized.x).shape == (2, 8, 6, 3) and "images are resized to 6 x 8" in resized.notes
    with pytest.raises(kt.DeviceError, match="how pixels become that cannot be known"):
        load(str(tmp_path), wanted=wanted(Tensor((1, 4, 3, 1), 0.02, 3), 2, ("cat", "dog")))
    with pytest.raises(kt.DeviceError, match="holds images, the model takes"):
        load(str(tmp_path), wanted=wanted(ROW, 2, ("cat", "dog")))


# ---- What does not belong together ----


def test_messages_are_short_and_name_the_file(tmp_path: Path) -> None:
    """A kind of file that is not read, and a column of a wide table that is not there."""
    (tmp_path / "model.onnx").write_bytes(b"no samples")
    with pytest.raises(kt.DeviceError, match=r"model.onnx: --data is not read from .onnx files"):
        load(str(tmp_path / "model.onnx"), wanted=wanted())
    wide = table(tmp_path / "wide.csv", [range(13)], [f"column {i}" for i in range(13)])
    with pytest.raises(kt.DeviceError, match=r"column 3, \.\.\. \(13 in all\) \.\.\., column 9") as error:
        load(wide, wanted=wanted(), reading=Reading(label_column="word"))
    assert "column 5" not in str(error.value)


def test_an_option_without_a_use_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X)
    with pytest.raises(kt.DeviceError, match=r"--label-column is of \.csv files"):
        load(str(tmp_path / "d.npz"), wanted=wanted(), reading=Reading(label_column="y"))
    with pytest.raises(kt.DeviceError, match=r"--keys is of \.npz files"):
        load(table(tmp_path / "d.csv", X.tolist()), wanted=wanted(), reading=Reading(keys=("x",)))
    with pytest.raises(kt.DeviceError, match="there is no such file or folder"):
        load(str(tmp_path / "none"), wanted=wanted())
    (tmp_path / "empty").mkdir()
    with pytest.raises(kt.DeviceError, match="holds no recordings or images"):
        load(str(tmp_path / "empty"), wanted=wanted())
