"""Folders of images or recordings: a folder a class, or all samples in one folder without labels."""

from __future__ import annotations

import math
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc.features import FrontEnd

from ..devices.errors import DeviceError
from ..devices.manifest import Tensor
from .arrays import guarded

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
RECORDINGS = (".wav",)

RANGES = {"0 to 1": (0.0, 1.0), "-1 to 1": (-1.0, 1.0), "0 to 255": (0.0, 255.0), "-128 to 127": (-128.0, 127.0)}
"""What models are usually given of a pixel of 0 to 255: which of them, the input's scale says."""
TOLERANCE = 0.02
"""Share of the span by which an input's range may differ from a usual one."""


def read_folder(
    folder: Path, what: str, tensor: Tensor | None, features: FrontEnd | None = None
) -> tuple[NDArray[Any], NDArray[Any] | None, tuple[str, ...], list[str]]:
    """Samples, labels as words (None where files lie in no folder of a class), the files, and notes.

    features: recordings are for this front end, and stay int16 [N, samples].
    """
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    found = [(p, c.name) for c in classes for p in sorted(c.iterdir()) if _known(p)] or [(p, "") for p in sorted(folder.iterdir()) if _known(p)]
    if not found:
        kinds = ", ".join((*RECORDINGS, *IMAGES))
        raise DeviceError(str(folder), f"{what} holds no recordings or images", f"a folder a class, with files of {kinds}")
    if tensor is None:
        raise DeviceError(str(folder), f"{what} is a folder, and no model says how its files are to be read", "pass an .npz file")
    suffixes = {p.suffix.lower() in RECORDINGS for p, _ in found}
    if len(suffixes) > 1:
        raise DeviceError(str(folder), f"{what} holds recordings and images", "one kind in a folder")
    notes: list[str] = []
    read = _recording_reader(tensor, features, notes) if suffixes.pop() else _image_reader(folder, tensor, notes)
    x = np.stack([read(p) for p, _ in found])
    y = np.array([name for _, name in found], dtype=np.str_) if classes and found[0][1] else None
    return x, y, tuple(str(p.relative_to(folder)) for p, _ in found), notes


def read_recording(
    path: Path, what: str, tensor: Tensor | None, features: FrontEnd | None = None, slices: bool = False
) -> tuple[NDArray[Any], list[str]]:
    """Samples of a single WAV file, and notes: for a front end a long one is cut, for a model that goes on from call to call into slices."""
    notes: list[str] = []
    if tensor is None:
        raise DeviceError(str(path), f"{what} is a recording, and no model says how it is to be read", "pass an .npz file")
    if features is None:
        return _recording(path, tensor)[None], notes
    words = _samples(path, features)
    if len(words) <= features.samples:
        return _filled(path, words, features, notes)[None], notes
    found = features.slices(words) if slices else features.pieces(words)
    end = features.samples + (len(found) - 1) * (features.frames * features.hop if slices else features.samples)
    left = f"; the last {len(words) - end} are left out" if len(words) > end else ""
    notes.append(f"cut into {len(found)} {'slices' if slices else 'recordings'} of {features.samples} samples{left}")
    return found, notes


def _known(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (*RECORDINGS, *IMAGES)


def _recording_reader(tensor: Tensor, features: FrontEnd | None, notes: list[str]) -> Callable[[Path], NDArray[Any]]:
    if features is None:
        return lambda path: _recording(path, tensor)
    return lambda path: _filled(path, _samples(path, features), features, notes)


def _codes(path: Path, channels: int = 1) -> tuple[NDArray[np.int64], int, int]:
    """The samples [N, channels], of one channel [N], of a WAV file, their bits, and the rate."""

    def read() -> tuple[NDArray[np.int64], int, int, int]:
        try:
            with wave.open(str(path)) as file:
                width, found, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
                content = file.readframes(file.getnframes())
        except wave.Error as error:
            raise ValueError(str(error)) from None
        if width not in (1, 2, 4):
            raise ValueError(f"samples of {8 * width} bits")
        codes = np.frombuffer(content, {1: "<u1", 2: "<i2", 4: "<i4"}[width]).astype(np.int64)
        return codes - 128 if width == 1 else codes, 8 * width, found, rate

    codes, bits, found, rate = guarded(str(path), "the recording", read, "WAV files of integer PCM can be read")
    if found != channels:
        hint = "mix it down to one" if channels == 1 else "record the channels that the front end was made for"
        taken = "" if channels == 1 else f", the front end takes {channels}"
        raise DeviceError(str(path), f"the recording has {found} channels{taken}", hint)
    return codes if channels == 1 else codes.reshape(-1, channels), bits, rate


def _recording(path: Path, tensor: Tensor) -> NDArray[np.float32]:
    """The samples of a WAV file of one channel as -1 to 1, in the shape of the model's input."""
    codes, bits, rate = _codes(path)
    if len(codes) != tensor.size:
        shape = " x ".join(map(str, tensor.sample_shape))
        what = f"the recording has {len(codes)} samples ({len(codes) / rate:.3g} s at {rate} Hz), the model takes {shape} values"
        hint = "cut it to this length, or where the model takes features, build it with --features, or compute them and pass an .npz file"
        raise DeviceError(str(path), what, hint)
    return (codes / 2.0 ** (bits - 1)).astype(np.float32).reshape(tensor.sample_shape)


def _samples(path: Path, features: FrontEnd) -> NDArray[np.int16]:
    """All samples of a WAV file for a front end: of its rate and channels, and no fewer than one frame."""
    codes, bits, rate = _codes(path, features.recorded_channels)
    if rate != features.sample_rate:
        raise DeviceError(str(path), f"the recording has {rate} samples a second, the front end takes {features.sample_rate}", "resample it")
    if len(codes) < features.window:
        what = f"the recording has {len(codes)} samples ({len(codes) / rate:.3g} s), too few for one window of {features.window}"
        raise DeviceError(str(path), what, f"the front end takes {features.samples}; leave the file out, or record it again")
    return (codes << 16 - bits if bits < 16 else codes >> bits - 16).astype(np.int16)


def _filled(path: Path, words: NDArray[np.int16], features: FrontEnd, notes: list[str]) -> NDArray[np.int16]:
    """One recording for a front end, silence behind a short one."""
    if len(words) > features.samples:
        seconds = len(words) / features.sample_rate
        what = f"the recording has {len(words)} samples ({seconds:.3g} s), the front end takes {features.samples}"
        raise DeviceError(str(path), what, "cut it to this length")
    if len(words) < features.samples:
        note = f"silence is added behind recordings of fewer than {features.samples} samples"
        if note not in notes:
            notes.append(note)
    return np.pad(words, [(0, features.samples - len(words)), *[(0, 0)] * (words.ndim - 1)])


def _image_reader(folder: Path, tensor: Tensor, notes: list[str]) -> Callable[[Path], NDArray[np.float32]]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise DeviceError(str(folder), "images need Pillow, which is not installed", "pip install 'kilotune[images]'") from None
    shape = tensor.sample_shape
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise DeviceError(str(folder), f"holds images, the model takes {list(tensor.sample_shape)}", "images are for inputs [height, width, 1 or 3]")
    if math.isnan(tensor.scale):
        what = "holds images, and a float model does not say how pixels are scaled"
        raise DeviceError(str(folder), what, "prepare them as for the training of the model, and pass an .npz file")
    low, high = ((q - tensor.zero_point) * tensor.scale for q in tensor.range)
    kind = next((k for k, (a, b) in RANGES.items() if max(abs(low - a), abs(high - b)) <= TOLERANCE * (b - a)), None)
    if kind is None:
        what = f"holds images, and the model's input is made for {low:.4g} to {high:.4g}: how pixels become that cannot be known"
        raise DeviceError(str(folder), what, "prepare them as for the training of the model, and pass an .npz file")
    least, most = RANGES[kind]
    notes.append(f"pixels are taken as {kind}, which the model's input is made for")

    def read(path: Path) -> NDArray[np.float32]:
        def decoded() -> NDArray[np.float32]:
            with Image.open(path) as image:
                if image.size != (shape[1], shape[0]):
                    note = f"images are resized to {shape[1]} x {shape[0]}"
                    if note not in notes:
                        notes.append(note)
                fitted = image.convert("L" if shape[2] == 1 else "RGB").resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
                pixels = np.asarray(fitted, np.float32).reshape(tensor.sample_shape)
            return least + pixels * np.float32((most - least) / 255)

        try:
            return guarded(str(path), "the image", decoded, "PNG, JPEG and BMP files can be read")
        except UnidentifiedImageError:
            raise DeviceError(str(path), "the image cannot be read", "PNG, JPEG and BMP files can be read") from None

    return read
