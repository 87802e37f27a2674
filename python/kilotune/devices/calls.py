"""One call at a time, and none after close: what every public method of a device keeps to."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from .errors import DeviceError

AnyClass = TypeVar("AnyClass", bound=type)


def closed(name: str) -> DeviceError:
    """What a closed device or connection answers."""
    return DeviceError(name, "the device is closed", "open it again")


class Calls:
    """What `one_at_a_time` needs of an object: its lock, its name and whether it is closed."""

    name: str

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._closed = False


def one_at_a_time(kind: AnyClass) -> AnyClass:
    """Make every public method of a class wait for those of other threads, and raise DeviceError once the object is closed.

    A call is whole: a thread that infers waits until another one's `fit` has ended. A method may call others of the same object.
    """
    for name, method in list(vars(kind).items()):
        if inspect.isfunction(method) and not name.startswith("_") and name != "close":
            setattr(kind, name, _guarded(method))
    return kind


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded(self: Calls, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            if self._closed:
                raise closed(self.name)
            return method(self, *args, **kwargs)

    return guarded
