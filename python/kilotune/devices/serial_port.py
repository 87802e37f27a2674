"""A board at the other end of a serial port."""

from __future__ import annotations

import errno
import time

import serial
from serial.tools import list_ports

from .calls import closed
from .errors import DeviceError

BAUD = 115_200
_POLL_SECONDS = 0.05
_WRITE_SECONDS = 2.0


def ports() -> list[str]:
    """The serial ports of this computer, with what is known of them: "/dev/ttyACM0 (STM32 STLink)"."""
    found = sorted(list_ports.comports())
    return [p.device + (f" ({p.description})" if p.description not in ("", "n/a", p.device) else "") for p in found]


def _ports_hint() -> str:
    found = ports()
    return f"serial ports here: {', '.join(found)}" if found else "no serial port is connected to this computer"


def _cannot_open(port: str, error: Exception) -> DeviceError:
    """What went wrong in the words of the user, and what to do about it."""
    code = getattr(error, "errno", None)
    if code == errno.ENOENT:
        return DeviceError(port, "there is no serial port of this name", _ports_hint())
    if code in (errno.EACCES, errno.EPERM):
        return DeviceError(port, "this user may not open the serial port", "on Debian: sudo usermod -aG dialout $USER, then log in again")
    if code in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(error):
        return DeviceError(port, "another program has the serial port open", "close it (a serial monitor, or another kilotune)")
    return DeviceError(port, f"the serial port cannot be opened: {error}", _ports_hint())


class SerialTransport:
    """Bytes to and from a port that pyserial opens: a device file, or a URL such as socket://localhost:1234."""

    def __init__(self, port: str, baud: int = BAUD) -> None:
        self.name = f"serial:{port}"
        try:
            self._port = serial.serial_for_url(
                port, baud, timeout=_POLL_SECONDS, write_timeout=_WRITE_SECONDS, **({} if "://" in port else {"exclusive": True})
            )
        except (serial.SerialException, OSError, ValueError) as error:
            raise _cannot_open(port, error) from None
        self._port.reset_input_buffer()  # what the board said before anyone listened

    def read(self, timeout: float) -> bytes:
        """What has arrived, after waiting for at most about `timeout` seconds; b"" if nothing has."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                data = bytes(self._port.read(max(1, self._port.in_waiting)))
                if data or time.monotonic() >= deadline:
                    return data
        except (serial.SerialException, OSError, TypeError, ValueError) as error:
            raise self._lost(error) from None

    def write(self, data: bytes, timeout: float) -> bool:
        """Send all of data; False if the port has not taken it within two seconds."""
        try:
            self._port.write(data)
        except serial.SerialTimeoutException:
            return False
        except (serial.SerialException, OSError, ValueError) as error:
            raise self._lost(error) from None
        return True

    def close(self) -> None:
        """Let others use the port."""
        self._port.close()

    def _lost(self, error: Exception) -> DeviceError:
        if not self._port.is_open:
            return closed(self.name)
        if isinstance(error, ValueError):  # select() takes no descriptor above 1023
            what = "the serial port cannot be waited for: this program has more than 1,000 files open"
            return DeviceError(self.name, what, "open the device before the other files, or close some of them")
        return DeviceError(self.name, f"the serial port is gone: {error}", "plug the board in again; what it has learned is lost if it lost power")
