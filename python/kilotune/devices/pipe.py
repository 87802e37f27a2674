"""A process at the other end of two pipes: an emulator, or the agent itself."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence

from .calls import closed
from .errors import DeviceError


def _die_with_parent(parent: int) -> Callable[[], None]:
    """Makes Linux kill the child when this process is killed: an emulator would go on for ever."""
    library = ctypes.CDLL(None, use_errno=True)

    def in_child() -> None:
        library.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return in_child


def _end(process: subprocess.Popen[bytes], patience: float) -> None:
    """End and collect the process, first by closing its input, then by force."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        pass
    finally:  # also where Ctrl-C ends the waiting
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def ready(number: int, event: int, timeout: float) -> bool:
    """Whether a descriptor can be read (select.POLLIN) or written (select.POLLOUT) within `timeout` seconds. select() takes none above 1023."""
    waiting = select.poll()
    waiting.register(number, event)
    return bool(waiting.poll(max(timeout, 0) * 1000))


class ProcessTransport:
    """Bytes to and from a process. Its errors go to a file that is quoted if it dies."""

    def __init__(self, command: Sequence[str], name: str, patience: float = 0.0) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        # The kernel's signal follows the thread that starts the child, so only the main thread may ask for it.
        linked = hasattr(os, "uname") and os.uname().sysname == "Linux" and threading.current_thread() is threading.main_thread()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for this process
                preexec_fn=_die_with_parent(os.getpid()) if linked else None,
            )
        except OSError as error:
            raise DeviceError(name, f"{command[0]} cannot be started: {error.strerror}", "`kilotune doctor` says what is missing") from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input = self._process.stdin.fileno()
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._input, False)
        self._finalizer = weakref.finalize(self, _end, self._process, patience)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def read(self, timeout: float) -> bytes:
        """What has arrived, after waiting for at most `timeout` seconds; b"" if nothing has."""
        self._check_open()
        if not ready(self._output, select.POLLIN, timeout):
            return b""
        data = os.read(self._output, 65536)
        if not data:
            raise self._ended()
        return data

    def write(self, data: bytes, timeout: float) -> bool:
        """Send all of data; False if the other end has not taken it after `timeout` seconds."""
        self._check_open()
        deadline = time.monotonic() + timeout
        while data:
            if not ready(self._input, select.POLLOUT, deadline - time.monotonic()):
                return False
            try:
                data = data[os.write(self._input, data) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._ended() from None
        return True

    def close(self) -> None:
        """End the process."""
        self._finalizer()
        if not self._errors.closed:
            self._errors.close()

    def _check_open(self) -> None:
        """The numbers of the descriptors may be another file's by now."""
        if not self._finalizer.alive:
            raise closed(self.name)

    def _ended(self) -> DeviceError:
        try:
            code: int | None = self._process.wait(5)
        except subprocess.TimeoutExpired:
            code = None
        self._errors.seek(0)
        output = self._errors.read().decode(errors="replace").strip()
        how = "closed its output" if code is None else f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"
        detail = f": {output[-4000:]}" if output else ""
        return DeviceError(self.name, f"the process {how}{detail}", "open the device again; what was trained since is lost")
