"""The exceptions that a user sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .plain_text import printable


class KilotuneError(Exception):
    """What CompileError and DeviceError have in common: all that is raised on purpose beside ValueError.

    where: the file, layer, option, device or call at fault, as the user knows it.
    what: the cause, one sentence.
    hint: what to do instead; may be empty.
    """

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        self.where, self.what, self.hint = where, what, hint
        super().__init__(message(where, what, hint))

    def __reduce__(self) -> tuple[Any, ...]:
        """From its attributes, so that it reaches the caller of another process: the arguments of a class are not the message."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[KilotuneError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> KilotuneError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(attributes)
    return error


def message(where: str, what: str, hint: str) -> str:
    """The subject first, then the cause, and below it the remedy; without those that are empty."""
    return (f"{where}: {what}" if where else what) + (f"\n  hint: {hint}" if hint else "")


class CompileError(KilotuneError):
    """A model, an option or a budget cannot be compiled. All three may quote a file: what a terminal would obey is escaped."""

    def __init__(self, where: str, what: str, hint: str) -> None:
        super().__init__(printable(where), printable(what), printable(hint))


class ModelError(CompileError):
    """A model file that cannot be compiled. reasons: everything that stands in its way, each with place, cause and remedy; at least one.

    where, what and hint are those of the only reason, or of all together; the message lists them, one below the other.
    """

    def __init__(self, origin: str, reasons: Sequence[CompileError]) -> None:
        self.reasons = tuple(reasons)
        first = self.reasons[0]
        if len(self.reasons) == 1:
            super().__init__(f"{origin}: {first.where}" if origin else first.where, first.what, first.hint)
            return
        causes = "; ".join(f"({i}) {reason.where}: {reason.what}" for i, reason in enumerate(self.reasons, 1))
        hints = "; ".join(dict.fromkeys(reason.hint for reason in self.reasons))
        super().__init__(origin, f"{len(self.reasons)} things stand in its way: {causes}", hints)
        self.args = (f"{self.where}: {len(self.reasons)} things stand in its way\n{self._listed()}",)

    def _listed(self) -> str:
        """The reasons, those with one remedy together above it."""
        together: dict[str, list[str]] = {}
        for reason in self.reasons:
            together.setdefault(reason.hint, []).append(f"- {message(reason.where, reason.what, '')}")
        return "\n".join("\n".join([*lines, *([f"  hint: {hint}"] if hint else [])]) for hint, lines in together.items())


class BudgetError(CompileError):
    """A memory budget given by the user cannot be met; the model itself is fine."""


class FlashBudgetError(BudgetError):
    """The budget of flash. used: bytes that the build takes; excess: how many of them are above it."""

    def __init__(self, budget: int, used: int) -> None:
        super().__init__(f"flash={budget}", f"the model needs {used:,} bytes of flash", "use a smaller model, or train fewer layers")
        self.used, self.excess = used, used - budget
