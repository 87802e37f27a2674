"""What a model file may ask for. A file of a kilobyte can name a tensor of gigabytes; these bounds, far above any model for a
microcontroller, keep memory and time of an import in proportion to what can be compiled at all."""

from __future__ import annotations

from ..errors import CompileError
from ..ops._window import Window

FILE_BYTES = 64 << 20
"""Of a model file."""
OPERATORS = 4096
"""That compute something."""
PORTS = 64
"""Inputs, or outputs, of a model: each is an argument of a C function."""
RANK = 8
ELEMENTS = 1 << 23
"""Of a tensor: 8 MiB of int8. No microcontroller holds that, but scores of attention are computed by rows."""
ALL_ELEMENTS = 1 << 26
"""Of all activations of a model, or of all constants."""
NAME_BYTES = 4096
"""Of a name; what follows is cut off."""
SMALL_IMAGE = 64
"""Strides may be this long on smaller images: exporters write the stride of a signal for its other axis too, which is 1 long."""
BORDERED = 4
"""How much larger than a tensor an image may be with its border."""
WINDOW_TAPS = 1 << 12
"""Elements of a kernel that reaches over the border of its image."""
LINE_TAPS = 1 << 24
"""Elements under all windows along one axis."""
IMAGE_TAPS = 1 << 28
"""Elements under all windows of an image."""

TOO_LARGE = "no microcontroller holds it: use a smaller model, or export it again"


def check_size(where: str, shape: tuple[int, ...]) -> None:
    """Refuses a tensor without elements, or with too many. Any size of integers: nothing is computed in fixed width."""
    count = 1
    for extent in shape:
        count *= max(extent, 0)
    if len(shape) > RANK or not 0 < count <= ELEMENTS:
        raise CompileError(where, f"shape {shape} is empty or beyond any microcontroller", TOO_LARGE)


def check_count(where: str, what: str, count: int, limit: int) -> None:
    if count > limit:
        raise CompileError(where, f"{count:,} {what}; at most {limit:,} are supported", TOO_LARGE)


def checked_window(where: str, window: Window, image: tuple[int, ...]) -> Window:
    """The window, refused where it asks for more than an image [1, H, W, C] has use for: every number of it stands in the file."""
    size, padded, taps = image[1:3], [], []
    for i in (0, 1):
        reach = (window.kernel[i] - 1) * window.dilation[i] + 1
        padded.append(size[i] + window.pad[i] + window.pad[i + 2])
        if reach > padded[i]:
            what = f"a kernel of {window.kernel} with dilation {window.dilation} does not fit an image of {size}"
            raise CompileError(where, what, "export the model again")
        if window.stride[i] > max(padded[i], SMALL_IMAGE):
            raise CompileError(where, f"stride {window.stride} is longer than the image of {size}", "export the model again")
        taps.append(((padded[i] - reach) // window.stride[i] + 1) * window.kernel[i])
    if padded[0] * padded[1] * image[3] > BORDERED * ELEMENTS:
        raise CompileError(where, f"a border makes an image of {size} one of {tuple(padded)}, beyond any microcontroller", TOO_LARGE)
    kernel = window.kernel[0] * window.kernel[1]
    if (any(window.pad) and kernel > WINDOW_TAPS) or max(taps) > LINE_TAPS or taps[0] * taps[1] * image[3] > IMAGE_TAPS:
        raise CompileError(where, f"a kernel of {window.kernel} over an image of {size} is beyond any microcontroller", TOO_LARGE)
    return window
