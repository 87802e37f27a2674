"""Boards emulated by Renode: its process, and the board's serial port as a TCP connection."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from pathlib import Path

from .. import boards
from .calls import closed
from .errors import DeviceError
from .pipe import ready

_START_SECONDS = 60.0
_SAYS_SECONDS = 1.0
"""How long Renode has to finish a message whose beginning is read."""

_ERROR = re.compile(
    rb"There was an error|^Error E\d+|No such command|Bad parameters for command|Could not tokenize|Unhandled exception|Fatal error", re.MULTILINE
)
"""What Renode prints where a command fails: it goes on running, and the rest of the script is left out."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End Renode and what it started: its launcher is a script."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


class RenodeTransport:
    """Bytes to and from a board in Renode. Its output goes to a file that is quoted if it dies."""

    def __init__(self, board: boards.Board, elf: Path) -> None:
        program = shutil.which("renode")
        if board.renode is None:
            raise DeviceError(board.name, "Renode has no description of this board", "boards/README.md says what to add")
        self.name = f"renode:{board.renode.name}"
        self._script = board.renode.script.name
        if program is None:
            raise DeviceError(self.name, "the program renode is not installed, or not on PATH", "https://renode.io (it is on no package registry)")
        if '"' in str(elf):
            raise DeviceError(self.name, f"Renode takes no path with a quotation mark: {elf}", "set KILOTUNE_CACHE to a folder without")
        port = _free_port()
        # A path in quotes may hold spaces; the one after @ may not, and is the script's name in its folder.
        commands = f'$elf="{elf}"; $port={port}; include @{board.renode.script.name}'
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        try:
            # An open standard input: at its end the console, and with it Renode, would end.
            self._process = subprocess.Popen(
                [program, "--disable-gui", "--console", "--plain", "-e", commands],
                cwd=board.renode.script.parent, stdin=subprocess.PIPE, stdout=self._errors, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise DeviceError(self.name, f"{program} cannot be started: {error.strerror}", "`kilotune doctor` says what is missing") from error
        self._finalizer = weakref.finalize(self, _end, self._process)
        try:
            self._socket = self._connected(port)
        except BaseException:
            self.close()
            raise

    def _connected(self, port: int) -> socket.socket:
        """The board's serial port, once Renode listens."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise self._ended()
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", port), 1.0)
            if _ERROR.search(self._output()):
                time.sleep(_SAYS_SECONDS)
                what = f"Renode cannot run {self._script}{self._said()}"
                raise DeviceError(self.name, what, "its version may name a command of renode/*.resc differently")
            time.sleep(0.1)
        what = f"Renode has not opened the board's serial port within {_START_SECONDS:.0f} seconds{self._said()}"
        raise DeviceError(self.name, what, "its version may name a command of renode/*.resc differently")

    def read(self, timeout: float) -> bytes:
        """What has arrived, after waiting for at most `timeout` seconds; b"" if nothing has."""
        self._check_open()
        if not ready(self._socket.fileno(), select.POLLIN, timeout):
            return b""
        data = self._received()
        if not data:
            raise self._ended()
        return data

    def _received(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except ConnectionError:
            return b""

    def write(self, data: bytes, timeout: float) -> bool:
        """Send all of data; False if the other end has not taken it after `timeout` seconds."""
        self._check_open()
        self._socket.settimeout(max(timeout, 0.001))
        try:
            self._socket.sendall(data)
        except TimeoutError:
            return False
        except ConnectionError:
            raise self._ended() from None
        return True

    def close(self) -> None:
        """End Renode."""
        if hasattr(self, "_socket"):
            self._socket.close()
        self._finalizer()
        if not self._errors.closed:
            self._errors.close()

    def _check_open(self) -> None:
        if not self._finalizer.alive:
            raise closed(self.name)

    def _output(self) -> bytes:
        """All that Renode has printed. Read in place: the position of the file is also that of Renode's next write."""
        return os.pread(self._errors.fileno(), os.fstat(self._errors.fileno()).st_size, 0)

    def _said(self) -> str:
        text = self._output().decode(errors="replace").strip()
        return f": {text[-4000:]}" if text else ""

    def _ended(self) -> DeviceError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        how = "closed the serial port" if self._process.poll() is None else f"exited with code {self._process.returncode}"
        return DeviceError(self.name, f"Renode {how}{self._said()}", "open the device again; what was trained since is lost")
